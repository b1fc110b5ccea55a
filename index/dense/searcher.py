"""Searches the dense part of an artifact: query vectors in, hits out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.index.dense.approximate import INDEX
from retrieval.index.dense.exact import Propose, exact_hits, propose_on_cpu
from retrieval.index.dense.faiss_index import FaissIndex, open_index
from retrieval.index.dense.gpu import on_gpus, propose_on_gpu
from retrieval.index.dense.options import Effort, SegmentIndex
from retrieval.index.dense.vectors import VectorReader
from retrieval.index.threads import in_parts
from retrieval.types import Hits, ScoreKind

__all__ = ["DenseSearcher"]

# Below this share of allowed vectors, looking at all of those is cheaper than making an index find them.
_FEW = 0.1


# So much wider than that is a filtered search.
_APART = 2

# Of a component: products with stored vectors, which are held to the like, stay finite.
_LONGEST = 1e18


class _Part:
    """The vectors of a segment as a search sees them: all of them, checked when they are first needed."""

    def __init__(self, reader: VectorReader, first: int, entry: SegmentIndex | None) -> None:
        self.reader = reader
        self._first = first
        self.entry = entry
        self._indexes: dict[str | None, FaissIndex] = {}
        self._on_gpu: dict[str | None, Propose | None] = {}
        self._moving = Lock()  # several threads may come to the first search at once

    @cached_property
    def ordinals(self) -> NDArray[np.int64]:
        return self.reader.rows.all() + self._first

    @cached_property
    def index(self) -> FaissIndex:
        return open_index(self.reader.folder.open(INDEX), self.reader.vectors)

    def index_on(self, device: str | None) -> FaissIndex:
        """Its index, on a GPU where there is one that can hold it."""
        with self._moving:
            if device not in self._indexes:
                self._indexes[device] = on_gpus(self.index, device)
            return self._indexes[device]

    def propose(self, device: str | None, threads: int) -> Propose:
        """What finds candidates for an exact search among all its vectors."""
        with self._moving:
            if device not in self._on_gpu:
                self._on_gpu[device] = propose_on_gpu(self.reader.all, device)
        return self._on_gpu[device] or propose_on_cpu(self.reader.all, threads)

    def effort(self, k: int) -> Effort | None:
        """How hard its index has to look for k hits; None where the search must be exact."""
        return self.entry.effort(k) if self.entry else None


class DenseSearcher:
    """Inner-product search, with scores that depend on nothing but the two vectors.

    A segment without an index is searched exactly: the hits are the k best, ties by ordinal. The index of another
    proposes most of them, which are scored as all others are; where it finds fewer than there are, the search is exact.

    Args:
        readers: of every segment.
        firsts: the ordinal of each segment's row 0.
        dimensions: width of a vector.
        kind: what scores mean.
        largest_norm: no vector is longer.
        live: (rows,) which ordinals are documents; None for all.
        indexes: those of segments that have one, by their place among the readers.
    """

    def __init__(
        self,
        readers: Sequence[VectorReader],
        firsts: Sequence[int],
        dimensions: int,
        kind: ScoreKind,
        largest_norm: float,
        live: NDArray[np.bool_] | None = None,
        indexes: Mapping[int, SegmentIndex] | None = None,
    ) -> None:
        self.readers = readers
        self.dimensions = dimensions
        entries = indexes or {}
        self._parts = [
            _Part(reader, first, entries.get(place))
            for place, (reader, first) in enumerate(zip(readers, firsts, strict=True))
            if len(reader)
        ]
        self._kind = kind
        self._largest_norm = largest_norm
        self._live = live

    @property
    def n_vectors(self) -> int:
        """Vectors, those of deleted documents included."""
        return sum(len(reader) for reader in self.readers)

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        for part in self._parts:
            if part.entry:
                part.index  # noqa: B018 - an error if it cannot be opened
        return [problem for reader in self.readers for problem in reader.problems(self._largest_norm)]

    def vectors_of(self, ordinals: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m, d) the stored vectors of documents, which must have one each.

        Raises:
            InputError: one of them has none.
        """
        found = np.empty((len(ordinals), self.dimensions), dtype=np.float32)
        there = np.zeros(len(ordinals), dtype=bool)
        for part in self._parts:
            rows = np.minimum(np.searchsorted(part.ordinals, ordinals), len(part.ordinals) - 1)
            own = part.ordinals[rows] == ordinals
            found[own] = part.reader.checked(rows[own])[rows[own]]
            there |= own
        if not there.all():
            raise InputError(f"document {int(ordinals[~there][0])} has no vector")
        return found

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        threads: int = 1,
        allowed: NDArray[np.bool_] | None = None,
        *,
        exact: bool = False,
        device: str | None = None,
    ) -> Hits:
        """The best k documents of each query vector.

        Args:
            queries: (n, d), finite.
            k: hits per query.
            threads: how many cores FAISS uses.
            allowed: (rows,) which ordinals may be hits; None allows all that are live.
            exact: search exactly in any case.
            device: `cpu`, or a GPU as torch names it; None takes one if there is one.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimensions:
            raise InputError(f"query vectors must be (n, {self.dimensions}); got {queries.shape}")
        with np.errstate(over="ignore"):
            queries = np.ascontiguousarray(queries, dtype=np.float32)
        if not (np.abs(queries) <= _LONGEST).all():
            raise InputError(f"query vectors must be finite, and no component above {_LONGEST:g}")
        if k < 0:
            raise InputError(f"k must be at least 0; got {k}")
        allowed = self._live if allowed is None else allowed
        asked = _Asked(queries, k, threads, device, allowed, exact)
        found = [self._search_part(part, asked) for part in self._parts]
        return _best(found, len(queries), k, self._kind)

    def _search_part(self, part: _Part, asked: "_Asked") -> Hits:
        mask = None if asked.allowed is None else asked.allowed[part.ordinals]
        if mask is not None and mask.all():
            mask = None
        count = len(part.ordinals) if mask is None else int(np.count_nonzero(mask))
        hits = Hits.empty(len(asked.queries), min(asked.k, count), self._kind)
        if hits.scores.size == 0:
            return hits
        is_rare = mask is not None and count < _FEW * len(part.ordinals)
        effort = None if asked.exact or is_rare else part.effort(asked.k)
        if effort is None:
            self._exactly(part, asked, hits, mask, copied=is_rare)
            return hits
        _approximately(part, asked, hits, mask, effort)
        short = np.flatnonzero(hits.counts < hits.scores.shape[1])
        if len(short):
            rest = Hits.empty(len(short), hits.scores.shape[1], self._kind)
            self._exactly(part, replace(asked, queries=asked.queries[short]), rest, mask, copied=False)
            for name in ("ordinals", "scores", "counts"):
                getattr(hits, name)[short] = getattr(rest, name)
        return hits

    def _exactly(
        self, part: _Part, asked: "_Asked", hits: Hits, mask: NDArray[np.bool_] | None, *, copied: bool
    ) -> None:
        """Fill in the best hits of a part, of whose allowed vectors a copy is searched where they are few."""
        # Twice the bound on the rounding error of an inner product of d float32 terms, relative to the two norms.
        relative = 2 * self.dimensions * np.finfo(np.float32).eps
        slack = relative * self._largest_norm * np.linalg.norm(asked.queries.astype(np.float64), axis=1)
        vectors, ordinals = part.reader.all, part.ordinals
        if copied and mask is not None:
            rows = np.flatnonzero(mask)
            vectors, ordinals, mask = vectors[rows], ordinals[rows], None
        propose = propose_on_cpu(vectors, asked.threads) if copied else part.propose(asked.device, asked.threads)
        exact_hits(propose, asked.queries, hits, vectors, ordinals, mask, slack)


@dataclass(frozen=True)
class _Asked:
    """One search, as `DenseSearcher.search` was asked for it."""

    queries: NDArray[np.float32]
    k: int
    threads: int
    device: str | None
    allowed: NDArray[np.bool_] | None
    exact: bool


def _approximately(part: _Part, asked: _Asked, hits: Hits, mask: NDArray[np.bool_] | None, effort: Effort) -> None:
    """Fill in the hits among what the part's index finds."""
    from retrieval.index.kernels.rescoring import rescore

    index = part.index_on(asked.device)
    width, found = effort.width, max(effort.depth * effort.refine, hits.scores.shape[1])
    if mask is not None:
        # What is allowed stands farther away, by as much as there is less of it; and not everywhere alike.
        share = mask.mean()
        width, found = int(_APART * width / share), int(found if index.is_exact else found / share)
    rows = index.candidates(asked.queries, found, width, asked.threads, mask)
    vectors, ordinals = part.reader.checked(rows), part.ordinals

    def work(some: slice) -> None:
        out = (hits.ordinals[some], hits.scores[some], hits.counts[some])
        rescore(asked.queries[some], vectors, ordinals, rows[some], *out)

    in_parts(len(asked.queries), asked.threads, work)


def _best(found: Sequence[Hits], n: int, k: int, kind: ScoreKind) -> Hits:
    """The k best hits of each query in several lists, ties by ordinal."""
    if len(found) == 1:
        return found[0]
    best = Hits.empty(n, min(k, sum(hits.scores.shape[1] for hits in found)), kind)
    if best.scores.size == 0:
        return best
    scores = np.concatenate([hits.scores for hits in found], axis=1)
    ordinals = np.concatenate([hits.ordinals for hits in found], axis=1)
    order = np.lexsort((ordinals, -scores), axis=1)[:, : best.scores.shape[1]]
    best.scores[:] = np.take_along_axis(scores, order, axis=1)
    best.ordinals[:] = np.take_along_axis(ordinals, order, axis=1)
    best.counts[:] = np.minimum(sum(hits.counts for hits in found), best.scores.shape[1])
    return best

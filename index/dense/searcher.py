"""Searches the dense part of an artifact: query vectors in, hits out."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError, MissingExtraError
from retrieval.index.dense.builder import ROWS, VECTORS
from retrieval.index.storage.arrays import DiskArray
from retrieval.index.storage.files import Folder
from retrieval.types import Hits, ScoreKind

__all__ = ["DenseSearcher", "VectorReader", "import_faiss"]

# Below this share of allowed vectors, copying them out is cheaper than passing over the others.
_FEW = 0.05

_ROWS_AT_ONCE = 1 << 16

# FAISS' GPU selection keeps at most this many hits.
_GPU_K = 2048


class VectorReader:
    """The vectors of one segment, and the rows of the documents they are of."""

    def __init__(self, folder: Folder, rows: int, dimensions: int) -> None:
        self.vectors = DiskArray(folder, VECTORS, np.float32, ndim=2)
        self.rows = DiskArray(folder, ROWS, np.int64)
        self._segment_rows = rows
        if self.vectors.shape[1] != dimensions:
            raise self.vectors.damaged(f"holds vectors of {self.vectors.shape[1]} dimensions, expected {dimensions}")
        if len(self.rows) != len(self.vectors):
            raise self.rows.damaged(f"holds {len(self.rows)} values, expected {len(self.vectors)}")

    def __len__(self) -> int:
        return len(self.vectors)

    def problems(self, largest_norm: float) -> list[str]:
        """Read all of it, and name what cannot be."""
        found = []
        rows = self.rows.all()
        if np.any(np.diff(rows) < 1) or (len(rows) and not 0 <= rows[0] <= rows[-1] < self._segment_rows):
            found.append(f"{self.rows.file.path}: the documents are not in order, or do not exist")
        for start in range(0, len(self), _ROWS_AT_ONCE):
            part = self.vectors.slice(start, min(start + _ROWS_AT_ONCE, len(self)))
            if not np.all(np.linalg.norm(part.astype(np.float64), axis=1) <= largest_norm * (1 + 1e-6)):
                reason = "holds a vector that is not finite or longer than any was"
                return [*found, f"{self.vectors.file.path}: {reason}"]
        return found


class _Part:
    """The vectors of a segment as a search sees them: all of them, checked when they are first needed."""

    def __init__(self, reader: VectorReader, first: int) -> None:
        self._reader = reader
        self._first = first
        self.gpu_index: Any = None

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        return self._reader.vectors.all()

    @cached_property
    def ordinals(self) -> NDArray[np.int64]:
        return self._reader.rows.all() + self._first


class DenseSearcher:
    """Exact inner-product search by FAISS, with scores that depend on nothing but the two vectors.

    FAISS' own scores change in their last digits with the batch's size and the number of threads, and so would the
    order of near ties. So FAISS proposes candidates, more than k where scores are close, and each candidate's score is
    computed again, one way. The hits are exactly the k best by that score, ties by ordinal.

    Args:
        readers: of every segment.
        firsts: the ordinal of each segment's row 0.
        dimensions: width of a vector.
        kind: what scores mean.
        largest_norm: no vector is longer.
        live: (rows,) which ordinals are documents; None for all.
    """

    def __init__(
        self,
        readers: Sequence[VectorReader],
        firsts: Sequence[int],
        dimensions: int,
        kind: ScoreKind,
        largest_norm: float,
        live: NDArray[np.bool_] | None = None,
    ) -> None:
        self.readers = readers
        self.dimensions = dimensions
        self._parts = [_Part(reader, first) for reader, first in zip(readers, firsts, strict=True) if len(reader)]
        self._kind = kind
        self._largest_norm = largest_norm
        self._live = live

    @property
    def n_vectors(self) -> int:
        """Vectors, those of deleted documents included."""
        return sum(len(reader) for reader in self.readers)

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        return [problem for reader in self.readers for problem in reader.problems(self._largest_norm)]

    def search(
        self, queries: NDArray[np.float32], k: int, threads: int = 1, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The best k documents of each query vector.

        Args:
            queries: (n, d), finite.
            k: hits per query.
            threads: how many cores FAISS uses.
            allowed: (rows,) which ordinals may be hits; None allows all that are live.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimensions:
            raise InputError(f"query vectors must be (n, {self.dimensions}); got {queries.shape}")
        if not np.isfinite(queries).all():
            raise InputError("query vectors must be finite")
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        allowed = self._live if allowed is None else allowed
        found = [self._search_part(part, queries, k, threads, allowed) for part in self._parts]
        return _best(found, len(queries), k, self._kind)

    def _search_part(
        self, part: _Part, queries: NDArray[np.float32], k: int, threads: int, allowed: NDArray[np.bool_] | None
    ) -> Hits:
        mask = None if allowed is None else allowed[part.ordinals]
        if mask is not None and mask.all():
            mask = None
        count = len(part.ordinals) if mask is None else int(mask.sum())
        hits = Hits.empty(len(queries), min(k, count), self._kind)
        if hits.scores.size == 0:
            return hits
        if mask is not None and count < _FEW * len(part.ordinals):
            rows = np.flatnonzero(mask)
            self._search(queries, hits, threads, part.vectors[rows], part.ordinals[rows], None, None)
        else:
            self._search(queries, hits, threads, part.vectors, part.ordinals, mask, part)
        return hits

    def _search(
        self,
        queries: NDArray[np.float32],
        hits: Hits,
        threads: int,
        vectors: NDArray[np.float32],
        ordinals: NDArray[np.int64],
        mask: NDArray[np.bool_] | None,
        part: _Part | None,
    ) -> None:
        """Fill in the hits among `vectors`, of which those in the mask count, if there is one."""
        k = hits.scores.shape[1]
        # Twice the bound on the rounding error of an inner product of d float32 terms, relative to the two norms.
        relative = 2 * self.dimensions * np.finfo(np.float32).eps
        slack = relative * self._largest_norm * np.linalg.norm(queries, axis=1)
        pending = np.arange(len(queries))
        breadth = int((k + k // 8 + 16) / (1.0 if mask is None else mask.mean()))
        while len(pending):
            breadth = min(breadth, len(vectors))
            approximate, found = self._candidates(queries[pending], vectors, breadth, threads, part)
            settled = np.zeros(len(pending), dtype=bool)
            for i, query in enumerate(pending):
                rows = found[i] if mask is None else found[i][mask[found[i]]]
                # Each inner product is summed in the same order, whatever stands beside it.
                scores = np.einsum("kd,d->k", vectors[rows], queries[query])
                best = np.lexsort((rows, -scores))[:k]
                # Nothing outside the candidates can reach the k-th score.
                settled[i] = breadth == len(vectors) or (
                    len(best) == k and scores[best[-1]] > approximate[i, -1] + slack[query]
                )
                if settled[i]:
                    hits.ordinals[query], hits.scores[query] = ordinals[rows[best]], scores[best]
            pending = pending[~settled]
            breadth *= 4
        hits.counts[:] = k

    def _candidates(
        self, queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int, threads: int, part: _Part | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """FAISS' k best rows of the vectors and their scores, both (n, k)."""
        faiss = import_faiss()
        if k <= _GPU_K and part and _on_gpu(faiss, part):
            scores, rows = part.gpu_index.search(queries, k)
        else:
            before = faiss.omp_get_max_threads()
            faiss.omp_set_num_threads(threads)
            try:
                scores, rows = faiss.knn(queries, vectors, k, faiss.METRIC_INNER_PRODUCT)
            finally:
                faiss.omp_set_num_threads(before)
        return scores, rows


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
    best.counts[:] = best.scores.shape[1]
    return best


def _on_gpu(faiss: Any, part: _Part) -> bool:
    """Put a segment's vectors on the GPUs that FAISS sees, once."""
    if part.gpu_index is None and hasattr(faiss, "get_num_gpus") and faiss.get_num_gpus() > 0:
        flat = faiss.IndexFlatIP(part.vectors.shape[1])
        flat.add(part.vectors)
        part.gpu_index = faiss.index_cpu_to_all_gpus(flat)
    return part.gpu_index is not None


def import_faiss() -> Any:
    """The module faiss, or an error that says how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss", "cpu", "dense search") from error
    return faiss

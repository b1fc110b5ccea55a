"""Searches the lexical part of an artifact: query texts in, hits out."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.index.arrays import damaged, load_array
from retrieval.index.kernels import postings_reference
from retrieval.index.lexical.analyzer import Analyzer, AnalyzerSettings
from retrieval.index.lexical.vocabulary import Vocabulary
from retrieval.types import Hits, ScoreKind

__all__ = ["LexicalSearcher"]

# Queries of one kernel call: enough to hide the call, few enough to keep every thread busy to the end.
_QUERIES_AT_ONCE = 64


class LexicalSearcher:
    """Exact BM25 over memory-mapped postings; one instance serves any number of threads."""

    def __init__(self, folder: Path, settings: AnalyzerSettings, n_documents: int) -> None:
        self._folder = folder
        self._analyzer = Analyzer(settings)
        self._vocabulary = Vocabulary(folder)
        self._n_documents = n_documents
        self._asked = False
        self._starts = load_array(folder / "starts.npy", np.int64)
        self._ordinals = load_array(folder / "ordinals.npy", np.int32)
        self._impacts = load_array(folder / "impacts.npy", np.float32)
        self._absent_impacts = load_array(folder / "absent_impacts.npy", np.float32)
        self._check(folder)

    def _check(self, folder: Path) -> None:
        n_terms = len(self._vocabulary)
        for name, have, want in (
            ("starts.npy", len(self._starts), n_terms + 1),
            ("absent_impacts.npy", len(self._absent_impacts), n_terms),
            ("ordinals.npy", len(self._ordinals), self._starts[-1] if len(self._starts) else 0),
            ("impacts.npy", len(self._impacts), len(self._ordinals)),
        ):
            if have != want:
                raise damaged(folder / name, f"holds {have} values, expected {want}")

    @property
    def n_terms(self) -> int:
        """Distinct terms."""
        return len(self._vocabulary)

    @property
    def n_postings(self) -> int:
        """Pairs of a term and a document that holds it."""
        return len(self._ordinals)

    def search(
        self, queries: Sequence[str], k: int, threads: int = 1, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The best k documents of each query text, fewer where fewer hold one of its terms.

        Args:
            queries: n texts.
            k: hits per query.
            threads: how many search at once.
            allowed: (documents,) which of them may be hits; None allows all.
        """
        mask = np.empty(0, dtype=bool) if allowed is None else allowed
        hits = Hits.empty(len(queries), min(k, self._n_documents), ScoreKind.BM25)
        if hits.scores.size == 0:
            return hits
        parts = [slice(i, i + _QUERIES_AT_ONCE) for i in range(0, len(queries), _QUERIES_AT_ONCE)]
        if threads == 1 or len(parts) == 1:
            for part in parts:
                self._search_part(queries[part], hits, part, mask)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda part: self._search_part(queries[part], hits, part, mask), parts))
        return hits

    def _search_part(self, queries: Sequence[str], hits: Hits, part: slice, mask: NDArray[np.bool_]) -> None:
        terms, offsets, shifts = self._encode(queries)
        # The kernel reads what these say without asking, so a damaged file must not lead it astray.
        starts, ends = self._starts[terms], self._starts[terms + 1]
        if np.any((starts < 0) | (ends < starts) | (ends > len(self._ordinals))):
            raise damaged(self._folder / "starts.npy", "postings of a term lie outside the file")
        whole = self._kernel(len(queries))(
            self._starts, self._ordinals, self._impacts, terms, offsets, shifts, self._n_documents, mask,
            hits.ordinals[part], hits.scores[part], hits.counts[part],
        )  # fmt: skip
        if not whole:
            raise damaged(self._folder / "ordinals.npy", "names a document that does not exist")

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        starts, ordinals, impacts = self._starts, self._ordinals, self._impacts
        found = self._vocabulary.problems()
        if starts[0] != 0 or np.any(np.diff(starts) < 1):
            return [*found, f"{self._folder / 'starts.npy'}: a term without postings"]
        if np.any((ordinals < 0) | (ordinals >= self._n_documents)):
            found.append(f"{self._folder / 'ordinals.npy'}: names a document that does not exist")
        # Within a term ordinals ascend; they may fall where the next term begins.
        falls = np.flatnonzero(np.diff(ordinals) <= 0) + 1
        if not np.all(np.isin(falls, starts)):
            found.append(f"{self._folder / 'ordinals.npy'}: the postings of a term are not in order")
        for name, values, least in (("impacts.npy", impacts, 0.0), ("absent_impacts.npy", self._absent_impacts, -1.0)):
            if not np.all(np.isfinite(values) & (values > least)):
                found.append(f"{self._folder / name}: holds a value that is no impact")
        return found

    def _kernel(self, n_queries: int) -> Callable[..., bool]:
        """The compiled kernel, but for a first query that comes alone: loading numba would take longer than NumPy."""
        if n_queries == 1 and not self._asked:
            self._asked = True
            return postings_reference.search_postings
        from retrieval.index.kernels.postings import search_postings

        kernel: Callable[..., bool] = search_postings
        return kernel

    def _encode(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The queries' known terms, where each query's begin, and what each query gives every document."""
        numbers = [self._numbers(query) for query in queries]
        offsets = np.zeros(len(queries) + 1, dtype=np.int64)
        np.cumsum([len(terms) for terms in numbers], out=offsets[1:])
        terms = np.array([number for terms in numbers for number in terms], dtype=np.int64)
        # Summed query by query, so that a score does not depend on the queries beside it.
        shifts = np.array([self._absent_impacts[row].sum() for row in np.split(terms, offsets[1:-1])], dtype=np.float32)
        return terms, offsets, shifts

    def _numbers(self, query: str) -> list[int]:
        found = (self._vocabulary.number(term) for term in self._analyzer.terms(query))
        return [number for number in found if number is not None]

"""Searches the lexical part of an artifact: query texts in, hits out."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels import postings_reference
from retrieval.index.lexical.analyzer import Analyzer, AnalyzerSettings
from retrieval.index.lexical.postings import PostingsReader
from retrieval.index.storage.arrays import DiskArray
from retrieval.index.storage.files import Folder
from retrieval.types import Hits, ScoreKind

__all__ = ["LexicalSearcher"]

# Queries of one kernel call: enough to hide the call, few enough to keep every thread busy to the end.
_QUERIES_AT_ONCE = 64


class LexicalSearcher:
    """Exact BM25 over memory-mapped postings; one instance serves any number of threads."""

    def __init__(self, folder: Folder, settings: AnalyzerSettings, rows: int) -> None:
        self._analyzer = Analyzer(settings)
        self.postings = PostingsReader(folder)
        self._vocabulary = self.postings.vocabulary
        self._rows = rows
        self._asked = False
        self._impact_file = DiskArray(folder, "impacts.npy", np.float32)
        self._absent_file = DiskArray(folder, "absent_impacts.npy", np.float32)
        for array, expected in (
            (self._impact_file, len(self.postings)),
            (self._absent_file, self.n_terms),
            (self.postings.lengths, rows),
        ):
            if len(array) != expected:
                raise array.damaged(f"holds {len(array)} values, expected {expected}")
        # The kernel reads these as they are, so the postings of a term are checked before it first sees them.
        self._starts = self.postings.starts.unchecked
        self._ordinals = self.postings.ordinals.unchecked
        self._impacts = self._impact_file.unchecked
        self._absent_impacts = self._absent_file.unchecked
        self._checked = np.zeros(self.n_terms, dtype=bool)

    @property
    def n_terms(self) -> int:
        """Distinct terms."""
        return len(self._vocabulary)

    @property
    def n_postings(self) -> int:
        """Pairs of a term and a document that holds it."""
        return len(self.postings)

    def search(
        self, queries: Sequence[str], k: int, threads: int = 1, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The best k documents of each query text, fewer where fewer hold one of its terms.

        Args:
            queries: n texts.
            k: hits per query.
            threads: how many search at once.
            allowed: (rows,) which of them may be hits; None allows all.
        """
        mask = np.empty(0, dtype=bool) if allowed is None else allowed
        hits = Hits.empty(len(queries), min(k, self._rows), ScoreKind.BM25)
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
        whole = self._kernel(len(queries))(
            self._starts, self._ordinals, self._impacts, terms, offsets, shifts, self._rows, mask,
            hits.ordinals[part], hits.scores[part], hits.counts[part],
        )  # fmt: skip
        if not whole:
            raise self.postings.ordinals.damaged("names a document that does not exist")

    def _check(self, terms: NDArray[np.int64]) -> None:
        """An error if what belongs to one of these terms is not as it was written."""
        new = terms[~self._checked[terms]]
        for term in set(new.tolist()):
            start, stop = (int(place) for place in self.postings.starts.slice(term, term + 2))
            if not 0 <= start <= stop <= len(self.postings):
                raise self.postings.starts.damaged("postings of a term lie outside the file")
            self.postings.ordinals.check(start, stop)
            self._impact_file.check(start, stop)
            self._absent_file.check(term, term + 1)
            self._checked[term] = True

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        starts, ordinals, frequencies, lengths = (
            array.all()
            for array in (
                self.postings.starts,
                self.postings.ordinals,
                self.postings.frequencies,
                self.postings.lengths,
            )
        )
        found = self._vocabulary.problems()
        if starts[0] != 0 or np.any(np.diff(starts) < 1):
            return [*found, f"{self.postings.starts.file.path}: a term without postings"]
        if np.any((ordinals < 0) | (ordinals >= self._rows)):
            found.append(f"{self.postings.ordinals.file.path}: names a document that does not exist")
        elif np.any(_lengths(ordinals, frequencies, lengths) != lengths):
            found.append(f"{self.postings.lengths.file.path}: does not fit the documents' frequencies")
        # Within a term ordinals ascend; they may fall where the next term begins.
        falls = np.flatnonzero(np.diff(ordinals) <= 0) + 1
        if not np.all(np.isin(falls, starts)):
            found.append(f"{self.postings.ordinals.file.path}: the postings of a term are not in order")
        for array, least in ((self._impact_file, 0.0), (self._absent_file, -1.0)):
            values = array.all()
            if not np.all(np.isfinite(values) & (values > least)):
                found.append(f"{array.file.path}: holds a value that is no impact")
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
        self._check(terms)
        # Summed query by query, so that a score does not depend on the queries beside it.
        shifts = np.array([self._absent_impacts[row].sum() for row in np.split(terms, offsets[1:-1])], dtype=np.float32)
        return terms, offsets, shifts

    def _numbers(self, query: str) -> list[int]:
        found = (self._vocabulary.number(term) for term in self._analyzer.terms(query))
        return [number for number in found if number is not None]


def _lengths(ordinals: NDArray[np.int32], frequencies: NDArray[Any], lengths: NDArray[np.int32]) -> NDArray[np.float64]:
    """The lengths that documents have by their postings; those given, of documents without postings."""
    counted = np.bincount(ordinals, weights=frequencies, minlength=len(lengths))
    return np.where(counted > 0, counted, lengths)

"""Every posting of the query's terms added up, then the best k: as bm25s does, with weighted queries; exact."""

from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from sparse_synthetic import Vectors

from sparse_engines.base import Engine, Parameters, Rows, rows_of


class Scatter(Engine):
    """Columns of documents and weights, compiled by numba; what others' recall is told by."""

    packages = ("numba",)
    note = "exact"

    def searches(self) -> list[Parameters]:
        """There is nothing to choose."""
        return [{}]

    def build(self, vectors: Vectors, out: Path, parameters: Parameters) -> None:
        """Rows turned into columns."""
        del parameters
        arrays = (np.asarray(one) for one in (vectors.offsets, vectors.entries, vectors.weights))
        for name, array in zip(("starts", "documents", "weights"), _turned(*arrays, len(vectors.terms)), strict=True):
            np.save(out / f"{name}.npy", array)

    def open(self, vectors: Vectors, out: Path) -> None:
        """Into memory."""
        self._columns = [np.load(out / f"{name}.npy") for name in ("starts", "documents", "weights")]
        self._n = len(vectors)

    def prepare(self, vectors: Vectors, queries: list[int], k: int) -> Any:
        """A list of queries."""
        parts = [slice(vectors.query_offsets[query], vectors.query_offsets[query + 1]) for query in queries]
        return [(np.array(vectors.query_terms[part]), np.array(vectors.query_weights[part])) for part in parts], k

    def search(self, prepared: Any, parameters: Parameters) -> Any:
        """Ordinals, scores and counts."""
        del parameters
        queries, k = prepared
        k = min(k, self._n)
        out = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        for row, (terms, weights) in enumerate(queries):
            sums = _sums(*self._columns, terms, weights, self._n)
            best = np.argpartition(-sums, k - 1)[:k]
            out[0][row] = best[np.lexsort((best, -sums[best]))]
            out[1][row] = sums[out[0][row]]
        return *out, (out[1] > 0).sum(axis=1)

    def rows(self, found: Any) -> Rows:
        """As they are."""
        return rows_of(*found)


@njit(cache=True)
def _turned(offsets, terms, weights, n_terms):  # type: ignore[no-untyped-def]
    """Where each term begins, its documents, and their weights."""
    starts = np.zeros(n_terms + 1, dtype=np.int64)
    for term in terms:
        starts[term + 1] += 1
    starts = np.cumsum(starts)
    place = starts[:-1].copy()
    documents, values = np.empty(len(terms), dtype=np.int32), np.empty(len(terms), dtype=np.float32)
    for row in range(len(offsets) - 1):
        for entry in range(offsets[row], offsets[row + 1]):
            at = place[terms[entry]]
            documents[at], values[at] = row, weights[entry]
            place[terms[entry]] += 1
    return starts, documents, values


@njit(cache=True)
def _sums(starts, documents, values, terms, weights, n):  # type: ignore[no-untyped-def]
    """Each document's score."""
    sums = np.zeros(n, dtype=np.float32)
    for i in range(len(terms)):
        for place in range(starts[terms[i]], starts[terms[i] + 1]):
            sums[documents[place]] += values[place] * weights[i]
    return sums

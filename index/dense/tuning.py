"""How hard an approximate search has to look, found on queries made of the vectors."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.index.dense.faiss_index import FaissIndex, import_faiss
from retrieval.index.dense.kinds import VECTORS_PER_HIT
from retrieval.index.dense.options import DenseOptions, Effort
from retrieval.index.recall import Scores, goal_of, recall_of
from retrieval.index.threads import faiss_threads

__all__ = ["DEPTHS", "made_queries", "tuned"]

DEPTHS = (100, 1000)
"""Depths that are tuned beside the one that was asked for: 1000 is that of hybrid search."""

# Queries, and hits over all of them: a deeper search is judged by fewer.
_QUERIES, _LEAST_QUERIES, _HITS = 512, 64, 5120

# Vectors that a query is made of. What is near a real question lies in several places: with 1,000,000 documents it
# needs three times the lists that it needs with 200,000 for a recall of .99. Means of a few documents need more then,
# too; single ones with noise, however much, hardly do.
_MIXED = 3

# Part of the misses that are allowed which is kept for other queries.
_RESERVE = 0.8

_REFINE = (1, 2, 4, 8, 16, 32, 64)
# A vector read from anywhere takes as long as so many bytes in a row.
_RANDOM_ACCESS = 4
# Each width tried is so much larger than the one before; when so many together gain less, that is the end of it.
_STEP, _PATIENCE, _LEAST_GAIN = 2**0.5, 3, 5e-4


def made_queries(vectors: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Queries that are sums of some vectors drawn at random."""
    rows = np.random.default_rng(seed).integers(len(vectors), size=(_MIXED, min(_QUERIES, len(vectors))))
    made: NDArray[np.float32] = np.sum([vectors[some] for some in rows], axis=0, dtype=np.float32)
    return made


def tuned(index: FaissIndex, vectors: NDArray[np.float32], options: DenseOptions, threads: int) -> list[Effort]:
    """The least effort that reaches the recall at each depth, or the best there is; none where exact search is better.

    Args:
        index: of the vectors.
        vectors: (n, d).
        options: which recall, and at which depth.
        threads: cores.
    """
    deeper = [depth for depth in DEPTHS if depth > options.recall_at]
    depths = [depth for depth in (options.recall_at, *deeper) if depth * VECTORS_PER_HIT <= len(vectors)]
    return list(_Tuning(index, vectors, threads).efforts(depths, options.recall)) if depths else []


class _Tuning:
    def __init__(self, index: FaissIndex, vectors: NDArray[np.float32], threads: int) -> None:
        self._index = index
        self._vectors = vectors
        self._threads = threads
        self._queries = made_queries(vectors)
        self._truths: dict[int, Scores] = {}

    def efforts(self, depths: Sequence[int], recall: float) -> Iterator[Effort]:
        goal, width = goal_of(recall, _RESERVE), 0
        for depth in depths:
            effort = self._least(depth, goal, width)
            width = effort.width  # a deeper search takes no less
            # A deeper one that misses is left to the next, or to exact search; of the first it is said what it reaches.
            if depth == depths[0] or effort.recall >= recall:
                yield effort

    def _least(self, depth: int, goal: float, width: int) -> Effort:
        """Of each refinement the least width that suffices; the cheapest of these, or the one with the best recall."""
        tried: list[Effort] = []
        for refine in (1,) if self._index.is_exact else _REFINE:
            if tried and refine * depth * VECTORS_PER_HIT > len(self._vectors):
                break
            tried.append(self._least_width(depth, refine, goal, width))
            enough = [effort for effort in tried if effort.recall >= goal]
            if enough and self._cost(enough[-1]) > min(map(self._cost, enough)):
                break
        enough = [effort for effort in tried if effort.recall >= goal]
        return min(enough, key=self._cost) if enough else max(tried, key=lambda effort: effort.recall)

    def _cost(self, effort: Effort) -> float:
        refined = 0 if self._index.is_exact else effort.refine * effort.depth
        return self._index.bytes_touched(effort.width) + refined * self._vectors.strides[0] * _RANDOM_ACCESS

    def _least_width(self, depth: int, refine: int, goal: float, width: int) -> Effort:
        tried: list[Effort] = []
        for trial in self._widths(depth * refine, width):
            tried.append(Effort(depth=depth, width=trial, refine=refine, recall=self._recall(depth, refine, trial)))
            has_stalled = len(tried) > _PATIENCE and tried[-1].recall < tried[-1 - _PATIENCE].recall + _LEAST_GAIN
            if tried[-1].recall >= goal or has_stalled:
                break
        return max(tried, key=lambda effort: (effort.recall, -effort.width))

    def _widths(self, hits: int, least: int) -> Iterator[int]:
        if self._index.widths is None:
            yield 0
            return
        low, high = self._index.widths
        width = max(low, least, hits if self._index.keeps_candidates else 1)
        while width < high:
            yield width
            width = max(width + 1, round(width * _STEP))
        yield high

    def _recall(self, depth: int, refine: int, width: int) -> float:
        if depth not in self._truths:
            self._truths[depth] = self._truth(depth)
        found = self._index.candidates(self._asked(depth), refine * depth, width, self._threads)
        return recall_of(self._scored(found, depth), self._truths[depth])

    def _asked(self, depth: int) -> NDArray[np.float32]:
        return self._queries[: max(_LEAST_QUERIES, _HITS // depth)]

    def _truth(self, depth: int) -> Scores:
        faiss = import_faiss()
        with faiss_threads(self._threads):
            _, best = faiss.knn(self._asked(depth), self._vectors, depth, faiss.METRIC_INNER_PRODUCT)
        return self._scored(best, depth)

    def _scored(self, rows: NDArray[np.int64], depth: int) -> Scores:
        """The best scores of each query among some rows."""
        from retrieval.index.kernels.rescoring import rescore

        n = len(rows)
        scores, counts = np.full((n, depth), -np.inf, dtype=np.float32), np.zeros(n, dtype=np.int64)
        places = np.arange(len(self._vectors))
        rescore(self._queries[:n], self._vectors, places, rows, np.empty((n, depth), np.int64), scores, counts)
        return scores, counts

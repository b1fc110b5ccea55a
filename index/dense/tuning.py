"""How hard an approximate search has to look, found on vectors held out for that."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.index.dense.faiss_index import FaissIndex, import_faiss
from retrieval.index.dense.kinds import VECTORS_PER_HIT
from retrieval.index.dense.options import DenseOptions, Effort
from retrieval.index.recall import Scores, recall_of
from retrieval.index.threads import faiss_threads

__all__ = ["DEPTHS", "held_out", "tuned"]

DEPTHS = (100, 1000)
"""Depths that are tuned beside the one that was asked for: 1000 is that of hybrid search."""

# Queries, and hits over all of them: a deeper search is judged by fewer.
_QUERIES, _LEAST_QUERIES, _HITS = 512, 64, 5120

# Queries stand farther from documents than documents from each other: the cosine with the vector that one is made of.
# With the noise below, it is that at which queries made of 20,000 documents were as hard for graphs and inverted lists
# as the real ones of four collections.
_CLOSENESS = 0.7

# Real queries miss more than those made of vectors, and the more so the fewer misses are allowed: where .5 % of these
# were missed, 1.6 % of real ones were (1,000,000 vectors). So the misses allowed are raised to this power.
_CAUTION = 1.4

_REFINE = (1, 2, 4, 8, 16, 32, 64)
# A vector read from anywhere takes as long as so many bytes in a row.
_RANDOM_ACCESS = 4
# Each width tried is so much larger than the one before; when so many together gain less, that is the end of it.
_STEP, _PATIENCE, _LEAST_GAIN = 2**0.5, 3, 5e-4


def held_out(vectors: NDArray[np.float32], seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Queries made of vectors drawn at random, with noise; and the rows of those, which are not to be found by them.

    Noise is the difference of two other vectors: it goes where the vectors go, as queries do. Noise of all directions
    alike is much easier to search with.
    """
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(vectors), min(_QUERIES, len(vectors)), replace=False)
    chosen, plus, minus = (vectors[some] for some in (rows, *rng.integers(len(vectors), size=(2, len(rows)))))
    noise = plus - minus
    norms, lengths = (np.linalg.norm(one, axis=1, keepdims=True) for one in (chosen, noise))
    scale = norms / np.maximum(lengths, np.float32(1e-12)) * np.float32(np.sqrt(1 / _CLOSENESS**2 - 1))
    return rows, chosen + noise * scale


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
        self._rows, self._queries = held_out(vectors)
        self._truths: dict[int, Scores] = {}

    def efforts(self, depths: Sequence[int], recall: float) -> Iterator[Effort]:
        goal, width = 1 - (1 - recall) ** _CAUTION, 0
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
        found = self._index.candidates(self._asked(depth), refine * depth + 1, width, self._threads)
        return recall_of(self._scored(found, depth), self._truths[depth])

    def _asked(self, depth: int) -> NDArray[np.float32]:
        return self._queries[: max(_LEAST_QUERIES, _HITS // depth)]

    def _truth(self, depth: int) -> Scores:
        faiss = import_faiss()
        with faiss_threads(self._threads):
            _, best = faiss.knn(self._asked(depth), self._vectors, depth + 1, faiss.METRIC_INNER_PRODUCT)
        return self._scored(best, depth)

    def _scored(self, rows: NDArray[np.int64], depth: int) -> Scores:
        """The best scores of each query among some rows, but for that of the vector it was made of."""
        from retrieval.index.kernels.rescoring import rescore

        n = len(rows)
        rows = np.where(rows == self._rows[:n, None], -1, rows)
        scores, counts = np.full((n, depth), -np.inf, dtype=np.float32), np.zeros(n, dtype=np.int64)
        places = np.arange(len(self._vectors))
        rescore(self._queries[:n], self._vectors, places, rows, np.empty((n, depth), np.int64), scores, counts)
        return scores, counts

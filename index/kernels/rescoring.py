"""Exact scores of documents that another search proposes: inner products summed in one order, whatever stands beside.

A product of d components is summed in LANES sums side by side, which a processor adds at once; those are added up in
pairs. Neither the batch, nor the threads, nor the kind of index changes a digit of it.
"""

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.compiling import kernel
from retrieval.index.kernels.prefetching import prefetch

__all__ = ["LANES", "rescore"]

LANES = 8
"""Sums side by side."""

_AHEAD = 2
_LINE = 16  # components in a line of the processor's cache


@kernel
def _inner_product(query: NDArray[np.float32], vector: NDArray[np.float32]) -> np.float32:
    """Of a query and a vector of as many components."""
    d = len(query)
    whole = d - d % LANES
    # LANES of them by name: a compiler keeps those in one register, and an array's places in memory.
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0)
    for i in range(0, whole, LANES):
        s0 += query[i] * vector[i]
        s1 += query[i + 1] * vector[i + 1]
        s2 += query[i + 2] * vector[i + 2]
        s3 += query[i + 3] * vector[i + 3]
        s4 += query[i + 4] * vector[i + 4]
        s5 += query[i + 5] * vector[i + 5]
        s6 += query[i + 6] * vector[i + 6]
        s7 += query[i + 7] * vector[i + 7]
    total = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
    for i in range(whole, d):
        total += query[i] * vector[i]
    return total


@kernel
def _prefetch_row(vectors: NDArray[np.float32], row: int) -> None:
    for i in range(0, vectors.shape[1], _LINE):
        prefetch(vectors[row], i)


@kernel
def rescore(
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32],
    ordinals: NDArray[np.int64],
    rows: NDArray[np.int64],
    out_ordinals: NDArray[np.int64],
    out_scores: NDArray[np.float32],
    out_counts: NDArray[np.int64],
) -> None:
    """Score the rows that are proposed for each query, and keep the best, ties by ordinal.

    Args:
        queries: (n, d).
        vectors: (m, d), in C order.
        ordinals: (m,) of the rows, ascending.
        rows: (n, b) proposed, each at most once; those below 0 are none.
        out_ordinals: (n, k) filled in, as are the scores; cells that no row fills stay as they are.
        out_scores: (n, k).
        out_counts: (n,) how many of a row's cells were filled.
    """
    k = out_ordinals.shape[1]
    for query in range(len(queries)):
        filled = 0
        proposed = np.sort(rows[query])
        for row in proposed:
            if row >= 0:
                proposed[filled] = row
                filled += 1
        scores = np.empty(filled, dtype=np.float32)
        for place in range(filled):
            if place + _AHEAD < filled:
                _prefetch_row(vectors, proposed[place + _AHEAD])
            scores[place] = _inner_product(queries[query], vectors[proposed[place]])
        # Rows ascend, as do their ordinals, so a stable sort leaves ties in order.
        order = np.argsort(-scores, kind="mergesort")
        count = min(k, filled)
        for place in range(count):
            out_ordinals[query, place] = ordinals[proposed[order[place]]]
            out_scores[query, place] = scores[order[place]]
        out_counts[query] = count

"""What `rescoring.py` computes, in plain NumPy: the same scores and order, to the bit."""

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.rescoring import LANES

__all__ = ["rescore"]


def _inner_products(
    query: NDArray[np.float32], vectors: NDArray[np.float32], rows: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """The inner products of a query, (d,), with some rows of vectors, summed in the kernel's order."""
    products = query * vectors[rows]
    whole = products.shape[1] - products.shape[1] % LANES
    sums = np.zeros((len(rows), LANES), dtype=np.float32)
    for start in range(0, whole, LANES):
        sums += products[:, start : start + LANES]
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        sums = sums[:, :half] + sums[:, half:]
    total = sums[:, 0]
    for i in range(whole, products.shape[1]):
        total = total + products[:, i]
    out[:] = total


def rescore(
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32],
    ordinals: NDArray[np.int64],
    rows: NDArray[np.int64],
    out_ordinals: NDArray[np.int64],
    out_scores: NDArray[np.float32],
    out_counts: NDArray[np.int64],
) -> None:
    """See `retrieval.index.kernels.rescoring.rescore`."""
    k = out_ordinals.shape[1]
    for query in range(len(queries)):
        proposed = rows[query][rows[query] >= 0]
        scores = np.empty(len(proposed), dtype=np.float32)
        _inner_products(queries[query], vectors, proposed, scores)
        best = np.lexsort((proposed, -scores))[:k]
        out_counts[query] = len(best)
        out_ordinals[query, : len(best)] = ordinals[proposed[best]]
        out_scores[query, : len(best)] = scores[best]

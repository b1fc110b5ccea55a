"""Exact top-k over eager postings in plain NumPy: what the kernel in `postings.py` is held to.

It needs no compiler, so it also answers a process' first question, sooner than the kernel could be loaded.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["search_postings"]


def search_postings(
    starts: NDArray[np.int64],
    ordinals: NDArray[np.int32],
    impacts: NDArray[np.float32],
    terms: NDArray[np.int64],
    offsets: NDArray[np.int64],
    shifts: NDArray[np.float32],
    n_documents: int,
    allowed: NDArray[np.bool_],
    out_ordinals: NDArray[np.int64],
    out_scores: NDArray[np.float32],
    out_counts: NDArray[np.int64],
) -> bool:
    """The same as the kernel of this name, in plain NumPy."""
    k = out_scores.shape[1]
    for query in range(len(offsets) - 1):
        sums = np.zeros(n_documents, dtype=np.float32)
        for term in terms[offsets[query] : offsets[query + 1]]:
            column = slice(starts[term], starts[term + 1])
            if np.any((ordinals[column] < 0) | (ordinals[column] >= n_documents)):
                return False
            sums[ordinals[column]] += impacts[column]
        matches = np.flatnonzero((sums > 0) & allowed if len(allowed) else sums > 0)
        scores = sums[matches] + shifts[query]
        best = np.lexsort((matches, -scores))[:k]
        out_counts[query] = len(best)
        out_ordinals[query, : len(best)] = matches[best]
        out_scores[query, : len(best)] = scores[best]
    return True

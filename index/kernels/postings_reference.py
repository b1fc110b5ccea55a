"""Exact top-k over eager postings in plain NumPy: what the kernel in `postings.py` is held to.

It needs no compiler, so it also answers a process' first question, sooner than the kernel could be loaded.
"""

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.layout import WINDOW, WINDOW_BITS, Postings, Queries, Scratch

__all__ = ["search_postings"]


def search_postings(
    postings: Postings,
    queries: Queries,
    scratch: Scratch,
    out_ordinals: NDArray[np.int64],
    out_scores: NDArray[np.float32],
    out_counts: NDArray[np.int64],
) -> None:
    """The same as the kernel of this name, in plain NumPy."""
    k = out_scores.shape[1]
    for query in range(len(queries.offsets) - 1):
        terms = queries.terms[queries.offsets[query] : queries.offsets[query + 1]]
        sums = _sums(postings, terms, queries.n_documents)
        matches = np.flatnonzero((sums > 0) & queries.allowed if len(queries.allowed) else sums > 0)
        ordinals = postings.order[matches] if len(postings.order) else matches
        first = np.lexsort((ordinals, -sums[matches]))[:k]
        scores, best = sums[matches[first]] * queries.scale + queries.shifts[query], ordinals[first]
        ranked = np.lexsort((best, -scores))
        out_counts[query] = len(best)
        out_ordinals[query, : len(best)] = best[ranked]
        out_scores[query, : len(best)] = scores[ranked]


def _sums(postings: Postings, terms: NDArray[np.int64], n_documents: int) -> NDArray[np.float32]:
    """What all terms together give each document, the terms with the largest impacts first."""
    sums = np.zeros((n_documents + WINDOW - 1) // WINDOW * WINDOW, dtype=np.float32)
    largest = [postings.maxima[slice(*postings.run_starts[term : term + 2])].max(initial=0) for term in terms]
    for term in terms[np.lexsort((terms, -np.array(largest)))]:
        begin = postings.starts[term]
        for run in range(postings.run_starts[term], postings.run_starts[term + 1]):
            end = begin + int(postings.lasts[run]) + 1
            first = int(postings.windows[run]) << WINDOW_BITS
            sums[first + postings.ordinals[begin:end].astype(np.int64)] += postings.impacts[begin:end]
            begin = end
    return sums[:n_documents]

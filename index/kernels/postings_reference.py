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
        part = slice(queries.offsets[query], queries.offsets[query + 1])
        sums = _sums(postings, queries.terms[part], queries.weights[part], queries.n_documents)
        matches = np.flatnonzero((sums > 0) & queries.allowed if len(queries.allowed) else sums > 0)
        ordinals = postings.order[matches] if len(postings.order) else matches
        first = np.lexsort((ordinals, -sums[matches]))[:k]
        scores, best = sums[matches[first]] * queries.scale + queries.shifts[query], ordinals[first]
        ranked = np.lexsort((best, -scores))
        out_counts[query] = len(best)
        out_ordinals[query, : len(best)] = best[ranked]
        out_scores[query, : len(best)] = scores[ranked]


def _sums(
    postings: Postings, terms: NDArray[np.int64], weights: NDArray[np.float32], n_documents: int
) -> NDArray[np.float32]:
    """What all terms together give each document, those first that can add most."""
    sums = np.zeros((n_documents + WINDOW - 1) // WINDOW * WINDOW, dtype=np.float32)
    maxima = [postings.maxima[slice(*postings.run_starts[term : term + 2])].max(initial=0) for term in terms]
    largest = np.array(maxima, dtype=np.float32) * weights
    for i in np.lexsort((terms, -largest)):
        term, weight = terms[i], weights[i]
        begin = postings.starts[term]
        for run in range(postings.run_starts[term], postings.run_starts[term + 1]):
            end = begin + int(postings.lasts[run]) + 1
            first = int(postings.windows[run]) << WINDOW_BITS
            sums[first + postings.ordinals[begin:end].astype(np.int64)] += weight * postings.impacts[begin:end].astype(
                np.float32
            )
            begin = end
    return sums[:n_documents]

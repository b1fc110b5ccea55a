"""Exact top-k over eager postings: each query's impacts are added up, the best k are kept.

A document matches a query if its sum is above zero; `shifts[q]` is added to the score of every match. Order: score
descending, then ordinal ascending. Sums are taken in float32, in the order of the query's terms, so this kernel and
its reference, `postings_reference.py`, agree to the bit.
"""

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.compiling import kernel

__all__ = ["search_postings"]


@kernel
def _sift_down(scores: NDArray[np.float32], ordinals: NDArray[np.int64], parent: int, size: int) -> None:
    """Restore the heap whose root is the worst hit, after the entry at `parent` has changed."""
    score, ordinal = scores[parent], ordinals[parent]
    child = 2 * parent + 1
    while child < size:
        right = child + 1
        if right < size and (
            scores[right] < scores[child] or (scores[right] == scores[child] and ordinals[right] > ordinals[child])
        ):
            child = right
        if scores[child] > score or (scores[child] == score and ordinals[child] < ordinal):
            break
        scores[parent], ordinals[parent] = scores[child], ordinals[child]
        parent, child = child, 2 * child + 1
    scores[parent], ordinals[parent] = score, ordinal


@kernel
def _offer(scores: NDArray[np.float32], ordinals: NDArray[np.int64], size: int, score: np.float32, ordinal: int) -> int:
    """Keep a hit if it is among the best so far; the heap's new size."""
    k = len(scores)
    if size < k:
        scores[size], ordinals[size] = score, ordinal
        size += 1
        if size == k:
            for parent in range(k // 2 - 1, -1, -1):
                _sift_down(scores, ordinals, parent, k)
    elif score > scores[0] or (score == scores[0] and ordinal < ordinals[0]):
        scores[0], ordinals[0] = score, ordinal
        _sift_down(scores, ordinals, 0, k)
    return size


@kernel
def _sort_best_first(scores: NDArray[np.float32], ordinals: NDArray[np.int64], size: int) -> None:
    """Heapsort in place: the worst goes last."""
    for parent in range(size // 2 - 1, -1, -1):
        _sift_down(scores, ordinals, parent, size)
    for last in range(size - 1, 0, -1):
        scores[0], scores[last] = scores[last], scores[0]
        ordinals[0], ordinals[last] = ordinals[last], ordinals[0]
        _sift_down(scores, ordinals, 0, last)


@kernel
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
    """Write the best k documents of each query into the out arrays, where k is their width, at least 1.

    False, with the work left undone, if an ordinal is out of range, as in a damaged file.

    Args:
        starts: (terms + 1,) where each term's postings begin.
        ordinals: (postings,) documents, ascending within a term.
        impacts: (postings,) what a term adds to a document's score, above zero.
        terms: the queries' terms, one query after the other; a repeated term counts as often as it stands there.
        offsets: (n + 1,) where each query's terms begin.
        shifts: (n,) what is added to the score of every match.
        n_documents: ordinals are below it.
        allowed: (n_documents,) documents that may be hits; empty where all may.
        out_ordinals: (n, k).
        out_scores: (n, k).
        out_counts: (n,) hits found.
    """
    sums = np.zeros(n_documents, dtype=np.float32)
    for query in range(len(offsets) - 1):
        query_terms = terms[offsets[query] : offsets[query + 1]]
        for term in query_terms:
            for posting in range(starts[term], starts[term + 1]):
                if ordinals[posting] < 0 or ordinals[posting] >= n_documents:
                    return False
                sums[ordinals[posting]] += impacts[posting]
        scores, kept, shift, size = out_scores[query], out_ordinals[query], shifts[query], 0
        # The second walk visits just the documents touched, and leaves the sums clean for the next query.
        for term in query_terms:
            for posting in range(starts[term], starts[term + 1]):
                ordinal = ordinals[posting]
                if sums[ordinal] > 0:
                    if len(allowed) == 0 or allowed[ordinal]:
                        size = _offer(scores, kept, size, sums[ordinal] + shift, ordinal)
                    sums[ordinal] = 0
        _sort_best_first(scores, kept, size)
        out_counts[query] = size
    return True

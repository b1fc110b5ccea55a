"""Exact search by FAISS, whatever its last digits are.

FAISS' own scores change in their last digits with the batch's size and the number of threads, and so would the order of
near ties. So FAISS proposes candidates, more than k where scores are close, and each candidate's score is computed
again, one way. The hits are exactly the k best by that score, ties by ordinal.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from retrieval.index.dense.faiss_index import import_faiss
from retrieval.index.threads import faiss_threads
from retrieval.types import Hits

__all__ = ["Propose", "exact_hits", "propose_on_cpu"]

# Bounds memory where many documents score alike, so that many have to be looked at.
_CANDIDATES_AT_ONCE = 1 << 23

Propose = Callable[[NDArray[np.float32], int], tuple[NDArray[np.float32], NDArray[np.int64]]]
"""The best k rows of each query, and their scores as far as they are right, both (n, k)."""


def propose_on_cpu(vectors: NDArray[np.float32], threads: int) -> Propose:
    """FAISS' search over vectors, on so many cores."""
    faiss = import_faiss()

    def propose(queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        with faiss_threads(threads):
            scores, rows = faiss.knn(queries, vectors, k, faiss.METRIC_INNER_PRODUCT)
        return scores, rows

    return propose


def exact_hits(
    propose: Propose,
    queries: NDArray[np.float32],
    hits: Hits,
    vectors: NDArray[np.float32],
    ordinals: NDArray[np.int64],
    mask: NDArray[np.bool_] | None,
    slack: NDArray[np.float64],
) -> None:
    """Fill in the hits among the vectors, of which those in the mask count, if there is one.

    Args:
        propose: what finds candidates.
        queries: (n, d).
        hits: empty ones, no more for each query than there are vectors that count.
        vectors: (m, d).
        ordinals: (m,) theirs, ascending.
        mask: (m,) which of them count; None for all.
        slack: (n,) twice the error that a proposed score can have.
    """
    from retrieval.index.kernels.rescoring import rescore

    k = hits.scores.shape[1]
    pending = np.arange(len(queries))
    breadth = int((k + k // 8 + 16) / (1.0 if mask is None else mask.mean()))
    while len(pending):
        breadth = min(breadth, len(vectors))
        at_once = max(1, _CANDIDATES_AT_ONCE // breadth)
        left = []
        for some in (pending[start : start + at_once] for start in range(0, len(pending), at_once)):
            approximate, rows = propose(queries[some], breadth)
            if mask is not None:
                rows = np.where(mask[rows], rows, -1)
            found = Hits.empty(len(some), k, hits.kind)
            rescore(queries[some], vectors, ordinals, rows, found.ordinals, found.scores, found.counts)
            # Nothing outside the candidates can reach the k-th score.
            settled = (found.counts == k) & (found.scores[:, -1] > approximate[:, -1] + slack[some])
            settled |= breadth == len(vectors)
            for name in ("ordinals", "scores", "counts"):
                getattr(hits, name)[some[settled]] = getattr(found, name)[settled]
            left.append(some[~settled])
        pending = np.concatenate(left)
        breadth *= 4

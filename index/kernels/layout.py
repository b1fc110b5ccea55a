"""How postings lie in memory: by term, and within a term in runs of one window of documents each.

A window is 65,536 documents with neighbouring ordinals, so a posting needs but 16 bits of its document's ordinal, and
the sums of a window's scores stay in a core's own cache. Of each run the largest impact is known; a long run is divided
once more, into buckets of 256 documents, so that a document is found in it at once, or passed over.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BUCKETS",
    "BUCKET_BITS",
    "LONG_RUN",
    "WINDOW",
    "WINDOW_BITS",
    "Postings",
    "Queries",
    "Scratch",
    "new_scratch",
]

WINDOW_BITS = 16
WINDOW = 1 << WINDOW_BITS
BUCKET_BITS = 8
BUCKETS = WINDOW >> BUCKET_BITS

LONG_RUN = 1024
"""Postings from which on a run has buckets."""


class Postings(NamedTuple):
    """Everything that a search reads.

    Attributes:
        starts: (terms + 1,) int64 where each term's postings begin.
        run_starts: (terms + 1,) uint32 where each term's runs begin.
        windows: (runs,) uint16, ascending within a term.
        lasts: (runs,) uint16 postings of each run, less one.
        maxima: (runs,) float32 the largest impact of each.
        buckets: (runs,) int32 row of its buckets, -1 for a run that is not long.
        bucket_starts: (long runs, BUCKETS) uint16 where each bucket's postings begin, from the run's first.
        bucket_maxima: (long runs, BUCKETS) uint8 the largest impact of each, in 255ths of the run's, rounded up.
        ordinals: (postings,) uint16 documents, from their window's first, ascending within a run.
        impacts: (postings,) what a term adds to a document's score, above zero: float32, or uint8 or uint16 of a scale.
        order: (documents,) int32 the ordinal of the document at each place, where documents were put into another order
            than that of their ordinals; windows and `ordinals` are then of places. Empty where they were not.
    """

    starts: NDArray[np.int64]
    run_starts: NDArray[np.uint32]
    windows: NDArray[np.uint16]
    lasts: NDArray[np.uint16]
    maxima: NDArray[np.float32]
    buckets: NDArray[np.int32]
    bucket_starts: NDArray[np.uint16]
    bucket_maxima: NDArray[np.uint8]
    ordinals: NDArray[np.uint16]
    impacts: NDArray[Any]
    order: NDArray[np.int32]


class Queries(NamedTuple):
    """A batch of n queries.

    Attributes:
        terms: int64 the queries' terms, one query after the other; a repeated term counts as often as it stands there.
        weights: float32 what each of them weighs in its query, above zero: its impacts are multiplied by it.
        offsets: (n + 1,) int64 where each query's terms begin.
        shifts: (n,) float32 what is added to the score of every match.
        scale: what a stored impact of 1 stands for.
        n_documents: ordinals are below it.
        allowed: (n_documents,) documents that may be hits, in the order of the postings; empty where all may.
    """

    terms: NDArray[np.int64]
    weights: NDArray[np.float32]
    offsets: NDArray[np.int64]
    shifts: NDArray[np.float32]
    scale: np.float32
    n_documents: int
    allowed: NDArray[np.bool_]


class Scratch(NamedTuple):
    """Memory that a search works in, one for each thread; the sums are zero between searches.

    Attributes:
        sums: (WINDOW,) float32.
        candidates: (WINDOW + 1,) int32.
        values: (WINDOW + 1,) float32 the candidates' sums so far.
    """

    sums: NDArray[np.float32]
    candidates: NDArray[np.int32]
    values: NDArray[np.float32]


def new_scratch() -> Scratch:
    """Memory for one thread."""
    return Scratch(
        sums=np.zeros(WINDOW, dtype=np.float32),
        candidates=np.empty(WINDOW + 1, dtype=np.int32),
        values=np.empty(WINDOW + 1, dtype=np.float32),
    )

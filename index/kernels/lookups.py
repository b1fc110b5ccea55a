"""One more term for documents that are candidates already: looked up in its postings, or added up with all of them."""

import numpy as np

from retrieval.index.kernels.compiling import kernel
from retrieval.index.kernels.layout import BUCKET_BITS, BUCKETS, Postings, Scratch

__all__ = ["add_term"]

# Postings per candidate up to which a whole run is added up instead of looking candidates up in it.
_LOOKUP = 6


@kernel
def add_term(
    postings: Postings,
    scratch: Scratch,
    found: int,
    weight: np.float32,
    run: int,
    begin: int,
    end: int,
    need: float,
) -> int:
    """Add a term's impacts, times its weight, to the candidates; how many have more than `need`, and are kept."""
    if found * _LOOKUP > end - begin:
        return _add_run(postings, scratch, found, weight, begin, end, need)
    if postings.buckets[run] >= 0:
        return _look_up_in_buckets(postings, scratch, found, weight, run, begin, end, need)
    kept = 0
    for i in range(found):
        ordinal, value = scratch.candidates[i], scratch.values[i]
        value += weight * _impact_of(postings, ordinal, begin, end)
        scratch.candidates[kept], scratch.values[kept] = ordinal, value
        kept += value > need
    return kept


@kernel
def _add_run(
    postings: Postings, scratch: Scratch, found: int, weight: np.float32, begin: int, end: int, need: float
) -> int:
    """Spread a run over the sums, where that costs less than to look for every candidate in it."""
    kept = 0
    for posting in range(begin, end):
        scratch.sums[postings.ordinals[posting]] = weight * np.float32(postings.impacts[posting])
    for i in range(found):
        ordinal = scratch.candidates[i]
        value = scratch.values[i] + scratch.sums[ordinal]
        scratch.candidates[kept], scratch.values[kept] = ordinal, value
        kept += value > need
    for posting in range(begin, end):
        scratch.sums[postings.ordinals[posting]] = 0
    return kept


@kernel
def _look_up_in_buckets(
    postings: Postings,
    scratch: Scratch,
    found: int,
    weight: np.float32,
    run: int,
    begin: int,
    end: int,
    need: float,
) -> int:
    """Look each candidate up among the postings of its bucket, unless even the bucket's largest would not do."""
    row = postings.buckets[run]
    unit = np.float64(postings.maxima[run]) * weight / 255
    kept = 0
    for i in range(found):
        ordinal, value = scratch.candidates[i], scratch.values[i]
        bucket = ordinal >> BUCKET_BITS
        if value + postings.bucket_maxima[row, bucket] * unit > need:
            first = begin + np.int64(postings.bucket_starts[row, bucket])
            last = end if bucket == BUCKETS - 1 else begin + np.int64(postings.bucket_starts[row, bucket + 1])
            value += weight * _impact_of(postings, ordinal, first, last)
            scratch.candidates[kept], scratch.values[kept] = ordinal, value
            kept += value > need
    return kept


@kernel
def _impact_of(postings: Postings, ordinal: int, begin: int, end: int) -> np.float32:
    """A document's impact among some postings in ascending order; 0 if it is not among them."""
    last = end
    while begin < end:
        middle = (begin + end) >> 1
        if postings.ordinals[middle] < ordinal:
            begin = middle + 1
        else:
            end = middle
    if begin < last and postings.ordinals[begin] == ordinal:
        return np.float32(postings.impacts[begin])
    return np.float32(0)

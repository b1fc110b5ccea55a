"""The buckets of long runs: where each begins, and the largest impact in it; see `layout.Postings`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.compiling import kernel
from retrieval.index.kernels.layout import BUCKET_BITS, BUCKETS, WINDOW

__all__ = ["fill_buckets"]


@kernel
def fill_buckets(
    ordinals: NDArray[np.int32],
    impacts: NDArray[Any],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    out_starts: NDArray[np.uint16],
    out_maxima: NDArray[np.uint8],
) -> None:
    """Write the buckets of long runs, given where each begins and ends."""
    for run in range(len(begins)):
        largest = np.float64(impacts[begins[run] : ends[run]].max())
        posting = begins[run]
        for bucket in range(BUCKETS):
            out_starts[run, bucket] = posting - begins[run]
            best = 0.0
            while posting < ends[run] and (ordinals[posting] & (WINDOW - 1)) >> BUCKET_BITS == bucket:
                best = max(best, np.float64(impacts[posting]))
                posting += 1
            out_maxima[run, bucket] = np.int64(np.ceil(best / largest * 255))

"""The best k of many hits, kept as keys of 64 bits: the larger of two keys is the better hit.

The upper half of a key is the score, above zero, whose bits as a float32 ascend with it; the lower half the ordinal,
turned round, so that of equal scores the smaller ordinal wins.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.compiling import kernel

__all__ = ["floor_of_values", "key_of", "order_ties", "ordinal_of", "select", "sort_descending"]

_HALF = np.uint64(32)
_LOWER = np.uint64(0xFFFFFFFF)
_FEW = 48
_BINS = 1024

Keys = NDArray[np.uint64]


@kernel
def key_of(bits: np.uint32, ordinal: int) -> np.uint64:
    """The key of a score, given as its bits, and an ordinal."""
    return (np.uint64(bits) << _HALF) | (_LOWER - np.uint64(ordinal))


@kernel
def ordinal_of(key: np.uint64) -> np.int64:
    """The ordinal in a key."""
    return np.int64(_LOWER - (key & _LOWER))


@kernel
def order_ties(scores: NDArray[np.float32], ordinals: NDArray[np.int64]) -> None:
    """Put equal scores into ascending order of ordinals: a scale, or what all documents get, can make more of them."""
    start = 0
    for i in range(1, len(scores) + 1):
        if i == len(scores) or scores[i] != scores[start]:
            if i - start > 1:
                ordinals[start:i] = np.sort(ordinals[start:i])
            start = i


@kernel
def select(values: NDArray[Any], size: int, k: int) -> None:
    """Move the k largest of the first `size` values to the front, in any order (Hoare's quickselect)."""
    first, last = 0, size - 1
    while last > first:
        pivot = values[(first + last) >> 1]
        i, j = first, last
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            last = j
        elif k - 1 >= i:
            first = i
        else:
            return


@kernel
def floor_of_values(values: NDArray[np.float32], size: int, k: int, most: float) -> float:
    """A value that at least k of the first `size` reach, near the k-th largest; all are above 0 and at most `most`."""
    counts = np.zeros(_BINS + 1, dtype=np.int64)
    bins = _BINS / most
    for i in range(size):
        bin_ = np.int64(values[i] * bins)
        counts[bin_ if bin_ < _BINS else _BINS] += 1
    edge, seen = _BINS, counts[_BINS]
    while seen < k and edge > 0:
        edge -= 1
        seen += counts[edge]
    # A hair below the edge of the bin, as both roundings may have gone up.
    return edge / bins * (1 - 1e-6)


@kernel
def sort_descending(keys: Keys, size: int, spare: Keys) -> Keys:
    """The first `size` keys, sorted: in `keys` or in `spare`, which is as long."""
    if size <= _FEW:
        _insert(keys, 0, size)
        return keys
    keys = _sort_by_score(keys, size, spare)
    start = 0
    for i in range(1, size + 1):
        if i == size or keys[i] >> _HALF != keys[start] >> _HALF:
            _sort_ties(keys, start, i)
            start = i
    return keys


@kernel
def _sort_ties(keys: Keys, start: int, stop: int) -> None:
    """Keys of one score."""
    if stop - start > _FEW:
        keys[start:stop] = np.sort(keys[start:stop])[::-1]
    else:
        _insert(keys, start, stop)


@kernel
def _insert(keys: Keys, start: int, stop: int) -> None:
    """Insertion sort of a few keys."""
    for i in range(start + 1, stop):
        key, j = keys[i], i - 1
        while j >= start and keys[j] < key:
            keys[j + 1] = keys[j]
            j -= 1
        keys[j + 1] = key


@kernel
def _sort_by_score(keys: Keys, size: int, spare: Keys) -> Keys:
    """Radix sort by the upper halves, in three passes over the bits in which they differ."""
    least, most = keys[:size].min() >> _HALF, keys[:size].max() >> _HALF
    width = np.uint64(1)
    while (most - least) >> (np.uint64(3) * width):
        width += np.uint64(1)
    mask = (np.uint64(1) << width) - np.uint64(1)
    counts = np.empty(np.int64(mask) + 1, dtype=np.int64)
    for digit in range(3):
        shift = np.uint64(digit) * width
        counts[:] = 0
        for i in range(size):
            counts[(most - (keys[i] >> _HALF)) >> shift & mask] += 1
        place = 0
        for value in range(len(counts)):
            place, counts[value] = place + counts[value], place
        for i in range(size):
            value = (most - (keys[i] >> _HALF)) >> shift & mask
            spare[counts[value]] = keys[i]
            counts[value] += 1
        keys, spare = spare, keys
    return keys

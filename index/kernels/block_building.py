"""Vectors turned into blocks of equal impact: two passes to count, one to write, without sorting anything."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.compiling import kernel
from retrieval.index.kernels.layout import WINDOW

__all__ = ["count_blocks", "count_levels", "write_blocks"]


@kernel
def level_of(weight: Any, per_level: float) -> int:
    """The level of a stored weight above zero."""
    # A hair less, so that rounding does not make one level more than there are.
    return int(max(np.ceil(np.float64(weight) / per_level - 1e-9), 1.0))


@kernel
def count_levels(terms: NDArray[Any], weights: NDArray[Any], per_level: float, counts: NDArray[np.int64]) -> None:
    """Add to `counts`, (terms, levels + 1), the entries of each term and level; weights of 0 are none."""
    for i in range(len(terms)):
        if weights[i] > 0:
            counts[terms[i], level_of(weights[i], per_level)] += 1


@kernel
def _count_window(
    offsets: NDArray[np.int64],
    terms: NDArray[Any],
    weights: NDArray[Any],
    per_level: float,
    floors: NDArray[np.uint8],
    first: int,
    counts: NDArray[np.uint32],
) -> None:
    """Entries of each term and level in the window that begins with a row."""
    counts[:] = 0
    stop = min(first + WINDOW, len(offsets) - 1)
    for i in range(offsets[first], offsets[stop]):
        if weights[i] > 0:
            level = level_of(weights[i], per_level)
            if level > floors[terms[i]]:
                counts[terms[i], level] += 1


@kernel
def count_blocks(
    offsets: NDArray[np.int64],
    terms: NDArray[Any],
    weights: NDArray[Any],
    per_level: float,
    floors: NDArray[np.uint8],
    counts: NDArray[np.uint32],
    out: NDArray[np.int64],
) -> None:
    """Add each term's number of blocks to `out`, (terms,); `counts`, (terms, levels + 1), is written to."""
    for first in range(0, len(offsets) - 1, WINDOW):
        _count_window(offsets, terms, weights, per_level, floors, first, counts)
        for term in range(len(counts)):
            for level in range(counts.shape[1]):
                out[term] += counts[term, level] > 0


@kernel
def write_blocks(
    offsets: NDArray[np.int64],
    terms: NDArray[Any],
    weights: NDArray[Any],
    per_level: float,
    floors: NDArray[np.uint8],
    counts: NDArray[np.uint32],
    block_offsets: NDArray[np.int64],
    posting_offsets: NDArray[np.int64],
    windows: NDArray[np.uint16],
    levels: NDArray[np.uint8],
    lasts: NDArray[np.uint16],
    postings: NDArray[np.uint16],
) -> None:
    """Write every block; the arrays are those of `Blocks`."""
    block, posting = block_offsets[:-1].copy(), posting_offsets[:-1].copy()
    for first in range(0, len(offsets) - 1, WINDOW):
        _count_window(offsets, terms, weights, per_level, floors, first, counts)
        begins = posting.copy()
        for term in range(len(counts)):
            for level in range(counts.shape[1] - 1, 0, -1):
                count = np.int64(counts[term, level])
                if count:
                    windows[block[term]], levels[block[term]] = first // WINDOW, level
                    lasts[block[term]] = count - 1
                    block[term] += 1
                    # From now on where the next posting of this level goes, from the term's first in this window.
                    counts[term, level] = posting[term] - begins[term]
                    posting[term] += count
        for row in range(first, min(first + WINDOW, len(offsets) - 1)):
            for i in range(offsets[row], offsets[row + 1]):
                if weights[i] > 0:
                    level = level_of(weights[i], per_level)
                    if level > floors[terms[i]]:
                        postings[begins[terms[i]] + counts[terms[i], level]] = row - first
                        counts[terms[i], level] += 1

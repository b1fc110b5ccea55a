"""How blocks of equal impact lie in memory, and what a search of them takes."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.layout import WINDOW

__all__ = ["LEVELS", "ROWS", "BlockScratch", "Blocks", "Pruning", "Rows", "WeightedQueries", "new_block_scratch"]

LEVELS = 255
"""The highest level."""

ROWS = 16
"""Sums of a window of which the maximum is taken."""


class Blocks(NamedTuple):
    """Everything that a search reads.

    A block holds the postings of one term in one window whose impacts are of one level: above level - 1 and at most
    level, times `level_weight`. Of a term, blocks ascend by window and within a window descend by level.

    Attributes:
        block_offsets: (terms + 1,) int64 where each term's blocks begin.
        posting_offsets: (terms + 1,) int64 where each term's postings begin.
        tops: (terms,) uint8 the highest level of each term, 0 for a term without postings.
        floors: (terms,) uint8 the highest level that was left out, 0 where none was.
        windows: (blocks,) uint16.
        levels: (blocks,) uint8 at least 1.
        lasts: (blocks,) uint16 postings of each block, less one.
        postings: uint16 documents, from their window's first, ascending within a block.
        level_weight: the stored weight that a level of 1 stands for.
    """

    block_offsets: NDArray[np.int64]
    posting_offsets: NDArray[np.int64]
    tops: NDArray[np.uint8]
    floors: NDArray[np.uint8]
    windows: NDArray[np.uint16]
    levels: NDArray[np.uint8]
    lasts: NDArray[np.uint16]
    postings: NDArray[np.uint16]
    level_weight: float


class Rows(NamedTuple):
    """The documents' vectors.

    Attributes:
        offsets: (rows + 1,) int64 where each document's entries begin; a deleted document has none.
        terms: (entries,) uint16, or int32, ascending within a document.
        weights: (entries,) uint8, uint16 or float32 of a scale, above zero.
    """

    offsets: NDArray[np.int64]
    terms: NDArray[Any]
    weights: NDArray[Any]


class WeightedQueries(NamedTuple):
    """A batch of n queries.

    Attributes:
        terms: int64 the queries' terms, one query after the other, each below the number of terms; the weights of a
            repeated term are added up.
        weights: float32 at least 0.
        offsets: (n + 1,) int64 where each query's terms begin.
        scale: what a stored weight of 1 stands for.
        allowed: (rows,) documents that may be hits; empty where all may.
    """

    terms: NDArray[np.int64]
    weights: NDArray[np.float32]
    offsets: NDArray[np.int64]
    scale: np.float32
    allowed: NDArray[np.bool_]


class Pruning(NamedTuple):
    """What a search passes over.

    Attributes:
        share: blocks are read that give at least this part of the most that any term of the query can; 0 reads all.
        fill: a document is taken to have this part of the largest impact of a term that was not read; with 1, and a
            patience of 1, the search is exact among the documents that it reads of.
        depth: documents scored at most, at least as many as hits are wanted.
        patience: scoring ends where an estimate is below this part of the k-th best score; 0 for never.
    """

    share: float
    fill: float
    depth: int
    patience: float


class BlockScratch(NamedTuple):
    """Memory that a search works in, one for each thread; zero between searches.

    Attributes:
        sums: (WINDOW,) uint16.
        weights: (terms,) float32 the query's, by term; at least as many as uint16 can name.
        maxima: (WINDOW / ROWS,) uint16, of sums.
        present: uint8, as long as `weights`, 1 for the query's terms.
    """

    sums: NDArray[np.uint16]
    maxima: NDArray[np.uint16]
    weights: NDArray[np.float32]
    present: NDArray[np.uint8]


def new_block_scratch(n_terms: int) -> BlockScratch:
    """Memory for one thread."""
    room = max(n_terms, 1 << 16)  # terms of 16 bits cannot lead outside, whatever they are
    return BlockScratch(
        sums=np.zeros(WINDOW, dtype=np.uint16),
        maxima=np.zeros(WINDOW // ROWS, dtype=np.uint16),
        weights=np.zeros(room, dtype=np.float32),
        present=np.zeros(room, dtype=np.uint8),
    )

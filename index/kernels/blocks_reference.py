"""What `blocks.py` computes, in plain NumPy: the same hits, scores and order."""

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.block_layout import Blocks, BlockScratch, Pruning, Rows, WeightedQueries
from retrieval.index.kernels.layout import WINDOW_BITS

__all__ = ["search_blocks"]

_LARGEST = 65_535


def search_blocks(
    blocks: Blocks,
    rows: Rows,
    queries: WeightedQueries,
    pruning: Pruning,
    scratch: BlockScratch,
    out_ordinals: NDArray[np.int64],
    out_scores: NDArray[np.float32],
    out_counts: NDArray[np.int64],
) -> None:
    """See `retrieval.index.kernels.blocks.search_blocks`."""
    del scratch
    k, n_rows = out_ordinals.shape[1], len(rows.offsets) - 1
    for query in range(len(queries.offsets) - 1):
        first, stop = queries.offsets[query], queries.offsets[query + 1]
        weights = np.zeros(len(blocks.tops), dtype=np.float32)
        for term, weight in zip(queries.terms[first:stop], queries.weights[first:stop], strict=True):
            weights[term] += weight
        hits = _search_one(blocks, rows, weights, queries, pruning, k)
        if len(hits) < k and (pruning.share > 0 or pruning.patience > 0):
            hits = _search_one(blocks, rows, weights, queries, Pruning(0.0, 1.0, n_rows, 1.0), k)
        scored = [(np.float32(score) * queries.scale, ordinal) for score, ordinal in hits]
        for place, (score, ordinal) in enumerate(sorted(scored, key=lambda hit: (-hit[0], hit[1]))):
            out_scores[query, place], out_ordinals[query, place] = score, ordinal
        out_counts[query] = len(hits)


def _search_one(
    blocks: Blocks, rows: Rows, weights: NDArray[np.float32], queries: WeightedQueries, pruning: Pruning, k: int
) -> list[tuple[np.float32, int]]:
    """The best hits, score descending, then ordinal ascending."""
    sums, base, unit = _estimates(blocks, len(rows.offsets) - 1, weights, pruning)
    if len(queries.allowed):
        sums[~queries.allowed] = 0
    order = np.lexsort((np.arange(len(sums)), -sums))[: max(pruning.depth, k)]
    hits: list[tuple[np.float32, int]] = []
    for ordinal in order[sums[order] > 0]:
        enough = np.float64(hits[-1][0]) * pruning.patience * (1 - 1e-5) if len(hits) == k else 0.0
        if base + unit * sums[ordinal] < enough:
            break
        score = _inner(rows, weights, ordinal)
        if score > 0:
            hits = sorted([*hits, (score, int(ordinal))], key=lambda hit: (-hit[0], hit[1]))[:k]
    return hits


def _estimates(
    blocks: Blocks, n_rows: int, weights: NDArray[np.float32], pruning: Pruning
) -> tuple[NDArray[np.int64], float, float]:
    """Of each document what blocks give it; what every document is taken to have, and what a sum of 1 stands for."""
    terms = np.flatnonzero(weights > 0)
    gains = blocks.level_weight * weights[terms].astype(np.float64)
    tops = blocks.tops[terms].astype(np.int64)
    most = (gains * tops).max(initial=0.0)
    lowest = np.minimum(tops, np.ceil(pruning.share * most / gains).astype(np.int64) - 1)
    lowest = np.maximum(lowest, blocks.floors[terms])
    filled = gains * pruning.fill * lowest
    largest = (gains * tops - filled).cumsum()[-1] if len(terms) else 0.0
    unit = float(largest / max(_LARGEST - len(terms), 1)) if largest > 0 else 1.0
    sums = np.zeros(n_rows, dtype=np.int64)
    for i, term in enumerate(terms):
        posting = int(blocks.posting_offsets[term])
        for block in range(blocks.block_offsets[term], blocks.block_offsets[term + 1]):
            stop = posting + int(blocks.lasts[block]) + 1
            if blocks.levels[block] > lowest[i]:
                ordinals = (int(blocks.windows[block]) << WINDOW_BITS) + blocks.postings[posting:stop].astype(np.int64)
                sums[ordinals] += int(np.ceil(gains[i] / unit * blocks.levels[block] - filled[i] / unit))
            posting = stop
    return sums, float(filled.cumsum()[-1]) if len(terms) else 0.0, unit


def _inner(rows: Rows, weights: NDArray[np.float32], ordinal: int) -> np.float32:
    """The sum of products in float32, terms in ascending order."""
    first, stop = rows.offsets[ordinal], rows.offsets[ordinal + 1]
    products = weights[rows.terms[first:stop]] * rows.weights[first:stop].astype(np.float32)
    return np.float32(products.cumsum(dtype=np.float32)[-1]) if len(products) else np.float32(0)

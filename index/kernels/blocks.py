"""Approximate top-k of learned sparse vectors: the largest impacts propose documents, whole vectors decide.

Postings lie in blocks of one term, window and level of impact, the highest level first, so a search reads as much of a
list as is worth it (score-at-a-time retrieval: Anh, de Kretser and Moffat, 2001; Lin and Trotman's JASS, 2015). Within
a block nothing but documents needs to be read: each gets the same. A block is read where its level, times the weight
in the query, is at least a share of the most that any term can give. For what is not read a document is taken to have
a part, `fill`, of the largest impact that was not read; with a fill of 1 the estimates are upper bounds.

The documents with the best estimates are scored exactly, from their vectors, in descending order of estimates
(two-step retrieval as in Lassance et al., SIGIR 2024), until the next estimate is too far below the k-th best score.

An exact score is the sum in float32 of the products of stored weights and the query's, terms in ascending order; then
it is multiplied by the scale. It equals any other order of summation up to rounding, and to the bit where all weights
are whole and the sum is below 2^24.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.block_layout import ROWS, Blocks, BlockScratch, Pruning, Rows, WeightedQueries
from retrieval.index.kernels.compiling import kernel
from retrieval.index.kernels.layout import WINDOW, WINDOW_BITS
from retrieval.index.kernels.prefetching import prefetch
from retrieval.index.kernels.topk import key_of, order_ties, ordinal_of, select, sort_descending

__all__ = ["search_blocks"]

_LARGEST = 65_535
_ROOM = 1024
# Documents fetched ahead of the one that is scored, and elements of a cache line.
_AHEAD = 3
_LINE = 64
_HALF = np.uint64(32)


@kernel
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
    """Write the best k documents found for each query into the out arrays, where k is their width, at least 1.

    Order: score descending, then ordinal ascending. Where pruning leaves fewer than k, the query is searched once more
    without any.

    Args:
        blocks: the index.
        rows: the documents' vectors.
        queries: what is asked.
        pruning: what is not read and not scored.
        scratch: of this thread.
        out_ordinals: (n, k).
        out_scores: (n, k).
        out_counts: (n,) hits found.
    """
    k, n_rows = out_ordinals.shape[1], len(rows.offsets) - 1
    everything = Pruning(0.0, 1.0, n_rows, 1.0)
    hits = np.empty(k, dtype=np.uint64)
    bits = np.empty(k, dtype=np.uint32)
    scores = bits.view(np.float32)
    room = np.empty((2, 2 * min(max(pruning.depth, k), n_rows) + _ROOM), dtype=np.uint64)
    for query in range(len(queries.offsets) - 1):
        first, stop = queries.offsets[query], queries.offsets[query + 1]
        terms, weights = queries.terms[first:stop], queries.weights[first:stop]
        for i in range(len(terms)):
            scratch.weights[terms[i]] += weights[i]
        terms = _distinct(terms, scratch.weights)
        scratch.present[terms] = 1
        size = _search_one(blocks, rows, terms, queries.allowed, pruning, scratch, room, hits)
        if size < k and (pruning.share > 0 or pruning.patience > 0):
            whole = np.empty((2, 2 * n_rows + _ROOM), dtype=np.uint64)
            size = _search_one(blocks, rows, terms, queries.allowed, everything, scratch, whole, hits)
        scratch.present[terms] = 0
        for term in queries.terms[first:stop]:
            scratch.weights[term] = 0
        best = np.sort(hits[:size])[::-1]
        for i in range(size):
            bits[i] = np.uint32(best[i] >> _HALF)
            out_ordinals[query, i] = ordinal_of(best[i])
        for i in range(size):
            out_scores[query, i] = scores[i] * queries.scale
        order_ties(out_scores[query, :size], out_ordinals[query, :size])
        out_counts[query] = size


@kernel
def _distinct(terms: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.int64]:
    """Each term that weighs anything once, in ascending order."""
    ordered = np.unique(terms)
    return ordered[weights[ordered] > 0]


@kernel
def _search_one(
    blocks: Blocks,
    rows: Rows,
    terms: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    pruning: Pruning,
    scratch: BlockScratch,
    room: NDArray[np.uint64],
    hits: NDArray[np.uint64],
) -> int:
    """Put the best documents into the front of `hits`, in any order; how many they are."""
    n_rows = len(rows.offsets) - 1
    depth = min(max(pruning.depth, len(hits)), n_rows)
    size, base, unit = _propose(blocks, terms, n_rows, allowed, pruning, depth, scratch, room[0])
    best = sort_descending(room[0], size, room[1])[:size]
    return _score(rows.offsets, rows.terms, rows.weights, scratch, best, base, unit, pruning.patience, hits)


@kernel
def _propose(
    blocks: Blocks,
    terms: NDArray[np.int64],
    n_rows: int,
    allowed: NDArray[np.bool_],
    pruning: Pruning,
    depth: int,
    scratch: BlockScratch,
    keys: NDArray[np.uint64],
) -> tuple[int, float, float]:
    """Put the documents with the largest sums into the front of `keys`, and what `_plan` gives behind their number."""
    n, sums, maxima = len(terms), scratch.sums, scratch.maxima
    lowest, filled, gains = np.empty(n, dtype=np.int64), np.empty(n), np.empty(n)
    base, unit = _plan(blocks, terms, scratch.weights, pruning, lowest, filled, gains)
    block, posting = blocks.block_offsets[terms], blocks.posting_offsets[terms]
    size, floor = 0, 0
    for first in range(0, n_rows, WINDOW):
        touched = 0
        for i in range(n):
            end, window = blocks.block_offsets[terms[i] + 1], first >> WINDOW_BITS
            if block[i] < end and blocks.windows[block[i]] == window:
                touched += _add(blocks, sums, block, posting, i, end, window, lowest[i], gains[i], filled[i])
        if touched:
            sums[min(n_rows - first, WINDOW) :] = 0  # there are none, whatever the postings say
            among = allowed[first : first + WINDOW]
            for j in range(len(among)):
                sums[j] *= among[j]
            _maxima(sums, maxima)
            if size == 0:
                floor = max(floor, _floor_of_maxima(maxima, depth))
            size, floor = _collect(sums, maxima, first, keys, size, floor, depth)
            sums[:] = 0
    return size, base, unit


@kernel
def _plan(
    blocks: Blocks,
    terms: NDArray[np.int64],
    weights: NDArray[np.float32],
    pruning: Pruning,
    lowest: NDArray[np.int64],
    filled: NDArray[np.float64],
    gains: NDArray[np.float64],
) -> tuple[float, float]:
    """Decide what is read of each term: levels above `lowest`, of which each gives `gains` times it, less `filled`.

    What every document is taken to have, and what a sum of 1 stands for, in stored weights times those of the query.
    """
    most = 0.0
    for i in range(len(terms)):
        most = max(most, blocks.level_weight * weights[terms[i]] * blocks.tops[terms[i]])
    base, largest = 0.0, 0.0
    for i in range(len(terms)):
        gain = blocks.level_weight * weights[terms[i]]
        top, least = np.int64(blocks.tops[terms[i]]), np.int64(blocks.floors[terms[i]])
        # The highest level that gives less than the share.
        lowest[i] = max(least, min(top, np.int64(np.ceil(pruning.share * most / gain)) - 1))
        gains[i], filled[i] = gain, gain * pruning.fill * lowest[i]
        base += filled[i]
        largest += gain * top - filled[i]
    unit = largest / max(_LARGEST - len(terms), 1) if largest > 0 else 1.0
    for i in range(len(terms)):
        gains[i] /= unit
        filled[i] /= unit
    return base, unit


@kernel
def _add(
    blocks: Blocks,
    sums: NDArray[np.uint16],
    block: NDArray[np.int64],
    posting: NDArray[np.int64],
    i: int,
    end: int,
    window: int,
    lowest: int,
    gain: float,
    filled: float,
) -> int:
    """Add up what a term's blocks of a window give, and go on to its next window; how many postings were read."""
    at, start, read = block[i], posting[i], 0
    while at < end and blocks.windows[at] == window:
        stop = start + np.int64(blocks.lasts[at]) + 1
        if blocks.levels[at] > lowest:
            value = np.uint16(np.ceil(gain * blocks.levels[at] - filled))
            for place in range(np.uint64(start), np.uint64(stop)):
                sums[blocks.postings[place]] += value
            read += stop - start
        start = stop
        at += 1
    block[i], posting[i] = at, start
    return read


@kernel
def _maxima(sums: NDArray[np.uint16], maxima: NDArray[np.uint16]) -> None:
    """Of a window's sums that stand as far apart as there are maxima, the largest each."""
    maxima[:] = 0
    for start in range(0, WINDOW, len(maxima)):
        row = sums[start : start + len(maxima)]
        for i in range(len(maxima)):
            maxima[i] = max(maxima[i], row[i])


@kernel
def _floor_of_maxima(maxima: NDArray[np.uint16], depth: int) -> int:
    """One less than a sum that at least `depth` documents reach; 0 where that cannot be told."""
    if depth > len(maxima):
        return 0
    chosen = maxima.copy()
    select(chosen, len(chosen), depth)
    return int(max(np.int64(chosen[:depth].min()), np.int64(1))) - 1


@kernel
def _collect(
    sums: NDArray[np.uint16],
    maxima: NDArray[np.uint16],
    first: int,
    keys: NDArray[np.uint64],
    size: int,
    floor: int,
    depth: int,
) -> tuple[int, int]:
    """Keep the documents whose sums are above the floor; how many there are, and the new floor."""
    least, n = np.uint16(floor), len(maxima)
    for i in range(n):
        if maxima[i] > least:
            for place in range(np.uint64(i), np.uint64(WINDOW), np.uint64(n)):
                if sums[place] > least:
                    keys[size] = key_of(np.uint32(sums[place]), first + np.int64(place))
                    size += 1
            if size > len(keys) - ROWS:
                size, least = _cut(keys, size, depth, least)
    if size > depth:
        size, least = _cut(keys, size, depth, least)
    return size, int(least)


@kernel
def _cut(keys: NDArray[np.uint64], size: int, depth: int, least: np.uint16) -> tuple[int, np.uint16]:
    """Leave the best; how many there are, and one less than the least sum of them."""
    if size <= depth:
        return size, least
    select(keys, size, depth)
    # Documents of the same sum that come later can have smaller ordinals within a window; no sum that is kept is 0.
    return depth, np.uint16(np.int64(keys[:depth].min() >> _HALF) - 1)


@kernel
def _score(
    offsets: NDArray[np.int64],
    terms: NDArray[Any],
    values: NDArray[Any],
    scratch: BlockScratch,
    best: NDArray[np.uint64],
    base: float,
    unit: float,
    patience: float,
    hits: NDArray[np.uint64],
) -> int:
    """Keep the best by exact scores, looking at documents in descending order of estimates; how many were kept."""
    size, enough = 0, 0.0
    score = np.zeros(1, dtype=np.float32)
    bits = score.view(np.uint32)
    for i in range(-_AHEAD, len(best)):
        if i + _AHEAD < len(best):
            _fetch(offsets, terms, values, ordinal_of(best[i + _AHEAD]))
        if i < 0:
            continue
        # A sum was rounded up, a score may have been rounded either way.
        if size == len(hits) and base + unit * np.float64(best[i] >> _HALF) < enough:
            break
        ordinal = ordinal_of(best[i])
        score[0] = _inner(offsets, terms, values, scratch.weights, scratch.present, ordinal)
        if score[0] > 0:
            size = _keep(hits, size, key_of(bits[0], ordinal))
            bits[0] = np.uint32(hits[0] >> _HALF)
            enough = np.float64(score[0]) * patience * (1 - 1e-5)
    return size


@kernel
def _fetch(offsets: NDArray[np.int64], terms: NDArray[Any], values: NDArray[Any], ordinal: int) -> None:
    """Ask for a document's vector."""
    first, stop = offsets[ordinal], offsets[ordinal + 1]
    for place in range(first, stop, _LINE // terms.itemsize):
        prefetch(terms, place)
    for place in range(first, stop, _LINE // values.itemsize):
        prefetch(values, place)


@kernel
def _inner(
    offsets: NDArray[np.int64],
    terms: NDArray[Any],
    values: NDArray[Any],
    weights: NDArray[np.float32],
    present: NDArray[np.uint8],
    ordinal: int,
) -> np.float32:
    """The inner product of the query and a document, in stored weights."""
    # Indexes without a sign are not looked at for being negative.
    i, stop = np.uint64(offsets[ordinal]), np.uint64(offsets[ordinal + 1])
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    total = np.float32(0)
    while i + three < stop:
        # Few entries are of the query's terms, so four are passed over at a time.
        if present[terms[i]] | present[terms[i + one]] | present[terms[i + two]] | present[terms[i + three]]:
            for j in range(i, i + four):
                total += weights[terms[j]] * np.float32(values[j])
        i += four
    while i < stop:
        total += weights[terms[i]] * np.float32(values[i])
        i += one
    return total


@kernel
def _keep(heap: NDArray[np.uint64], size: int, key: np.uint64) -> int:
    """Offer a key to the best so far, of which the worst stands first (a binary heap); how many there are."""
    if size < len(heap):
        at = size
        while at > 0 and heap[(at - 1) >> 1] > key:
            heap[at] = heap[(at - 1) >> 1]
            at = (at - 1) >> 1
        heap[at] = key
        return size + 1
    if key <= heap[0]:
        return size
    at, below = 0, 1
    while below < size:
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= key:
            break
        heap[at] = heap[below]
        at, below = below, 2 * below + 1
    heap[at] = key
    return size

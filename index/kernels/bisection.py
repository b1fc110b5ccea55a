"""Graph bisection: a run of documents is split into two halves that share few terms.

A term that `left` of the `n_left` documents of one half hold, and `right` of the `n_right` of the other, costs about
left * log2(n_left / (left + 1)) + right * log2(n_right / (right + 1)) bits (Dhulipala et al., "Compressing Graphs and
Indexes with Recursive Graph Bisection", KDD 2016). A document's bias adds up log2((right + 1) / n_right) -
log2((left + 1) / n_left) over its terms, what it draws to the right; it is one number whichever half the document is
in, so a selection takes the place of sorting both halves and swapping (Mackenzie, Petri, Moffat, "Faster Index
Reordering with Bipartite Graph Partitioning", SIGIR 2021; Lucene's BPIndexReorderer does the same). Logarithms are
integers from a table, so this kernel and its reference, `bisection_reference.py`, agree to the bit.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.compiling import kernel

__all__ = ["Run", "bisect", "count_terms", "invert"]

# Cells that a round of selection tells apart.
_CELLS = 2048
# A term that a half holds only once says nothing of the order within it.
_LEAST_DOCUMENTS = 2
# Rounds end when no more than one document in so many changes sides.
_FEW = 256


class Run(NamedTuple):
    """Documents that stand together, with their terms.

    Attributes:
        documents: (n,) int32.
        begins: (n,) int64, ascending: where in `terms` the terms of each begin.
        lengths: (n,) int32, how many there are.
        terms: numbers of terms, unsigned; those of other runs stand before and behind.
    """

    documents: NDArray[np.int32]
    begins: NDArray[np.int64]
    lengths: NDArray[np.int32]
    terms: NDArray[np.unsignedinteger[Any]]


@kernel
def count_terms(
    starts: NDArray[np.int64], ordinals: NDArray[np.int32], chosen: NDArray[np.int64], lengths: NDArray[np.int32]
) -> None:
    """Add to `lengths` (documents,) how many of the chosen terms each document holds."""
    for term in chosen:
        for posting in range(starts[term], starts[term + 1]):
            lengths[ordinals[posting]] += 1


@kernel
def invert(
    starts: NDArray[np.int64],
    ordinals: NDArray[np.int32],
    chosen: NDArray[np.int64],
    ends: NDArray[np.int64],
    out_terms: NDArray[np.unsignedinteger[Any]],
) -> None:
    """Write each document's terms by counting sort, as places in `chosen`, ascending.

    Args:
        starts: (terms + 1,) where each term's postings begin.
        ordinals: (postings,) documents.
        chosen: the terms that count.
        ends: (documents,) where each document's terms begin; afterwards, where they end.
        out_terms: (postings of chosen terms,).
    """
    for number in range(len(chosen)):
        term = chosen[number]
        for posting in range(starts[term], starts[term + 1]):
            document = ordinals[posting]
            out_terms[ends[document]] = number
            ends[document] += 1


@kernel
def _nth(values: NDArray[np.int64], n: int) -> int:
    """The n-th smallest value, from 0: a histogram narrows the range, again and again; ties cost nothing."""
    low, high = values.min(), values.max()
    while low < high:
        width = (high - low) // _CELLS + 1
        counts = np.zeros(_CELLS, dtype=np.int64)
        for value in values:
            if low <= value <= high:
                counts[(value - low) // width] += 1
        cell = 0
        while n >= counts[cell]:
            n -= counts[cell]
            cell += 1
        low += cell * width
        high = min(high, low + width - 1)
    return int(low)


@kernel
def _add(run: Run, document: int, step: int, counts: NDArray[np.int32]) -> None:
    """Count one document's terms in, or out."""
    begin = run.begins[document]
    for term in run.terms[begin : begin + run.lengths[document]]:
        counts[term] += step


@kernel
def _weigh(run: Run, gains: NDArray[np.int16], biases: NDArray[np.int64]) -> None:
    """Write every document's bias."""
    for document in range(len(run.documents)):
        begin = run.begins[document]
        bias = np.int64(0)
        for term in run.terms[begin : begin + run.lengths[document]]:
            bias += gains[term]
        biases[document] = bias


@kernel
def _divide(
    run: Run, biases: NDArray[np.int64], middle: int, on_right: NDArray[np.bool_], left: NDArray[np.int32]
) -> int:
    """Send the `middle` documents of least bias, of equals the first, to the left; how many have changed sides."""
    pivot = _nth(biases, middle - 1)
    equals = middle
    for bias in biases:
        equals -= bias < pivot
    moved = 0
    for document in range(len(biases)):
        goes_right = biases[document] > pivot
        if biases[document] == pivot:
            goes_right = equals <= 0
            equals -= 1
        if goes_right != on_right[document]:
            on_right[document] = goes_right
            _add(run, document, -1 if goes_right else 1, left)
            moved += 1
    return moved


@kernel
def _renumber(counts: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """A half's own number for each term, -1 for one that it does without; how many it has."""
    numbers = np.full(len(counts), -1, dtype=np.int32)
    n_terms = 0
    for term in range(len(counts)):
        if counts[term] >= _LEAST_DOCUMENTS:
            numbers[term] = n_terms
            n_terms += 1
    return numbers, n_terms


@kernel
def _write_half(run: Run, chosen: NDArray[np.bool_], numbers: NDArray[np.int32], place: int, out: Run, to: int) -> int:
    """Write the chosen documents from `to` on, their terms from `place` on; where the terms end."""
    for document in range(len(chosen)):
        if chosen[document]:
            out.documents[to] = run.documents[document]
            out.begins[to] = place
            begin = run.begins[document]
            for term in run.terms[begin : begin + run.lengths[document]]:
                if numbers[term] >= 0:
                    out.terms[place] = numbers[term]
                    place += 1
            out.lengths[to] = place - out.begins[to]
            to += 1
    return place


@kernel
def bisect(run: Run, n_terms: int, middle: int, logs: NDArray[np.int16], rounds: int, out: Run) -> tuple[int, int]:
    """Write the same documents so that the first `middle` and the others share few terms; the terms of either half.

    Within a half documents keep their order, so the result is stable: equal documents never pass one another. Each
    half numbers its terms anew, and leaves out those that only one of its documents holds.

    Args:
        run: n documents.
        n_terms: their terms are numbered below it.
        middle: documents of the left half, at least 1 and less than n.
        logs: (n + 1 or more,) `logs[i]` is log2(i + 1) in some unit, no more than 16,000.
        rounds: how often documents change sides at most.
        out: (n,) likewise; its terms go where the run's stand in `run.terms`.
    """
    n = len(run.documents)
    left = np.zeros(n_terms, dtype=np.int32)
    total = np.zeros(n_terms, dtype=np.int32)
    for document in range(n):
        _add(run, document, 1, left if document < middle else total)
    total += left
    on_right = np.arange(n) >= middle
    gains = np.empty(n_terms, dtype=np.int16)
    biases = np.empty(n, dtype=np.int64)
    # Where the halves differ in size, long documents would else lean to the larger.
    tilt = logs[middle] - logs[n - middle]
    for _ in range(rounds):
        for term in range(n_terms):
            gains[term] = logs[total[term] - left[term]] - logs[left[term]] + tilt
        _weigh(run, gains, biases)
        if _divide(run, biases, middle, on_right, left) * _FEW <= n:
            break
    numbers, n_left = _renumber(left)
    place = _write_half(run, ~on_right, numbers, run.begins[0], out, 0)
    numbers, n_right = _renumber(total - left)
    _write_half(run, on_right, numbers, place, out, middle)
    return n_left, n_right

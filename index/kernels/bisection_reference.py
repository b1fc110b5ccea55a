"""Graph bisection in plain NumPy: what the kernels in `bisection.py` are held to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.bisection import Run

__all__ = ["bisect", "count_terms", "invert"]


def count_terms(
    starts: NDArray[np.int64], ordinals: NDArray[np.int32], chosen: NDArray[np.int64], lengths: NDArray[np.int32]
) -> None:
    """The same as the kernel of this name, in plain NumPy."""
    for term in chosen:
        np.add.at(lengths, ordinals[starts[term] : starts[term + 1]], 1)


def invert(
    starts: NDArray[np.int64],
    ordinals: NDArray[np.int32],
    chosen: NDArray[np.int64],
    ends: NDArray[np.int64],
    out_terms: NDArray[np.unsignedinteger[Any]],
) -> None:
    """The same as the kernel of this name, in plain NumPy."""
    for number, term in enumerate(chosen):
        documents = ordinals[starts[term] : starts[term + 1]]
        out_terms[ends[documents]] = number
        ends[documents] += 1


def bisect(run: Run, n_terms: int, middle: int, logs: NDArray[np.int16], rounds: int, out: Run) -> tuple[int, int]:
    """The same as the kernel of this name, in plain NumPy."""
    n = len(run.documents)
    documents = np.repeat(np.arange(n), run.lengths)
    texts = [run.terms[begin : begin + length] for begin, length in zip(run.begins, run.lengths, strict=True)]
    terms = np.concatenate(texts)
    total = np.bincount(terms, minlength=n_terms)
    wide = logs.astype(np.int64)
    on_right = np.arange(n) >= middle
    for _ in range(rounds):
        left = np.bincount(terms[~on_right[documents]], minlength=n_terms)
        gains = wide[total - left] - wide[left] + wide[middle] - wide[n - middle]
        biases = np.zeros(n, dtype=np.int64)
        np.add.at(biases, documents, gains[terms])
        before, on_right = on_right, np.ones(n, dtype=bool)
        on_right[np.argsort(biases, kind="stable")[:middle]] = False
        if np.count_nonzero(before != on_right) * 256 <= n:
            break
    place, found = run.begins[0], []
    for rows, to in ((np.flatnonzero(~on_right), 0), (np.flatnonzero(on_right), middle)):
        own = [texts[row] for row in rows]
        kept = np.flatnonzero(np.bincount(np.concatenate(own), minlength=n_terms) >= 2)
        for row, held in zip(rows, own, strict=True):
            numbers = np.searchsorted(kept, held[np.isin(held, kept)])
            out.documents[to], out.begins[to], out.lengths[to] = run.documents[row], place, len(numbers)
            out.terms[place : place + len(numbers)] = numbers
            place, to = place + len(numbers), to + 1
        found.append(len(kept))
    return found[0], found[1]

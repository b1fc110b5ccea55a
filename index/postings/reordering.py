"""An order of documents in which similar ones are neighbours, so that blocks of postings can be skipped.

Recursive graph bisection; `retrieval.index.kernels.bisection` has the method and its sources. All runs of one level are
split before those of the next, so nothing recurses, and the terms of a run stand together.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.index.kernels.layout import BUCKETS, WINDOW

if TYPE_CHECKING:
    from retrieval.index.kernels.bisection import Run

__all__ = ["reorder"]

# Documents of a bucket and of a window of the search: runs are cut where these end, so that none straddles two runs.
_BUCKET = WINDOW // BUCKETS
# More of them empty hardly any more blocks.
_ROUNDS = 12
# Units of a bit of gain: exact enough, and 31 bits stay within an int16 with their sign.
_UNITS = 512


@dataclass(frozen=True)
class _Part:
    """The documents at places first to stop, whose terms are numbered below n_terms."""

    first: int
    stop: int
    n_terms: int

    def split(self, leaf: int) -> int:
        """How many go to the left half: a multiple of a window, or of a leaf."""
        size = self.stop - self.first
        unit = WINDOW if size > WINDOW else leaf
        units = -(-size // unit)
        return (units + 1) // 2 * unit


def reorder(
    starts: NDArray[np.int64],
    ordinals: NDArray[np.int32],
    n_documents: int,
    *,
    leaf: int = _BUCKET,
    threads: int = 1,
) -> NDArray[np.int32]:
    """The document that stands at each place of the new order: `order[i]` is the ordinal of what comes i-th.

    A permutation, the same for the same postings whatever the threads. Equal documents stay in the order that they
    were in. Documents without terms come last; before them, in their order, those that have only rare or very
    frequent terms, which do not count: terms of fewer than one document in each `leaf`, or of more than half of all.

    Args:
        starts: (terms + 1,) int64, where each term's postings begin.
        ordinals: (postings,) int32, below n_documents, no document twice in a term.
        n_documents: how many there are.
        leaf: this many documents or fewer keep their order among themselves.
        threads: how many split runs at once.

    Raises:
        InputError: the arrays are not postings of so many documents.
    """
    _check(starts, ordinals, n_documents, leaf)
    run, n_terms, others = _forward(starts, ordinals, n_documents, leaf)
    logs = np.rint(np.log2(np.arange(1, n_documents + 2)) * _UNITS).astype(np.int16)
    return np.concatenate([_bisect_all(run, n_terms, leaf, logs, threads), others])


def _check(starts: NDArray[np.int64], ordinals: NDArray[np.int32], n_documents: int, leaf: int) -> None:
    """The kernels write where ordinals say, so they must be right."""
    if leaf < 1:
        raise InputError(f"leaf is {leaf}, must be at least 1")
    if len(starts) == 0 or starts[0] != 0 or starts[-1] != len(ordinals) or np.any(np.diff(starts) < 0):
        raise InputError("starts must ascend from 0 to the number of postings")
    if len(ordinals) and not 0 <= ordinals.min() <= ordinals.max() < n_documents:
        raise InputError(f"an ordinal is not within 0 and {n_documents - 1}")


def _forward(
    starts: NDArray[np.int64], ordinals: NDArray[np.int32], n_documents: int, leaf: int
) -> tuple["Run", int, NDArray[np.int32]]:
    """The documents that terms can place, with these terms; how many terms; the others, empty ones last."""
    from retrieval.index.kernels.bisection import Run, count_terms, invert

    df = np.diff(starts)
    counting = (df >= max(2, n_documents // leaf)) & (df <= n_documents // 2)
    terms = np.flatnonzero(counting)
    # Frequent ones have low numbers, so that most look-ups are near one another.
    terms = terms[np.argsort(-df[terms], kind="stable")]
    lengths = np.zeros(n_documents, dtype=np.int32)
    count_terms(starts, ordinals, terms, lengths)
    begins = np.cumsum(lengths, dtype=np.int64) - lengths
    kind: type[np.unsignedinteger[Any]] = np.uint16 if len(terms) <= 1 << 16 else np.uint32
    out = np.empty(int(lengths.sum(dtype=np.int64)), dtype=kind)
    invert(starts, ordinals, terms, begins, out)
    placed = np.flatnonzero(lengths).astype(np.int32)
    run = Run(placed, begins[placed] - lengths[placed], lengths[placed], out)
    others = np.flatnonzero(lengths == 0).astype(np.int32)
    count_terms(starts, ordinals, np.flatnonzero(~counting), lengths)
    empty = lengths[others] == 0
    return run, len(terms), np.concatenate([others[~empty], others[empty]])


def _bisect_all(run: "Run", n_terms: int, leaf: int, logs: NDArray[np.int16], threads: int) -> NDArray[np.int32]:
    """The documents of a run, split level by level until leaves are left."""
    order = run.documents.copy()
    source, target = run, type(run)(*(np.empty_like(array) for array in run))
    parts = [_Part(0, len(order), n_terms)] if len(order) > leaf else []
    with ThreadPoolExecutor(threads) as pool:
        while parts:
            halves = _bisect_level(pool, parts, source, leaf, logs, target)
            for part in parts:
                order[part.first : part.stop] = target.documents[part.first : part.stop]
            parts = [half for half in halves if half.stop - half.first > leaf]
            source, target = target, source
    return order


def _bisect_level(
    pool: ThreadPoolExecutor, parts: list[_Part], source: "Run", leaf: int, logs: NDArray[np.int16], target: "Run"
) -> list[_Part]:
    """Split every part, from one set of arrays into the other, and give the halves."""
    from retrieval.index.kernels.bisection import bisect

    def halves(part: _Part) -> tuple[_Part, _Part]:
        middle = part.split(leaf)
        cut = part.first + middle
        n_left, n_right = bisect(_part(source, part), part.n_terms, middle, logs, _ROUNDS, _part(target, part))
        return _Part(part.first, cut, n_left), _Part(cut, part.stop, n_right)

    return list(chain.from_iterable(pool.map(halves, parts)))


def _part(run: "Run", part: _Part) -> "Run":
    """The arrays of a part, without a copy."""
    place = slice(part.first, part.stop)
    return run._replace(documents=run.documents[place], begins=run.begins[place], lengths=run.lengths[place])

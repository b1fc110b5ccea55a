"""Parameters of the approximate search, tuned to a recall on queries held out for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import thread_time

import numpy as np

from retrieval.errors import InputError
from retrieval.index.kernels.block_layout import Pruning, Rows
from retrieval.index.recall import Scores, goal_of, recall_of
from retrieval.index.sparse.queries import TermQueries

__all__ = ["DEPTHS", "SHARES", "Tuned", "queries_from_rows", "tune"]

SHARES = (0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.06, 0.03, 0.0)
DEPTHS = (1, 2, 4, 7, 10, 14, 20, 28, 40, 70, 100, 200, 400)
"""Documents scored, in multiples of k."""

FILL, PATIENCE = 0.3, 0.85

QUERIES, QUERY_TERMS, STRONGEST = 256, 25, 75
"""Queries made of documents: how many, and how many terms each has, drawn from so many of the document's strongest."""

_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What was found.

    Attributes:
        pruning: for `search_blocks`.
        recall: reached on the queries.
        reached: whether that is what was asked for, with the margin.
        seconds: of a query, on one thread.
    """

    pruning: Pruning
    recall: float
    reached: bool
    seconds: float


def queries_from_rows(rows: Rows, n: int = QUERIES, seed: int = 0) -> TermQueries:
    """Queries made of n documents drawn at random: some of a document's strongest terms, with their weights.

    A model gives a query a tenth of a document's terms, of those that it would also give a document on the matter, and
    not only the strongest; queries of the strongest alone are easier than real ones, as they find their own document.
    On SPLADE-v3 vectors of NFCorpus, these are a little harder than its queries.
    """
    rng = np.random.default_rng(seed)
    filled = np.flatnonzero(np.diff(rows.offsets) > 0)
    chosen = np.sort(rng.choice(filled, min(n, len(filled)), replace=False))
    terms, weights = [], []
    for row in chosen:
        first, stop = rows.offsets[row], rows.offsets[row + 1]
        strongest = np.argsort(-rows.weights[first:stop].astype(np.float64), kind="stable")[:STRONGEST]
        kept = np.sort(rng.choice(strongest, min(QUERY_TERMS, len(strongest)), replace=False))
        terms.append(rows.terms[first:stop][kept].astype(np.int64))
        weights.append(rows.weights[first:stop][kept].astype(np.float32))
    return TermQueries(
        terms=np.concatenate([np.empty(0, np.int64), *terms]),
        weights=np.concatenate([np.empty(0, np.float32), *weights]),
        offsets=np.cumsum([0, *map(len, terms)]).astype(np.int64),
    )


def tune(
    search: Callable[[TermQueries, Pruning, int], Scores],
    exact: Callable[[TermQueries, int], Scores],
    queries: TermQueries,
    recall: float,
    k: int = 10,
    *,
    margin: float = 0.25,
    clock: Callable[[], float] = thread_time,
    shares: Sequence[float] = SHARES,
    depths: Sequence[int] = DEPTHS,
) -> Tuned:
    """The fastest parameters with which a search reaches a recall at k.

    Of each share the least depth that suffices is found by bisection, since recall grows with depth; the fastest of
    these is taken. If none suffices, it is the one with the highest recall.

    Args:
        search: scores of queries with parameters, of the best k.
        exact: scores of the exact search.
        queries: at least one; other queries have a recall of their own, so give those most like what will be asked.
        recall: 0 to 1.
        k: hits.
        margin: part of the misses that are allowed which is kept in reserve for other queries.
        clock: seconds, of which the difference is taken.
        shares: tried, see `Pruning`.
        depths: tried, in multiples of k, ascending.

    Raises:
        InputError: for no queries, or a recall that is none.
    """
    if not len(queries) or not 0 <= recall <= 1:
        raise InputError(f"tuning takes queries and a recall from 0 to 1, got {len(queries)} and {recall}")
    goal = goal_of(recall, margin)
    truth = exact(queries, k)
    tried: list[Tuned] = []

    def attempt(share: float, depth: int) -> bool:
        pruning = Pruning(share, FILL, depth * k, PATIENCE)
        reached = recall_of(search(queries, pruning, k), truth)
        seconds = min(_seconds(lambda: search(queries, pruning, k), clock) for _ in range(_ROUNDS)) / len(queries)
        tried.append(Tuned(pruning=pruning, recall=reached, reached=reached >= goal, seconds=seconds))
        return reached >= goal

    for share in shares:
        low, high = 0, len(depths) - 1
        if not attempt(share, depths[high]):
            continue
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if attempt(share, depths[middle]) else (middle + 1, high)
        if _beaten(tried):
            break
    enough = [one for one in tried if one.reached]
    return (
        min(enough, key=lambda one: one.seconds) if enough else max(tried, key=lambda one: (one.recall, -one.seconds))
    )


def _beaten(tried: Sequence[Tuned]) -> bool:
    """Whether what suffices with the last share is much slower than with another: smaller shares are slower still."""
    enough = [one for one in tried if one.reached]
    last = [one.seconds for one in enough if one.pruning.share == enough[-1].pruning.share]
    return min(last) > 1.5 * min(one.seconds for one in enough)


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    began = clock()
    work()
    return clock() - began

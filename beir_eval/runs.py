"""Runs: what a system answered to each query, and TREC's file format for it."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.types import Hits, Query

__all__ = ["Run", "format_run", "make_run", "strictly_decreasing"]

Run = Mapping[str, Mapping[str, float]]
"""Query id → document id → score, best first; no two scores of a query are equal."""


def make_run(
    queries: Sequence[Query],
    hits: Hits,
    ids: Callable[[NDArray[np.int64]], list[str]],
    *,
    k: int,
    without_own: bool = False,
) -> Run:
    """The first k hits of each query by external id.

    Scores are made strictly decreasing: evaluation tools sort by score and break ties each in a way of its own.

    Args:
        queries: one for each row of `hits`.
        hits: of each query; at least k + 1 where so many match and `without_own` is set.
        ids: external ids of ordinals.
        k: how many hits to keep.
        without_own: leave out a document whose id is the query's own.

    """
    run: dict[str, Mapping[str, float]] = {}
    for query, (ordinals, scores) in zip(queries, hits.rows(), strict=True):
        pairs = zip(ids(ordinals), strictly_decreasing(scores).tolist(), strict=True)
        kept = [(document, score) for document, score in pairs if not (without_own and document == query.id)]
        run[query.id] = dict(kept[:k])
    return run


def strictly_decreasing(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores, (n,) and not increasing, each lowered to the next float32 below the one before where they tie."""
    if np.all(scores[1:] < scores[:-1]):
        return scores
    lowered = scores.copy()
    for i in range(1, len(lowered)):
        if lowered[i] >= lowered[i - 1]:
            lowered[i] = np.nextafter(lowered[i - 1], np.float32(-np.inf))
    return lowered


def format_run(run: Run, tag: str) -> str:
    """`query Q0 document rank score tag` lines; an id with white space cannot stand among them."""
    return "".join(
        f"{_word(query)} Q0 {_word(document)} {rank} {np.float32(score)} {_word(tag)}\n"
        for query, scores in run.items()
        for rank, (document, score) in enumerate(scores.items(), 1)
    )


def _word(text: str) -> str:
    if not text or text.split() != [text]:
        raise InputError(f"a TREC run cannot hold {text!r}: its fields are separated by white space")
    return text

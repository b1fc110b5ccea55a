"""Runs: what a system answered to each query, and TREC's file format for it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import CollectionError, InputError
from retrieval.types import Hits, Query

__all__ = ["Run", "Ties", "format_run", "is_word", "make_run", "strictly_decreasing"]

Run = Mapping[str, Mapping[str, float]]
"""Query id → document id → score, best first; no two scores of a query are equal."""

Ties = Literal["descending", "ascending"]
"""How documents with equal scores are ordered, by their ids: as trec_eval does, or as Anserini writes its runs."""


def make_run(
    queries: Sequence[Query],
    hits: Hits,
    ids: Callable[[NDArray[np.int64]], list[str]],
    *,
    k: int,
    without_own: bool = False,
    ties: Ties = "descending",
) -> Run:
    """The first k hits of each query by external id, ties in the order of ids that is asked for.

    The order in which documents were indexed decides only which of those that tie at the cut are there. Scores are
    then made strictly decreasing, so that tools with another rule agree as well.

    Args:
        queries: one for each row of `hits`.
        hits: of each query; at least k + 1 where so many match and `without_own` is set.
        ids: external ids of ordinals.
        k: how many hits to keep.
        without_own: leave out a document whose id is the query's own.
        ties: the order of documents with equal scores.
    """
    run: dict[str, Mapping[str, float]] = {}
    for query, (ordinals, scores) in zip(queries, hits.rows(), strict=True):
        pairs = sorted(zip(scores.tolist(), ids(ordinals), strict=True), reverse=True)
        if ties == "ascending":
            pairs.sort(key=lambda pair: (-pair[0], pair[1]))
        kept = [(score, id_) for score, id_ in pairs if not (without_own and id_ == query.id)][:k]
        lowered = strictly_decreasing(np.array([score for score, _ in kept], dtype=np.float32))
        run[query.id] = {id_: score for (_, id_), score in zip(kept, lowered.tolist(), strict=True)}
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
    if not is_word(tag):
        raise InputError(f"the tag of a TREC run must be one word; got {tag!r}")
    return "".join(
        f"{_word(query)} Q0 {_word(document)} {rank} {np.float32(score)!s} {tag}\n"
        for query, scores in run.items()
        for rank, (document, score) in enumerate(scores.items(), 1)
    )


def is_word(text: str) -> bool:
    """Whether a text can stand in a TREC run, whose fields are separated by white space."""
    return text.split() == [text]


def _word(id_: str) -> str:
    if not is_word(id_):
        raise CollectionError(
            f"a TREC run cannot hold the id {id_!r}: its fields are separated by white space",
            hint="rename it, or have the answers as JSONL",
        )
    return id_

"""Runs: what a system answered to each query, and TREC's file format for it."""

from collections.abc import Callable, Container, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import CollectionError, InputError
from retrieval.types import Hits, Query

__all__ = ["Run", "Ties", "format_run", "is_word", "make_run", "ranked", "read_run", "strictly_decreasing"]

Run = Mapping[str, Mapping[str, float]]
"""Query id → document id → score, best first; no two scores of a query are equal."""

# As trec_eval reads scores; NaN is not below it either.
_LARGEST = float(np.finfo(np.float32).max)

Ties = Literal["descending", "ascending", "listed"]
"""How documents with equal scores are ordered: by their ids, descending as trec_eval does or ascending as Anserini
writes its runs; or as they are listed."""


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
    return {
        query.id: ranked(
            dict(zip(ids(ordinals), scores.tolist(), strict=True)),
            k=k,
            without=query.id if without_own else None,
            ties=ties,
        )
        for query, (ordinals, scores) in zip(queries, hits.rows(), strict=True)
    }


def ranked(
    hits: Mapping[str, float], *, k: int, without: str | None = None, ties: Ties = "descending"
) -> Mapping[str, float]:
    """One query's list as a run holds it: its first k documents by float32 scores, which no two share.

    Args:
        hits: document id → score, in any order; ties may stay in it.
        k: how many to keep.
        without: a document that is left out.
        ties: the order of documents with equal scores.
    """
    kept = hits if without is None else {id_: score for id_, score in hits.items() if id_ != without}
    scores = np.fromiter(kept.values(), dtype=np.float32, count=len(kept))
    if not np.all(scores[1:] < scores[:-1]):
        pairs = list(zip(scores.tolist(), kept, strict=True))
        if ties != "listed":
            pairs.sort(key=lambda pair: pair[1], reverse=ties == "descending")
        pairs.sort(key=lambda pair: -pair[0])
        kept = {id_: score for score, id_ in pairs}
        scores = np.fromiter(kept.values(), dtype=np.float32, count=len(kept))
    return dict(zip(islice(kept, k), strictly_decreasing(scores[:k]).tolist(), strict=True))


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


def read_run(path: Path, queries: Container[str] | None = None) -> dict[str, dict[str, float]]:
    """Query id → document id → score, best first, of lines `query Q0 document rank score tag`.

    Ranks are not read. Ties stay in the order of the file, whatever a measure makes of them: see `ranked`. Only the
    lists of `queries` are kept, where they are given.

    Raises:
        CollectionError: the file is not there, or a line is not of that form, gives a document twice, or a score that
            is not a finite number of float32; it names the line.
    """
    run: dict[str, dict[str, float]] = {}
    try:
        with path.open(encoding="utf-8-sig") as file:
            for position, line in enumerate(file, 1):
                try:
                    query, _, document, _, score, _ = line.split()
                    value = float(score)
                except ValueError:
                    if line.split():
                        raise _bad_line(path, position, line.split()) from None
                    continue
                if queries is not None and query not in queries:
                    continue
                hits = run.setdefault(query, {})
                if document in hits or not abs(value) <= _LARGEST:
                    raise _bad_hit(f"{path}:{position}", query, document, value)
                hits[document] = value
    except (OSError, UnicodeDecodeError) as error:
        raise CollectionError(f"{path}: cannot be read as a TREC run ({error})") from error
    return {query: _best_first(hits) for query, hits in run.items()}


def _best_first(hits: dict[str, float]) -> dict[str, float]:
    scores = np.fromiter(hits.values(), dtype=np.float64, count=len(hits))
    # Most files are in order, and looking costs little beside sorting.
    if np.all(scores[1:] <= scores[:-1]):
        return hits
    return dict(sorted(hits.items(), key=lambda hit: -hit[1]))


def _bad_line(path: Path, position: int, fields: list[str]) -> CollectionError:
    return CollectionError(f"{path}:{position}: expected query, Q0, document, rank, score and tag; got {fields}")


def _bad_hit(place: str, query: str, document: str, score: float) -> CollectionError:
    if not abs(score) <= _LARGEST:
        return CollectionError(f"{place}: the score {score} of document {document} is not a finite number of float32")
    return CollectionError(f"{place}: document {document} stands in the list of query {query} already")


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

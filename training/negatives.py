"""Hard negatives and a teacher's scores, out of TREC runs of whatever system wrote them."""

import math
from collections.abc import Sequence
from pathlib import Path

from retrieval.errors import CollectionError

__all__ = ["Teacher", "hardest", "read_run"]


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Query id → document id → score, best first, of lines `query Q0 document rank score tag`.

    Ties stay in the order of the file.

    Raises:
        CollectionError: the file is not there, or a line is not of that form or gives a document twice.
    """
    run: dict[str, dict[str, float]] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for position, line in enumerate(file, 1):
                if line.strip():
                    _add(run, line.split(), f"{path}:{position}")
    except (OSError, UnicodeDecodeError) as error:
        raise CollectionError(f"{path}: cannot be read as a TREC run ({error})") from error
    return {query: dict(sorted(hits.items(), key=lambda hit: -hit[1])) for query, hits in run.items()}


def _add(run: dict[str, dict[str, float]], fields: list[str], place: str) -> None:
    try:
        query, _, document, _, score, _ = fields
        value = float(score)
    except ValueError:
        raise CollectionError(f"{place}: expected query, Q0, document, rank, score and tag; got {fields}") from None
    hits = run.setdefault(query, {})
    if document in hits:
        raise CollectionError(f"{place}: document {document} stands in the list of query {query} already")
    if not math.isfinite(value):
        raise CollectionError(f"{place}: the score {score} is not a number to learn from")
    hits[document] = value


def hardest(path: Path, depth: int) -> dict[str, list[str]]:
    """The first `depth` documents of each query of a run."""
    return {query: list(hits)[:depth] for query, hits in read_run(path).items()}


class Teacher:
    """Runs whose scores teach: each list rescaled to 0..1, and the mean of all runs taken.

    A document that a run's list lacks gets 0 from it, as its last one does; so lists should be much deeper than the
    negatives that are drawn.
    """

    def __init__(self, runs: Sequence[Path]) -> None:
        self._runs = [read_run(path) for path in runs]

    def scores(self, query: str) -> dict[str, float]:
        """Document id → score in 0..1, of every document in a list of the query."""
        total: dict[str, float] = {}
        for run in self._runs:
            for document, score in _rescaled(run.get(query, {})).items():
                total[document] = total.get(document, 0.0) + score / len(self._runs)
        return total


def _rescaled(hits: dict[str, float]) -> dict[str, float]:
    if not hits:
        return {}
    lowest, highest = min(hits.values()), max(hits.values())
    if highest == lowest:
        return dict.fromkeys(hits, 1.0)
    return {document: (score - lowest) / (highest - lowest) for document, score in hits.items()}

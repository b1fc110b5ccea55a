"""Hard negatives and a teacher's scores, out of TREC runs of whatever system wrote them, or mined files.

A mined file is JSONL, one line for each query, as `retrieval mine` writes it:

    {"query_id": "12", "negatives": [{"id": "d7", "source": "dense", "rank": 3, "score": 0.71, "weight": 1.0}, ...],
     "positives": [{"id": "d9", "source": "dense", "score": 0.97, "weight": 1.0}]}

`positives` are unjudged documents that a cross-encoder takes for relevant; that list may be absent, and so may every
field of an item but its id.
"""

import codecs
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from retrieval.beir_eval.runs import read_run
from retrieval.errors import CollectionError

__all__ = ["Mined", "MinedLists", "Teacher", "read_mined", "read_negatives"]


@dataclass(frozen=True, slots=True)
class Mined:
    """A document that was mined for a query.

    Attributes:
        id: the document's.
        weight: how much it counts in training, at least 0.
        source: what found it; `judged` if people said that it is not relevant.
        rank: its place in that source's list, from 1; 0 where nothing is said of it.
        score: of that source; of a pseudo-positive the cross-encoder's probability. None where nothing is said of it.
    """

    id: str
    weight: float = 1.0
    source: str = ""
    rank: int = 0
    score: float | None = None


@dataclass(frozen=True, slots=True)
class MinedLists:
    """What was mined for one query."""

    negatives: list[Mined]
    positives: list[Mined]


def read_negatives(path: Path, depth: int) -> dict[str, MinedLists]:
    """The first `depth` negatives of each query, of a mined file (`.jsonl`) or, under any other name, a TREC run.

    A mined file's pseudo-positives come with them.

    Raises:
        CollectionError: the file cannot be read, or a line of it; it names the line.
    """
    if path.suffix == ".jsonl":
        return {
            query: MinedLists(lists.negatives[:depth], lists.positives) for query, lists in read_mined(path).items()
        }
    return {query: MinedLists(_first(hits, depth, path.stem), []) for query, hits in read_run(path).items()}


def _first(hits: Mapping[str, float], depth: int, source: str) -> list[Mined]:
    ranked = list(hits.items())[:depth]
    return [Mined(id_, source=source, rank=rank, score=score) for rank, (id_, score) in enumerate(ranked, 1)]


def read_mined(path: Path) -> dict[str, MinedLists]:
    """What a mined file holds for each query, in the order of the file.

    Raises:
        CollectionError: the file cannot be read, a line is not of that form, or a query stands there twice.
    """
    mined: dict[str, MinedLists] = {}
    try:
        with path.open("rb") as file:
            for position, line in enumerate(file, 1):
                if line.strip():
                    _add_mined(mined, line.removeprefix(codecs.BOM_UTF8), f"{path}:{position}")
    except OSError as error:
        raise CollectionError(f"{path}: cannot be read ({error})") from error
    return mined


def _add_mined(mined: dict[str, MinedLists], line: bytes, place: str) -> None:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CollectionError(f"{place}: not JSON ({error})") from None
    query = fields.get("query_id") if isinstance(fields, dict) else None
    if not isinstance(query, str) or not query:
        raise CollectionError(f"{place}: expected an object with the query's id under 'query_id'")
    if query in mined:
        raise CollectionError(f"{place}: query {query} stands in the file already")
    lists = MinedLists(*(_items(fields.get(name, []), name, place) for name in ("negatives", "positives")))
    if both := {item.id for item in lists.negatives} & {item.id for item in lists.positives}:
        raise CollectionError(f"{place}: document {min(both)} is a negative and a positive")
    mined[query] = lists


def _items(items: object, name: str, place: str) -> list[Mined]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise CollectionError(f"{place}: {name} must be a list of objects")
    read = [_item(item, f"{place}: {name}[{number}]") for number, item in enumerate(items)]
    if len({item.id for item in read}) < len(read):
        raise CollectionError(f"{place}: a document stands in {name} twice")
    return read


def _item(fields: Mapping[str, Any], place: str) -> Mined:
    found = Mined(**{"id": None, **{name: fields[name] for name in Mined.__slots__ if name in fields}})
    if not isinstance(found.id, str) or not found.id:
        raise CollectionError(f"{place}: no id: expected a string under 'id'")
    if not _is_number(found.weight) or found.weight < 0:
        raise CollectionError(f"{place}: the weight must be a number of at least 0; got {found.weight!r}")
    if not isinstance(found.source, str) or not isinstance(found.rank, int) or isinstance(found.rank, bool):
        raise CollectionError(f"{place}: the source must be a string, and the rank a whole number")
    if found.score is not None and not _is_number(found.score):
        raise CollectionError(f"{place}: the score must be a number; got {found.score!r}")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Teacher:
    """Runs whose scores teach: each list rescaled to 0..1, and the mean of all runs taken.

    A document that a run's list lacks gets 0 from it, as its last one does; so lists should be much deeper than the
    negatives that are drawn. A run without any hit of a query says nothing of it: each collection may have its own.
    """

    def __init__(self, runs: Sequence[Path]) -> None:
        self._runs = [read_run(path) for path in runs]

    def scores(self, query: str) -> dict[str, float]:
        """Document id → score in 0..1, of every document in a list of the query."""
        lists = [_rescaled(run[query]) for run in self._runs if run.get(query)]
        total: dict[str, float] = {}
        for scores in lists:
            for document, score in scores.items():
                total[document] = total.get(document, 0.0) + score / len(lists)
        return total


def _rescaled(hits: dict[str, float]) -> dict[str, float]:
    lowest, highest = min(hits.values()), max(hits.values())
    if highest == lowest:
        return dict.fromkeys(hits, 1.0)
    return {document: (score - lowest) / (highest - lowest) for document, score in hits.items()}

"""The query side alone, of a model whose documents stand in an index that stays as it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.beir_eval.runs import Run
from retrieval.encoders.neural.dual import DualEncoder
from retrieval.errors import InputError
from retrieval.protocols import Progress, silent
from retrieval.training.data import TrainingData
from retrieval.training.dev import DevSet
from retrieval.training.exact import encode_all
from retrieval.training.recipes.dense import DenseRecipe
from retrieval.training.recipes.dual import S

__all__ = ["FrozenIndex", "QuerySideRecipe", "frozen_evaluator"]


class FrozenIndex(Protocol):
    """An index of documents that stay as they are; they are named by their rows in the training data."""

    @property
    def fingerprint(self) -> str:
        """What tells it from another."""

    @property
    def dimensions(self) -> int:
        """Width of its vectors."""

    @property
    def encoder_digest(self) -> str | None:
        """Of the weights that made its vectors."""

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """(n, k) rows of the documents found, best first; -1 where there are fewer, or the data has no such row."""

    def has(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(m,) whether there are such documents."""

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m, d) of documents that are there and have a text."""


class QuerySideRecipe(DenseRecipe[S]):
    """Trains a query side of its own; the index of the documents stays valid.

    Raises:
        InputError: the index was not built with this model's document side, in all of its dimensions, or has no
            positive of any query.
    """

    def __init__(
        self,
        model: DualEncoder,
        data: TrainingData,
        settings: S,
        *,
        index: FrozenIndex,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        if index.encoder_digest not in (None, model.digest()):
            raise InputError(
                "the index was built with another model than the one to train",
                hint="build it with this one: retrieval index build ... --dense MODEL; or --restart without --index",
            )
        if index.dimensions != model.dimensions:
            raise InputError(
                f"the index has {index.dimensions} of the {model.dimensions} dimensions of the model's vectors",
                hint="build it without --dimensions",
            )
        super().__init__(model.with_query_side(), data, settings, folder=folder, progress=progress)
        self.origin["index"] = index.fingerprint
        self._index = index
        self._there = index.has(np.arange(len(data.texts)))
        self.data = _with_vectors(data, self._there)


def _with_vectors(data: TrainingData, there: NDArray[np.bool_]) -> TrainingData:
    """The data without positives that the index lacks."""
    kept = [(example, tuple(row for row in example.positives if there[row])) for example in data.examples]
    examples = [replace(example, positives=positives) for example, positives in kept if positives]
    if not examples:
        raise InputError("no positive of a training query has a vector in the index")
    return replace(data, examples=examples)


def frozen_evaluator(
    model: DualEncoder, data: TrainingData, index: FrozenIndex, sets: Sequence[DevSet], *, measure: str = "nDCG@10"
) -> Callable[[], float]:
    """The mean over dev sets of a measure, by searching the index with the query side as it then is.

    Documents of one text, which the data has one row for, are found together.

    Raises:
        InputError: the index has no document of a dev set.
    """
    there = index.has(np.arange(len(data.texts)))
    rows = {text: row for row, text in enumerate(data.texts) if there[row]}
    named = [_by_row(dev, rows) for dev in sets]
    for dev, ids in zip(sets, named, strict=True):
        if not ids:
            raise InputError(f"the index that is searched has no document of dev data {dev.name!r}")

    def run(dev: DevSet, ids: Mapping[int, Sequence[str]]) -> Run:
        texts = [query.text for query in dev.queries]
        vectors = encode_all(model, texts, "query", max_length=model.max_length("query"))
        lists = zip(dev.queries, index.search(vectors.numpy(), 100).tolist(), strict=True)
        return {query.id: _ranked([id_ for row in hits for id_ in ids.get(row, ())], query.id) for query, hits in lists}

    return lambda: sum(dev.score(run(dev, ids), measure) for dev, ids in zip(sets, named, strict=True)) / len(sets)


def _by_row(dev: DevSet, rows: Mapping[str, int]) -> dict[int, list[str]]:
    """The ids of a dev set's documents by the rows of their texts."""
    found: dict[int, list[str]] = {}
    for id_, text in dev.documents.items():
        if text in rows:
            found.setdefault(rows[text], []).append(id_)
    return found


def _ranked(ids: Sequence[str], query: str) -> dict[str, float]:
    """Scores that fall with the rank, without the document that is the query itself."""
    return {id_: -float(rank) for rank, id_ in enumerate(id_ for id_ in ids if id_ != query)}

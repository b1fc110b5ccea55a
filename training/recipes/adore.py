"""ADORE: the query side alone, against the negatives that the frozen index gives at this very step.

Source: Zhan et al., "Optimizing dense retrieval model training with hard negatives" (SIGIR 2021), section 4.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrieval.encoders.neural.dual import DualEncoder
from retrieval.errors import InputError
from retrieval.protocols import Progress, silent
from retrieval.training.data import Example, TrainingData
from retrieval.training.dev import DevSet
from retrieval.training.exact import encode_all
from retrieval.training.gathering import gathered, shares
from retrieval.training.losses.pairwise import lambda_rank
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dense import DenseRecipe, Step
from retrieval.training.settings import AdoreSettings

__all__ = ["AdoreRecipe", "FrozenIndex", "frozen_evaluator"]


class FrozenIndex(Protocol):
    """An index of documents that stay as they are; they are named by their rows in the training data."""

    @property
    def fingerprint(self) -> str:
        """What tells it from another."""

    @property
    def encoder_digest(self) -> str | None:
        """Of the weights that made its vectors."""

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """(n, k) rows of the documents found, best first; -1 where there are fewer, or the data has no such row."""

    def has(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(m,) whether there are such documents."""

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m, d) of documents that are there and have a text."""


class AdoreRecipe(DenseRecipe):
    """Trains a query side of its own on what a real search finds; the index stays valid.

    Raises:
        InputError: the index was not built with this model's document side, or has no positive of any query.
    """

    def __init__(
        self,
        model: DualEncoder,
        data: TrainingData,
        settings: AdoreSettings,
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
        super().__init__(model.with_query_side(), data, settings, folder=folder, progress=progress)
        self.origin["index"] = index.fingerprint
        self._index, self._adore = index, settings
        self.data = _with_vectors(data, index)

    def loss(self, batch: Step, step: int) -> StepLoss:
        """LambdaRank over what each query finds now; a positive that it does not find stands behind all of it."""
        examples = batch.batch.examples
        queries = self.encode([([example.query for example in examples], "query")], batch)[0]
        own = queries.detach()[shares(len(examples), batch.rank, batch.world)]
        searched = torch.from_numpy(self._index.search(own.cpu().numpy(), self._adore.depth))
        found = gathered(searched, len(examples), batch.rank, batch.world).numpy()
        rows, relevant = _with_positives(_judgeable(found, examples), [example.positives for example in examples])
        vectors = torch.zeros(*rows.shape, queries.shape[1])
        vectors[torch.from_numpy(rows >= 0)] = torch.from_numpy(self._index.vectors(rows[rows >= 0]))
        with torch.autocast(queries.device.type, enabled=False):
            scores = torch.einsum("bd,bnd->bn", queries, vectors.to(queries.device)) / self.temperature
            there = torch.from_numpy(rows >= 0).to(scores.device)
            total = lambda_rank(scores, relevant.to(scores.device), metric_cut=self._adore.metric_cut, present=there)
        return StepLoss(total, {"lambda_rank": total.item()}, _figures(relevant[:, : found.shape[1]], examples))


def _with_vectors(data: TrainingData, index: FrozenIndex) -> TrainingData:
    """The data without positives that the index lacks."""
    there = index.has(np.arange(len(data.texts)))
    kept = [(example, tuple(row for row in example.positives if there[row])) for example in data.examples]
    examples = [replace(example, positives=positives) for example, positives in kept if positives]
    if not examples:
        raise InputError("no positive of a training query has a vector in the index")
    return replace(data, examples=examples)


def _judgeable(found: NDArray[np.int64], examples: Sequence[Example]) -> NDArray[np.int64]:
    """What was found, with -1 for what is neither a positive nor a negative."""
    lists = zip(found, examples, strict=True)
    return np.stack([np.where(np.isin(hits, example.neither), -1, hits) for hits, example in lists])


def _with_positives(found: NDArray[np.int64], positives: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], Tensor]:
    """Rows (b, m) of what was found and, behind that, the positives that were not; and which are relevant."""
    missing = [
        [row for row in own if row not in set(hits)] for own, hits in zip(positives, found.tolist(), strict=True)
    ]
    rows = np.full((len(found), found.shape[1] + max(map(len, missing))), -1, dtype=np.int64)
    rows[:, : found.shape[1]] = found
    for place, own in enumerate(missing):
        rows[place, found.shape[1] : found.shape[1] + len(own)] = own
    relevant = [np.isin(one, own) for one, own in zip(rows, positives, strict=True)]
    return rows, torch.from_numpy(np.stack(relevant))


def _figures(relevant: Tensor, examples: Sequence[Example]) -> Mapping[str, float]:
    """How well the training queries search now."""
    first = torch.where(relevant.any(dim=1), 1 / (1 + relevant.int().argmax(dim=1)), 0.0)
    all_ = sum(len(example.positives) for example in examples)
    return {"RR": first.mean().item(), "recall": relevant.sum().item() / all_}


def frozen_evaluator(
    model: DualEncoder, data: TrainingData, index: FrozenIndex, sets: Sequence[DevSet], *, measure: str = "nDCG@10"
) -> Callable[[], float]:
    """The mean over dev sets of a measure, by searching the index with the query side as it then is.

    Raises:
        InputError: the index has no document of a dev set.
    """
    known = {data.ids[row] for row in np.flatnonzero(index.has(np.arange(len(data.ids))))}
    for dev in sets:
        if known.isdisjoint(dev.documents):
            raise InputError(f"the index that ADORE searches has no document of dev data {dev.name!r}")

    def evaluate() -> float:
        return sum(dev.score(_run(dev), measure) for dev in sets) / len(sets)

    def _run(dev: DevSet) -> dict[str, dict[str, float]]:
        texts = [query.text for query in dev.queries]
        vectors = encode_all(model, texts, "query", max_length=model.max_length("query"))
        found = index.search(vectors.numpy(), 100)
        run = {}
        for query, rows in zip(dev.queries, found.tolist(), strict=True):
            ids = [data.ids[row] for row in rows if row >= 0]
            kept = [id_ for id_ in ids if id_ in dev.documents and id_ != query.id]
            run[query.id] = {id_: -float(rank) for rank, id_ in enumerate(kept)}
        return run

    return evaluate

"""SPLADE's query side alone, against documents that stay as they are.

Documents are encoded once, and every step scores its queries against all of them: there is nothing to sample, hard
negatives are whatever the model of the moment ranks high, and a step costs no more than its queries. The index stays
valid. The idea is that of ADORE (Zhan et al., "Optimizing dense retrieval model training with hard negatives", SIGIR
2021); with learned-sparse vectors, InfoNCE and distillation it is a method of this project's own.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from retrieval.beir_eval.runs import Run
from retrieval.encoders.neural.splade import Splade
from retrieval.errors import InputError
from retrieval.protocols import Progress, silent
from retrieval.training.batches import Batch
from retrieval.training.data import Example, TrainingData
from retrieval.training.dev import DevSet, best_of
from retrieval.training.frozen import FrozenDocuments
from retrieval.training.losses.contrastive import contrastive
from retrieval.training.losses.distillation import kl_divergence
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.splade import SpladeRecipe, SpladeSettings, active_terms, shortened
from retrieval.training.warmstart import LexicalStart, lexical_start

__all__ = ["SpladeQueryRecipe", "frozen_evaluator", "with_query_side"]

# About as long as a query; with a title, most of that.
_OPENING_WORDS = 12


def with_query_side(model: Splade) -> Splade:
    """The model with a query side of its own, at first equal to the document side, which learns no more."""
    if model.query is None:
        model.query = copy.deepcopy(model.document)
    model.document.requires_grad_(False)
    return model


class SpladeQueryRecipe(SpladeRecipe):
    """SPLADE training of the query side, on every document at once.

    Args:
        model: with a query side of its own.
        data: rows of its texts are rows of the documents.
        documents: their vectors.
        settings: the method's; of the regularisers only those of queries count, and KL takes the teacher's whole list.
        warm_start: sets the head by what it makes of the training queries and of openings of documents.
        progress: told of texts that are read for that.

    Raises:
        InputError: a loss needs a teacher's scores, and the data has none.
    """

    def __init__(
        self,
        model: Splade,
        data: TrainingData,
        documents: FrozenDocuments,
        settings: SpladeSettings,
        *,
        warm_start: LexicalStart | None = None,
        progress: Progress = silent,
    ) -> None:
        super().__init__(model, data, settings, warm_start=warm_start, progress=progress)
        self._documents = documents
        self._frequencies = documents.document_frequencies()

    def begin(self) -> None:
        """Set the query side's head, if that is wanted."""
        if self._warm_start:
            openings = [" ".join(text.split()[:_OPENING_WORDS]) for text in self._data.texts]
            like = [example.query for example in self._data.examples] + [text for text in openings if text]
            lexical_start(
                self.model, self._data.texts, self._warm_start, side="query", like=like, progress=self._progress
            )

    def loss(self, batch: Batch, step: int) -> StepLoss:
        """All terms of a batch.

        Raises:
            TrainingError: queries have no active term left, or hardly any for many steps.
        """
        queries = self._encode([example.query for example in batch.examples], "query")
        active = active_terms(queries)
        self._check_active({"queries": active}, step)
        with torch.autocast(queries.device.type, enabled=False):
            scores = self._documents.scores(queries.cpu())
        parts = {**self._matches(scores, batch), **self._sparse(queries.cpu())}
        figures = {
            "query_nonzeros": active,
            "document_nonzeros": self._documents.nonzeros,
            "expected_flops": ((queries > 0).float().mean(dim=0).cpu() @ self._frequencies).item(),
        }
        return self._weighed(parts, figures, step)

    def _matches(self, scores: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What the scores (b, n) of all documents are to be."""
        s, parts = self._settings, dict[str, Tensor]()
        if s.contrastive:
            known = torch.zeros(scores.shape, dtype=torch.bool)
            for row, example in enumerate(batch.examples):
                known[row, [*example.positives, *example.neither]] = True
            targets = torch.tensor(batch.rows[: len(batch.examples)])
            parts["contrastive"] = contrastive(scores, targets, known, temperature=s.temperature)
        taught = [row for row, example in enumerate(batch.examples) if example.scores]
        if s.kl:
            teacher = _lists([batch.examples[row] for row in taught], scores.shape[1]) * s.teacher_scale
            parts["kl"] = kl_divergence(scores[taught] / s.temperature, teacher) if taught else scores.sum() * 0
        if s.margin_mse:
            parts["margin_mse"] = self._margins(batch.own(scores[:, list(batch.rows)]), batch.teacher)
        return parts


def _lists(examples: Sequence[Example], n: int) -> Tensor:
    """(b, n) the teacher's scores, -inf for a document that is in none of its lists."""
    teacher = torch.full((len(examples), n), -torch.inf)
    for row, example in enumerate(examples):
        teacher[row, list(example.scores)] = torch.tensor(list(example.scores.values()))
    return teacher


def frozen_evaluator(
    model: Splade, data: TrainingData, documents: FrozenDocuments, sets: Sequence[DevSet], *, measure: str = "nDCG@10"
) -> Callable[[], float]:
    """The mean over dev sets of a measure with the model as it then is.

    Raises:
        InputError: a dev set has documents that are not among the data's.
    """
    places = {text: row for row, text in enumerate(data.texts)}
    for dev in sets:
        if not places.keys() >= set(dev.documents.values()):
            raise InputError(f"dev data {dev.name!r} has documents that are not among those of the training data")

    def run(dev: DevSet) -> Run:
        features: Any = (shortened(model, [query.text], "query", model.max_length) for query in dev.queries)
        queries = torch.cat([model(each, "query").cpu() for each in features])
        ids = list(dev.documents)
        rows = [places[dev.documents[id_]] for id_ in ids]
        return best_of(dev, ids, documents.scores(queries)[:, rows])

    return lambda: sum(dev.score(run(dev), measure) for dev in sets) / len(sets)

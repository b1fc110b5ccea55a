"""A cross-encoder from judgements and hard negatives, or from a teacher.

L = softmax + margin-mse + kl, each with a weight, over the positive of a query and its own negatives.
Sources: for the softmax, which AR2 warms its ranker up with, Zhang et al., "Adversarial retriever-ranker for dense text
retrieval" (ICLR 2022), and Gao et al., "Rethink training of BERT rerankers in multi-stage retrieval pipeline" (ECIR
2021).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrieval.beir_eval.runs import Run
from retrieval.encoders.models import weights_digest
from retrieval.errors import CollectionError, InputError
from retrieval.rerank.cross_encoder import score_pairs
from retrieval.rerank.neural.cross_encoder import CrossEncoder
from retrieval.training.batches import Batch, Draw, draw
from retrieval.training.data import TrainingData
from retrieval.training.dev import DevSet
from retrieval.training.gathering import gathered, processes, shares
from retrieval.training.losses.contrastive import contrastive
from retrieval.training.losses.distillation import kl_divergence, margin_mse
from retrieval.training.pairs import batching, in_order, list_pairs, pair_batches
from retrieval.training.ranker_settings import CrossEncoderSettings
from retrieval.training.recipes.base import Recipe, StepLoss

__all__ = ["CrossEncoderRecipe", "evaluator", "rerank_dev"]


class CrossEncoderRecipe(Recipe):
    """Training of a cross-encoder on data.

    Raises:
        InputError: a loss needs a teacher's scores, and the data has none.
    """

    model: CrossEncoder

    def __init__(self, model: CrossEncoder, data: TrainingData, settings: CrossEncoderSettings) -> None:
        if settings.is_taught and not any(example.scores for example in data.examples):
            raise InputError(
                "margin-mse and kl need a teacher's scores",
                hint="give runs with --teacher-run, or data with pos_scores and neg_scores",
            )
        self.model, self._data, self._settings = model, data, settings
        self._origin = {"model": weights_digest(model), "data": data.fingerprint()}
        self._draw = Draw(queries=settings.batch, negatives=settings.negatives_per_query, seed=settings.seed)

    def settings(self) -> Mapping[str, Any]:
        """The method's, the model it begins with, and the data."""
        return {**asdict(self._settings), **self._origin}

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """Queries with a positive and negatives each: of all processes, each of which scores a share of the lists."""
        return draw(self._data, self._draw, step)

    def save(self, folder: Path) -> None:
        """A folder that `retrieval`, sentence-transformers and transformers load."""
        self.model.save(folder)

    def loss(self, batch: Batch, step: int) -> StepLoss:
        """All terms of a batch; the log also says how often the positive comes first."""
        s = self._settings
        scores = self._scores(batch)
        known = batch.own(batch.known).to(scores.device)
        parts: dict[str, Tensor] = {}
        if s.softmax:
            first = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
            parts["softmax"] = contrastive(scores, first, known, temperature=s.temperature)
        if s.is_taught:
            parts |= self._taught(scores, batch.teacher.to(scores.device), known)
        weights = {"softmax": s.softmax, "margin_mse": s.margin_mse, "kl": s.kl}
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        figures = {"positive_first": (scores.argmax(dim=1) == 0).float().mean().item()}
        return StepLoss(total, {name: part.item() for name, part in parts.items()}, figures)

    def _scores(self, batch: Batch) -> Tensor:
        """(b, 1 + k) of each query's list."""
        n, (rank, world) = len(batch.examples), processes()
        own, pairs = shares(n, rank, world), list_pairs(batch, self._data.texts)
        width = len(pairs) // n
        mine = [pair for place in own for pair in pairs[place * width : (place + 1) * width]]
        places, features = pair_batches(self.model, mine, self._settings.pair_length)
        scores = in_order([self.model(each) for each in features], places).view(len(own), -1)
        return gathered(scores, n, rank, world)

    def _taught(self, scores: Tensor, teacher: Tensor, known: Tensor) -> dict[str, Tensor]:
        """What the teacher says of the queries that it knows, where no positive stands among the negatives."""
        s = self._settings
        there = ~teacher.isnan().any(dim=1) & ~known[:, 1:].any(dim=1)
        own, wanted = scores[there], teacher[there] * s.teacher_scale
        parts: dict[str, Tensor] = {}
        nothing = scores.sum() * 0
        if s.margin_mse:
            given = (own[:, 0], own[:, 1:], wanted[:, 0], wanted[:, 1:])
            parts["margin_mse"] = margin_mse(*given) if len(own) else nothing
        if s.kl:
            parts["kl"] = kl_divergence(own / s.temperature, wanted) if len(own) else nothing
        return parts


def rerank_dev(
    model: Any,
    dev: DevSet,
    candidates: Run,
    *,
    depth: int = 100,
    length: int | None = None,
    score: Callable[..., Any] = score_pairs,
) -> dict[str, dict[str, float]]:
    """The first candidates of each dev query, scored by the model, best first; ties stay as they were.

    Candidates that the dev set has no text of are left out, and one whose id is the query's own.

    Args:
        model: as it is now, on its device.
        dev: queries and documents.
        candidates: query id → document id → score, best first.
        depth: candidates of each query.
        length: tokens of a pair that are read; None takes what the model reads.
        score: what scores pairs by the model, of which those of a query stand together, called as `score_pairs`.

    Raises:
        CollectionError: no dev query has a candidate.
    """
    asked = [
        (query, document)
        for query in dev.queries
        for document in list(candidates.get(query.id, {}))[:depth]
        if document in dev.documents and document != query.id
    ]
    if not asked:
        raise CollectionError(
            f"{dev.name}: the run holds no candidate of any dev query",
            hint="search with the dev queries: retrieval search DIR --queries queries.jsonl --format trec",
        )
    scores = score(
        model,
        [(query.text, dev.documents[document]) for query, document in asked],
        batching(model),
        max_length=length,
    )
    run: dict[str, dict[str, float]] = {query.id: {} for query in dev.queries}
    for (query, document), found in zip(asked, scores.tolist(), strict=True):
        run[query.id][document] = found
    return {id_: dict(sorted(hits.items(), key=lambda hit: -hit[1])) for id_, hits in run.items()}


def evaluator(
    model: Any,
    sets: Sequence[DevSet],
    candidates: Sequence[Run],
    *,
    depth: int = 100,
    length: int | None = None,
    measure: str = "nDCG@10",
    score: Callable[..., Any] = score_pairs,
) -> Callable[[], float]:
    """The mean over dev sets of a measure of their candidates, one run for each, as the model then reranks them.

    A query without candidates counts 0.
    """

    def evaluate() -> float:
        found = [
            dev.score(rerank_dev(model, dev, run, depth=depth, length=length, score=score), measure)
            for dev, run in zip(sets, candidates, strict=True)
        ]
        return sum(found) / len(found)

    return evaluate

"""SPLADE: a learned-sparse encoder from judgements, hard negatives and a teacher.

L = contrastive + margin-mse + kl, each with a weight, + lambda_q(t) R(queries) + lambda_d(t) FLOPS(documents).
Sources: Formal et al., "SPLADE v2" (2021) and "From distillation to hard negative sampling" (SIGIR 2022); Lassance and
Clinchant, "An efficiency study for SPLADE models" (SIGIR 2022).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrieval.encoders.models import weights_digest
from retrieval.encoders.neural.side import TableSide
from retrieval.encoders.neural.splade import Splade
from retrieval.errors import InputError, TrainingError
from retrieval.protocols import Progress, silent
from retrieval.training.batches import Batch, Draw, draw
from retrieval.training.data import TrainingData
from retrieval.training.dev import DevSet, search_all
from retrieval.training.losses.contrastive import contrastive
from retrieval.training.losses.distillation import kl_divergence, margin_mse
from retrieval.training.losses.sparsity import flops, l1, quadratic_ramp
from retrieval.training.recipes import Recipe, StepLoss
from retrieval.training.warmstart import LexicalStart, lexical_start

__all__ = ["SpladeRecipe", "SpladeSettings", "active_terms", "evaluator", "shortened"]

_REGULARISERS = ("flops_query", "l1_query", "flops_document")

# Fewer active terms than this, over so many steps in a row, and nothing comes back.
_FLOOR, _FLOOR_STEPS = 1.0, 20


@dataclass(frozen=True, kw_only=True)
class SpladeSettings:
    """The method's own settings.

    Attributes:
        batch: queries of a step, over all processes.
        negatives: hard ones for each query.
        contrastive: weight of InfoNCE over the batch's documents.
        margin_mse: weight of MarginMSE to the teacher.
        kl: weight of the divergence from the teacher.
        temperature: what scores are divided by in InfoNCE, and in the divergence those of the student.
        teacher_scale: what the teacher's scores are multiplied with before they teach: runs come rescaled to 0..1.
        flops_query: weight of FLOPS on queries.
        l1_query: weight of L1 on queries.
        flops_document: weight of FLOPS on documents.
        ramp: steps over which these weights rise, as a square.
        query_length: tokens of a query that are read in training.
        document_length: tokens of a document that are read in training.
        lora: dimensions of the adapters that alone are trained, of a causal model; None trains what can be.
        seed: of the batches.
    """

    batch: int = 16
    negatives: int = 4
    contrastive: float = 1.0
    margin_mse: float = 0.0
    kl: float = 0.0
    temperature: float = 1.0
    teacher_scale: float = 1.0
    flops_query: float = 0.0
    l1_query: float = 0.0
    flops_document: float = 0.0
    ramp: int = 0
    query_length: int = 64
    document_length: int = 256
    lora: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch", "query_length", "document_length"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)!r}")
        weights = ("contrastive", "margin_mse", "kl", "flops_query", "l1_query", "flops_document")
        for name in (*weights, "negatives", "ramp"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be at least 0; got {getattr(self, name)!r}")
        for name in ("temperature", "teacher_scale"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0; got {getattr(self, name)!r}")
        if not (self.contrastive or self.is_taught):
            raise InputError("a loss is needed: contrastive, margin-mse or kl")
        if self.is_taught and not self.negatives:
            raise InputError("a teacher needs negatives to compare a positive with; got none")

    @property
    def is_taught(self) -> bool:
        """Whether a teacher's scores are needed."""
        return bool(self.margin_mse or self.kl)


class SpladeRecipe(Recipe):
    """SPLADE training of a model on data.

    Raises:
        InputError: a loss needs a teacher's scores, and the data has none.
    """

    model: Splade

    def __init__(
        self,
        model: Splade,
        data: TrainingData,
        settings: SpladeSettings,
        *,
        warm_start: LexicalStart | None = None,
        progress: Progress = silent,
    ) -> None:
        if settings.is_taught and not any(example.scores for example in data.examples):
            raise InputError(
                "margin-mse and kl need a teacher's scores",
                hint="give runs with --teacher-run, or data with pos_scores and neg_scores",
            )
        self.model, self._data, self._settings = model, data, settings
        self._warm_start, self._progress = warm_start, progress
        self._origin = {
            "model": weights_digest(model),
            "data": data.fingerprint(),
            "warm_start": asdict(warm_start) if warm_start else None,
        }
        self._draw = Draw(queries=settings.batch, negatives=settings.negatives, seed=settings.seed)
        self._few = {"queries": 0, "documents": 0}

    def settings(self) -> Mapping[str, Any]:
        """The method's, the model it begins with, and the data."""
        return {**asdict(self._settings), **self._origin}

    def begin(self) -> None:
        """Set the head by what the encoder's states say of the documents, if that is wanted."""
        if self._warm_start:
            lexical_start(self.model, self._data.texts, self._warm_start, progress=self._progress)

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """Queries with a positive and negatives each."""
        return draw(self._data, self._draw, step, rank=rank, world=world)

    def save(self, folder: Path) -> None:
        """A folder that `retrieval` and sentence-transformers load."""
        self.model.save(folder)

    def loss(self, batch: Batch, step: int) -> StepLoss:
        """All terms of a batch.

        Raises:
            TrainingError: queries or documents have no active term left, or hardly any for many steps.
        """
        queries = self._encode([example.query for example in batch.examples], "query")
        documents = self._encode([self._data.texts[row] for row in batch.rows], "document")
        active = {"queries": active_terms(queries), "documents": active_terms(documents)}
        self._check_active(active, step)
        parts = self._terms(queries, documents, batch)
        figures = {
            "query_nonzeros": active["queries"],
            "document_nonzeros": active["documents"],
            "expected_flops": _expected_flops(queries, documents),
        }
        return self._weighed(parts, figures, step)

    def _weighed(self, parts: Mapping[str, Tensor], figures: Mapping[str, float], step: int) -> StepLoss:
        """The sum of all parts, each with its weight at this step; parts without one are only for the log."""
        s = self._settings
        weights = {"contrastive": s.contrastive, "margin_mse": s.margin_mse, "kl": s.kl}
        ramped = {name: quadratic_ramp(getattr(s, name), step, s.ramp) for name in _REGULARISERS if name in parts}
        weights |= ramped
        total = torch.stack([weights[name] * part for name, part in parts.items() if weights[name]]).sum()
        lambdas = {f"lambda_{name}": weight for name, weight in ramped.items()}
        return StepLoss(total, {name: part.item() for name, part in parts.items()}, {**figures, **lambdas})

    def _encode(self, texts: Sequence[str], side: str) -> Tensor:
        lengths = {"query": self._settings.query_length, "document": self._settings.document_length}
        features = shortened(self.model, texts, side, lengths[side])
        weights: Tensor = self.model(features, side)
        return weights

    def _terms(self, queries: Tensor, documents: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Each term of the loss."""
        s = self._settings
        # Sums over the vocabulary are too long for half precision.
        with torch.autocast(queries.device.type, enabled=False):
            scores = queries.float() @ documents.float().T
        parts: dict[str, Tensor] = {}
        if s.contrastive:
            device = scores.device
            known, targets = batch.known.to(device), batch.targets.to(device)
            parts["contrastive"] = contrastive(scores, targets, known, temperature=s.temperature)
        if s.is_taught:
            parts |= self._taught(batch.own(scores), batch.teacher.to(scores.device))
        return {**parts, **self._sparse(queries), "flops_document": flops(documents)}

    def _sparse(self, queries: Tensor) -> dict[str, Tensor]:
        """What keeps queries sparse."""
        return {"flops_query": flops(queries), "l1_query": l1(queries)}

    def _taught(self, own: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """What the teacher says of a positive and its negatives, for the queries that it knows."""
        s, parts = self._settings, dict[str, Tensor]()
        if s.margin_mse:
            parts["margin_mse"] = self._margins(own, teacher)
        if s.kl:
            known = ~teacher.isnan().any(dim=1)
            nothing = own.sum() * 0
            wanted = teacher[known] * s.teacher_scale
            parts["kl"] = kl_divergence(own[known] / s.temperature, wanted) if known.any() else nothing
        return parts

    def _margins(self, own: Tensor, teacher: Tensor) -> Tensor:
        """MarginMSE over the queries that the teacher knows."""
        known = ~teacher.isnan().any(dim=1)
        if not known.any():
            return own.sum() * 0
        own, wanted = own[known], teacher[known] * self._settings.teacher_scale
        return margin_mse(own[:, 0], own[:, 1:], wanted[:, 0], wanted[:, 1:])

    def _check_active(self, active: Mapping[str, float], step: int) -> None:
        """Stop where nothing is left that could grow again."""
        for side, count in active.items():
            if math.isnan(count):
                raise TrainingError(
                    f"step {step + 1}: {side} have weights that are no numbers",
                    hint="a lower --lr; the last good checkpoint is kept",
                )
            self._few[side] = self._few[side] + 1 if count < _FLOOR else 0
            if count == 0 or self._few[side] >= _FLOOR_STEPS:
                raise TrainingError(
                    f"step {step + 1}: {side} have {count:g} active terms on average: the model has collapsed under "
                    + self._regularisers(step),
                    hint="a lower weight of the regulariser, or a longer --ramp, and --restart",
                )

    def _regularisers(self, step: int) -> str:
        """Those in force; sides that share a model go down together, so all are named."""
        s = self._settings
        told = [
            f"--{name.replace('_', '-')} {weight:g}, {quadratic_ramp(weight, step, s.ramp):g} at this step"
            for name in _REGULARISERS
            if (weight := getattr(s, name))
        ]
        return " and ".join(told) or "no regulariser: the model or its learning rate is at fault"


def shortened(model: Splade, texts: Sequence[str], side: str, length: int) -> dict[str, Tensor]:
    """Features of texts, cut at fewer tokens than the model reads, on its device."""
    part = model.sides[side]
    if isinstance(part, TableSide):
        features = {name: values[:, :length] for name, values in model.tokenize(texts, side).items()}
    else:
        before, part.max_length = part.max_length, min(part.max_length, length)
        try:
            features = model.tokenize(texts, side)
        finally:
            part.max_length = before
    device = next(model.parameters()).device
    return {name: values.to(device) for name, values in features.items()}


def evaluator(model: Splade, sets: Sequence[DevSet], *, measure: str = "nDCG@10") -> Callable[[], float]:
    """The mean over dev sets of a measure, by exact search of all their documents with the model as it then is."""

    def encode(side: str) -> Callable[[Sequence[str]], Tensor]:
        length = model.sides[side].max_length
        return lambda texts: model(shortened(model, texts, side, length), side)

    def evaluate() -> float:
        scores = [dev.score(search_all(dev, encode("query"), encode("document")), measure) for dev in sets]
        return sum(scores) / len(scores)

    return evaluate


def active_terms(weights: Tensor) -> float:
    """Mean number of terms above 0; NaN where a weight is no number."""
    return (weights > 0).sum(dim=1).float().mean().item() if weights.isfinite().all() else math.nan


def _expected_flops(queries: Tensor, documents: Tensor) -> float:
    """Multiplications that one query and one document of the batch cost: the sum of p_q(term) * p_d(term)."""
    return ((queries > 0).float().mean(dim=0) @ (documents > 0).float().mean(dim=0)).item()

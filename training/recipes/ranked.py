"""What methods have in common that train a dual encoder and a cross-encoder together, on a list of each query."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from retrieval.encoders.models import weights_digest
from retrieval.encoders.neural.dual import DualEncoder
from retrieval.encoders.neural.recomputing import recomputed
from retrieval.protocols import Progress, silent
from retrieval.rerank.neural.cross_encoder import CrossEncoder
from retrieval.training.batches import Batch
from retrieval.training.data import TrainingData
from retrieval.training.exact import inner_products
from retrieval.training.gathering import gathered, shares
from retrieval.training.losses.adversarial import ranker as ranker_loss
from retrieval.training.pairs import in_order, list_pairs, pair_batches
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dual import DualRecipe, Step, collected
from retrieval.training.settings import RankerSettings

__all__ = ["RANKER", "RankedRecipe", "Together"]

R = TypeVar("R", bound=RankerSettings)

RANKER = "ranker"
"""The part of the model that is the cross-encoder; and the folder below the saved model where it goes."""


class Together(nn.Module):
    """A retriever and a ranker: one call makes vectors, or scores of pairs, or both; and what else learns with them."""

    def __init__(self, retriever: DualEncoder, ranker: CrossEncoder | None) -> None:
        super().__init__()
        self.retriever, self.ranker = retriever, ranker
        self.selection: nn.Module | None = None

    def forward(
        self, chunks: Sequence[Any] = (), pairs: Sequence[Any] = (), *, cached: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Vectors of each chunk of texts, and scores of each batch of pairs; `cached` as of `DualEncoder`, for both."""
        ranker = self.ranker
        scores = [_scores(ranker, features, cached=cached) for features in pairs] if ranker else []
        return self.retriever(chunks, cached=cached), scores


def _scores(ranker: CrossEncoder, features: Any, *, cached: bool) -> Tensor:
    scores: Tensor = recomputed(ranker, ranker, features) if cached else ranker(features)
    return scores


class RankedRecipe(DualRecipe[R]):
    """Lists of a positive and negatives, scored by both models; the ranker may begin alone."""

    model: Together

    def __init__(
        self,
        model: DualEncoder,
        data: TrainingData,
        settings: R,
        *,
        ranker: CrossEncoder | None,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        super().__init__(model, data, settings, folder=folder, progress=progress)
        self.origin["ranker_model"] = weights_digest(ranker) if ranker else None
        self.model = Together(self.encoder, ranker)

    def part(self, name: str) -> str:
        """The ranker learns at a rate of its own."""
        return RANKER if name.startswith("ranker.") else ""

    def lr(self, part: str, step: int, lr: float) -> float:
        """The ranker's own, of the ranker."""
        return self._settings.ranker_lr if part == RANKER else lr

    def save(self, folder: Path) -> None:
        """The retriever, and the ranker in a folder below it; sentence-transformers loads both."""
        super().save(folder)
        if self.model.ranker:
            self.model.ranker.save(folder / RANKER)

    def is_warming(self, step: int) -> bool:
        """Whether the ranker still learns alone."""
        return step < self._settings.ranker_warmup

    def scored(
        self, batch: Step, *, retriever: bool = False, ranker: bool = False, beside: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(b, 1 + k) scores of each query's own list by those that are asked for; the other's are empty.

        The retriever's are divided by the temperature. A document that is known to be relevant and is not the list's
        positive has -inf. With `beside` the retriever's are (b, 1 + k + b + b * k): all documents of the batch stand
        beside the list, those that are in it with -inf.
        """
        found = batch.batch
        documents = [self.data.texts[row] for row in found.rows]
        parts = [([example.query for example in found.examples], "query"), (documents, "document")]
        chunks, places = self.chunked(parts, batch) if retriever else ([], [])
        own, order, pairs = self._pairs(batch) if ranker else (0, [], [])
        vectors, scores = self.model(chunks, pairs, cached=self._settings.cached)
        known = found.own(found.known)
        known[:, 0] = False
        empty = torch.empty(0)
        by_retriever, by_ranker = empty, empty
        if retriever:
            asked, answers = collected(parts, places, vectors, batch)
            everyone = inner_products(asked, answers) / self.temperature
            by_retriever = found.own(everyone).masked_fill(known.to(everyone.device), -torch.inf)
            if beside:
                others = everyone.masked_fill((found.known | _listed(found)).to(everyone.device), -torch.inf)
                by_retriever = torch.cat([by_retriever, others], dim=1)
        if ranker:
            mine = in_order(scores, order).view(own, -1)
            by_ranker = gathered(mine, len(found.examples), batch.rank, batch.world)
            by_ranker = by_ranker.masked_fill(known.to(by_ranker.device), -torch.inf)
        return by_retriever, by_ranker

    def _pairs(self, batch: Step) -> tuple[int, list[int], list[dict[str, Any]]]:
        """Of this process' share of the queries: how many, and their pairs as `pair_batches` gives them."""
        assert self.model.ranker
        found: Batch = batch.batch
        wide = list_pairs(found, self.data.texts)
        width = len(wide) // len(found.examples)
        own = shares(len(found.examples), batch.rank, batch.world)
        pairs = [pair for place in own for pair in wide[place * width : (place + 1) * width]]
        return len(own), *pair_batches(self.model.ranker, pairs, self._settings.pair_length)

    def ranker_alone(self, batch: Step) -> StepLoss:
        """The ranker's own loss: the positive of each list against its negatives."""
        _, scores = self.scored(batch, ranker=True)
        total = ranker_loss(scores)
        return StepLoss(total, {"ranker": total.item()}, {"ranker_first": first(scores)})


def _listed(batch: Batch) -> Tensor:
    """(b, b + b * k) bool: which of the batch's documents stand in a query's own list, wherever they came from."""
    rows = torch.tensor(batch.rows)
    own = batch.own(rows.expand(len(batch.examples), -1))
    return (rows[None, :, None] == own[:, None]).any(dim=2)


def first(scores: Tensor) -> float:
    """Share of lists whose positive, in column 0, has the highest score."""
    return (scores.detach().argmax(dim=1) == 0).float().mean().item()

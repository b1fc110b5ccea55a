"""Dense encoders from judgements and hard negatives: a positive against all other documents of the batch.

Source: Karpukhin et al., "Dense passage retrieval" (EMNLP 2020).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from retrieval.beir_eval.runs import Run
from retrieval.encoders.models import evaluating
from retrieval.encoders.neural.dual import DualEncoder
from retrieval.training.batches import Batch
from retrieval.training.dev import DevSet, search_all
from retrieval.training.losses.contrastive import contrastive
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dual import DualRecipe, Part, S, Step, collected

__all__ = ["DenseRecipe", "accuracy", "evaluator", "run_of"]


class DenseRecipe(DualRecipe[S]):
    """In-batch training; other methods change what the scores are to be."""

    loss_name = "contrastive"

    def loss(self, batch: Step, step: int) -> StepLoss:
        """The loss of all queries of the step."""
        found = batch.batch
        queries = [example.query for example in found.examples]
        documents = [self.data.texts[row] for row in found.rows]
        vectors = self.encode([(queries, "query"), (documents, "document")], batch)
        with torch.autocast(vectors[0].device.type, enabled=False):
            return self.of_vectors(vectors[0], vectors[1], found, step)

    def of_vectors(self, queries: Tensor, documents: Tensor, batch: Batch, step: int) -> StepLoss:
        """The loss of vectors (b, d) and (b + b * k, d)."""
        scores = queries @ documents.T
        device = scores.device
        given = (batch.targets.to(device), batch.known.to(device))
        total = self.of_scores(scores, *given, batch.weights.to(device))
        return StepLoss(total, {self.loss_name: total.item()}, {"accuracy": accuracy(scores, *given)})

    def of_scores(self, scores: Tensor, targets: Tensor, known: Tensor, weights: Tensor) -> Tensor:
        """The loss of scores (b, b + b * k), of each query with the documents of all."""
        return contrastive(scores, targets, known, temperature=self.temperature, weights=weights)

    def encode(self, parts: Sequence[Part], step: Step) -> list[Tensor]:
        """Vectors (n, d) of the texts of each part and side, of which this process makes its share."""
        chunks, places = self.chunked(parts, step)
        return collected(parts, places, self.model(chunks, cached=self._settings.cached), step)


def accuracy(scores: Tensor, targets: Tensor, known: Tensor) -> float:
    """Share of queries whose positive scores above all documents that are not known to be relevant."""
    best = scores.detach().masked_fill(known, -torch.inf).amax(dim=1)
    return (scores.detach().gather(1, targets[:, None])[:, 0] > best).float().mean().item()


def run_of(model: DualEncoder, dev: DevSet) -> Run:
    """What exact search of all of a dev set's documents finds with the model as it is."""

    def encode(side: str) -> Callable[[Sequence[str]], Tensor]:
        def vectors(texts: Sequence[str]) -> Tensor:
            found: list[Tensor] = model([(model.tokenize(texts, side), side)])
            return found[0]

        return vectors

    with evaluating(model):
        return search_all(dev, encode("query"), encode("document"), least=-torch.inf)


def evaluator(model: DualEncoder, sets: Sequence[DevSet], *, measure: str = "nDCG@10") -> Callable[[], float]:
    """The mean over dev sets of a measure, by exact search of all their documents with the model as it then is."""
    return lambda: sum(dev.score(run_of(model, dev), measure) for dev in sets) / len(sets)

"""PAIR: a positive passage is to be closer to its query than to other passages.

Source: Ren et al., "PAIR: leveraging passage-centric similarity relation" (Findings of ACL 2021). Its first stage
learns from queries that a cross-encoder labelled; here both stages have the data's.
"""

from pathlib import Path

import torch
from torch import Tensor

from retrieval.encoders.neural.dual import DualEncoder
from retrieval.protocols import Progress, silent
from retrieval.training.batches import Batch
from retrieval.training.data import TrainingData
from retrieval.training.losses.passages import pair
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dense import DenseRecipe, Step, accuracy
from retrieval.training.settings import PairSettings

__all__ = ["PairRecipe"]


class PairRecipe(DenseRecipe):
    """In-batch training in which passages are held against each other, too, in a first stage or all along."""

    def __init__(
        self,
        model: DualEncoder,
        data: TrainingData,
        settings: PairSettings,
        *,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        super().__init__(model, data, settings, folder=folder, progress=progress)
        self._pair, self._step = settings, 0

    def batch(self, step: int, rank: int, world: int) -> Step:
        """As of all methods; what the stage is depends on the step."""
        self._step = step
        return super().batch(step, rank, world)

    def of_vectors(self, queries: Tensor, documents: Tensor, batch: Batch) -> StepLoss:
        """The loss of queries against passages and of their positives against the same."""
        scores, passages = queries @ documents.T, documents[: len(queries)] @ documents.T
        targets, known = batch.targets.to(scores.device), batch.known.to(scores.device)
        first = not self._pair.first_stage or self._step < self._pair.first_stage
        alpha = self._pair.alpha if first else 0.0
        total = pair(
            scores,
            passages,
            targets,
            known,
            alpha=alpha,
            temperature=self.temperature,
            weights=batch.weights.to(scores.device),
        )
        with torch.no_grad():
            figures = {"accuracy": accuracy(scores, targets, known), "alpha": alpha}
        return StepLoss(total, {"pair": total.item()}, figures)

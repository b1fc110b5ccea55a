"""PAIR: a positive passage is to be closer to its query than to other passages.

Source: Ren et al., "PAIR: leveraging passage-centric similarity relation" (Findings of ACL 2021). Its first stage
learns from queries that a cross-encoder labelled; here both stages have the data's.
"""

import torch
from torch import Tensor

from retrieval.training.batches import Batch
from retrieval.training.losses.passages import pair
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dense import DenseRecipe, accuracy
from retrieval.training.settings import PairSettings

__all__ = ["PairRecipe"]


class PairRecipe(DenseRecipe[PairSettings]):
    """In-batch training in which passages are held against each other, too, in a first stage or all along."""

    def of_vectors(self, queries: Tensor, documents: Tensor, batch: Batch, step: int) -> StepLoss:
        """The loss of queries against passages and of their positives against the same."""
        scores, passages = queries @ documents.T, documents[: len(queries)] @ documents.T
        targets, known = batch.targets.to(scores.device), batch.known.to(scores.device)
        s = self._settings
        alpha = s.alpha if not s.first_stage or step < s.first_stage else 0.0
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

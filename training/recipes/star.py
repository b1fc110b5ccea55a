"""STAR: static hard negatives of a first model, stabilised by the other documents of the batch.

Source: Zhan et al., "Optimizing dense retrieval model training with hard negatives" (SIGIR 2021), section 5.
"""

from torch import Tensor

from retrieval.training.losses.pairwise import pairwise_softmax
from retrieval.training.recipes.dense import DenseRecipe
from retrieval.training.settings import StarSettings

__all__ = ["StarRecipe"]


class StarRecipe(DenseRecipe[StarSettings]):
    """In-batch training with hard negatives, one pair of documents at a time in place of a softmax over all."""

    loss_name = "pairwise"

    def of_scores(self, scores: Tensor, targets: Tensor, known: Tensor, weights: Tensor) -> Tensor:
        """The mean over pairs of a positive and a document that is not known to be relevant."""
        return pairwise_softmax(scores, targets, known, temperature=self.temperature, weights=weights)

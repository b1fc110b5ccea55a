"""The methods of training, one short module each over one trainer."""

from retrieval.training.recipes.base import Recipe, StepLoss

__all__ = ["Recipe", "StepLoss"]

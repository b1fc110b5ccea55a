"""AR2: a retriever and a ranker learn against each other, in turns, on what the retriever finds.

Source: Zhang et al., "Adversarial retriever-ranker for dense text retrieval" (ICLR 2022).
"""

import torch

from retrieval.encoders.models import evaluating
from retrieval.training.losses.adversarial import ar2_retriever, rewards
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dual import Step
from retrieval.training.recipes.ranked import RANKER, RankedRecipe, first
from retrieval.training.settings import Ar2Settings

__all__ = ["Ar2Recipe"]


class Ar2Recipe(RankedRecipe[Ar2Settings]):
    """After the ranker's warm-up, cycles: documents are encoded anew, the ranker learns, then the retriever."""

    def lr(self, part: str, step: int, lr: float) -> float:
        """The ranker learns slower once both do."""
        own = super().lr(part, step, lr)
        return own * self._settings.cooling if part == RANKER and not self.is_warming(step) else own

    def is_rankers_turn(self, step: int) -> bool:
        """Whether the ranker learns at a step, the retriever being as it is."""
        if self.is_warming(step):
            return True
        within = (step - self._settings.ranker_warmup) % self._settings.cycle
        return within < round(self._settings.ranker_share * self._settings.cycle)

    def before_step(self, step: int) -> None:
        """A cycle begins with what the retriever finds now; the first with what it found at the start."""
        done = step - self._settings.ranker_warmup
        if self._settings.mined and done > 0 and done % self._settings.cycle == 0:
            self._mine(step)

    def loss(self, batch: Step, step: int) -> StepLoss:
        """The loss of whose turn it is."""
        if self.is_rankers_turn(step):
            return self.ranker_alone(batch)
        r = self._settings
        assert self.model.ranker
        with torch.no_grad(), evaluating(self.model.ranker):
            _, judged = self.scored(batch, ranker=True)
        scores, _ = self.scored(batch, retriever=True)
        total = ar2_retriever(
            scores,
            judged,
            adversarial_weight=r.adversarial_weight,
            temperature=r.ranker_temperature,
            reduction=r.reduction,
        )
        deceived = -rewards(judged)[:, 1:].clamp(min=-20).mean().item()
        return StepLoss(total, {"retriever": total.item()}, {"retriever_first": first(scores), "cost": deceived})

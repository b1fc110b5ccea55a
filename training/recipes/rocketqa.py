"""RocketQAv2: a ranker that learns from judgements, and a retriever that follows it on the same lists.

Source: Ren et al., "RocketQAv2: a joint training method for dense passage retrieval and passage re-ranking" (EMNLP
2021).
"""

from retrieval.training.losses.distillation import dynamic_listwise
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dual import Step
from retrieval.training.recipes.ranked import RankedRecipe, first
from retrieval.training.settings import RocketQaSettings

__all__ = ["RocketQaRecipe"]


class RocketQaRecipe(RankedRecipe[RocketQaSettings]):
    """Both models learn at every step, after the ranker's warm-up."""

    def loss(self, batch: Step, step: int) -> StepLoss:
        """The ranker's loss and the divergence of the retriever from it."""
        if self.is_warming(step):
            return self.ranker_alone(batch)
        r = self._settings
        scores, judged = self.scored(batch, retriever=True, ranker=True)
        total = dynamic_listwise(
            scores, judged, kl_weight=r.kl_weight, kl_direction=r.kl_direction, teacher_grad=r.teacher_grad
        )
        figures = {"retriever_first": first(scores), "ranker_first": first(judged)}
        return StepLoss(total, {"joint": total.item()}, figures)

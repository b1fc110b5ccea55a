"""What can be set of methods that train rerankers. Nothing here needs torch."""

from dataclasses import dataclass

from retrieval.errors import InputError
from retrieval.training.settings import check_least

__all__ = ["CrossEncoderSettings", "SetEncoderSettings"]


@dataclass(frozen=True, kw_only=True)
class CrossEncoderSettings:
    """The method's own settings.

    Attributes:
        batch: queries of a step, over all processes.
        negatives_per_query: hard ones for each query.
        softmax: weight of InfoNCE over a query's positive and its negatives.
        margin_mse: weight of MarginMSE to the teacher.
        kl: weight of the divergence from the teacher.
        temperature: what scores are divided by in the softmax, and in the divergence those of the student.
        teacher_scale: what the teacher's scores are multiplied with before they teach: runs come rescaled to 0..1.
        pair_length: tokens of a pair that are read in training.
        seed: of the batches.
    """

    batch: int = 8
    negatives_per_query: int = 7
    softmax: float = 1.0
    margin_mse: float = 0.0
    kl: float = 0.0
    temperature: float = 1.0
    teacher_scale: float = 1.0
    pair_length: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, 1, "batch", "negatives_per_query", "pair_length")
        check_least(self, 0, "softmax", "margin_mse", "kl")
        for name in ("temperature", "teacher_scale"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0; got {getattr(self, name)!r}")
        if not any(getattr(self, name) for name in self.losses):
            named = [name.replace("_", "-") for name in self.losses]
            raise InputError(f"a loss is needed: {', '.join(named[:-1])} or {named[-1]}")

    @property
    def losses(self) -> tuple[str, ...]:
        """The weights of which one must be above 0."""
        return ("softmax", "margin_mse", "kl")

    @property
    def is_taught(self) -> bool:
        """Whether a teacher's scores are needed."""
        return bool(self.margin_mse or self.kl)


@dataclass(frozen=True, kw_only=True)
class SetEncoderSettings(CrossEncoderSettings):
    """The set-encoder's own settings, beside those of the cross-encoder.

    Attributes:
        duplicate: weight of the duplicate-aware task: a passage of each list is given twice, and a head of its own is
            to say which.
        rank_net: weight of RankNet on the teacher's order of each list; on the judgements where the data has no
            teacher. With sub-topics it is novelty-aware, see `novelty_targets`, unless there is a novelty head.
        novelty: weight of the novelty head's loss: the head learns from sub-topics which passages say the same, and in
            use takes off a passage's score what others of the set say better; it is part of no other loss.
        novelty_lr: the head's highest learning rate.
        settle: lists of 64 passages on which, before the first step, [INT]'s embedding alone learns to leave the
            scores of a passage as they are without the others; of a model that begins as a BERT's cross-encoder: others
            have an [INT] that has learned already, or no scores to keep.
    """

    duplicate: float = 1.0
    rank_net: float = 0.0
    novelty: float = 0.0
    novelty_lr: float = 1e-2
    settle: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 0, "duplicate", "rank_net", "novelty", "settle")
        if not self.novelty_lr > 0:
            raise InputError(f"novelty_lr must be above 0; got {self.novelty_lr!r}")

    @property
    def losses(self) -> tuple[str, ...]:
        """The weights of which one must be above 0; to tell duplicates alone ranks nothing."""
        return (*super().losses, "rank_net")

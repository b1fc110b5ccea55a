"""What a method of training must say of itself; the trainer does the rest."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

__all__ = ["Recipe", "StepLoss"]


@dataclass(frozen=True)
class StepLoss:
    """What a step comes to.

    Attributes:
        total: the scalar to minimise.
        parts: its summands before they are weighted, by name, for the log.
        figures: whatever else the log should hold.
    """

    total: Tensor
    parts: Mapping[str, float]
    figures: Mapping[str, float]


class Recipe(ABC):
    """One method: its model, its batches, its loss.

    A method that mines anew, or trains two models in turn, does so in `before_step`, and keeps in `state` what a run
    that goes on must know beside the model's weights.
    """

    model: nn.Module

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """All that decides the result, as JSON values; a run goes on only where it is the same."""

    @abstractmethod
    def batch(self, step: int, rank: int, world: int) -> Any:
        """What the step reads, counted from 0: the part of process `rank` of `world`; of nothing but its arguments."""

    @abstractmethod
    def loss(self, batch: Any, step: int) -> StepLoss:
        """The loss of a batch; of several processes each has its part, or, by `training.gathering`, all of it.

        Raises:
            TrainingError: what the model gives shows that it cannot learn any more.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model as those who use it load it; the folder is empty."""

    def begin(self) -> None:  # noqa: B027 - nothing, unless a method has something to do
        """Get the model ready for the first step of a run that begins; not called for one that goes on."""

    def before_step(self, step: int) -> None:  # noqa: B027
        """Get ready for a step; called before every one, also for the first of a run that goes on."""

    def part(self, name: str) -> str:
        """Which part of the model a parameter is of; parts learn at rates of their own, and are clipped one by one."""
        return ""

    def lr(self, part: str, step: int, lr: float) -> float:
        """The highest learning rate of a part, as it is at a step; `lr` is the trainer's."""
        return lr

    def state(self) -> Mapping[str, Any]:
        """What changes beside the weights: tensors and plain values."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Go on with such a state."""

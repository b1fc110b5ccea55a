"""What the slow references of losses share."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

Floats = NDArray[np.float64]


def made(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape) * 3


def tensor(array: NDArray) -> "torch.Tensor":
    return torch.from_numpy(array)


def softmax(scores: Floats) -> Floats:
    """Of one list."""
    weights = np.exp(scores)
    return weights / weights.sum()


def gradients_hold(loss: Callable[["torch.Tensor"], "torch.Tensor"], scores: Floats) -> bool:
    """Whether the gradient is that of finite differences, in float64."""
    return torch.autograd.gradcheck(loss, (tensor(scores).requires_grad_(),))


def gradient(loss: Callable[["torch.Tensor"], "torch.Tensor"], scores: "torch.Tensor") -> "torch.Tensor":
    scores = scores.clone().requires_grad_()
    return torch.autograd.grad(loss(scores), scores)[0]


def descended(
    loss: Callable[["torch.Tensor"], "torch.Tensor"], scores: "torch.Tensor", *, steps: int = 2000, rate: float = 0.5
) -> "torch.Tensor":
    """Where gradient descent leads from these scores."""
    for _ in range(steps):
        scores = scores - rate * gradient(loss, scores)
    return scores

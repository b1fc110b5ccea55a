"""Regularisers that make sparse vectors sparse, and how their weight grows."""

from torch import Tensor

from retrieval.training.losses.scores import wide

__all__ = ["flops", "l1", "quadratic_ramp"]


def flops(weights: Tensor) -> Tensor:
    """FLOPS: sum over terms j of (mean over the batch of |w_bj|)^2.

    A smooth bound of the multiplications that a search takes: it falls on terms that are active in many vectors.
    Source: Paria et al., "Minimizing FLOPs to learn efficient sparse representations" (ICLR 2020).

    Args:
        weights: (b, v) vectors.

    Returns:
        A scalar in float32.
    """
    return wide(weights).abs().mean(dim=0).square().sum()


def l1(weights: Tensor) -> Tensor:
    """L1: the mean over the batch of sum over terms j of |w_bj|.

    Source: for queries, Lassance and Clinchant, "An efficiency study for SPLADE models" (SIGIR 2022).

    Args:
        weights: (b, v) vectors.

    Returns:
        A scalar in float32.
    """
    return wide(weights).abs().sum(dim=1).mean()


def quadratic_ramp(weight: float, step: int, steps: int) -> float:
    """A weight that rises as a square: weight * (min(step, steps) / steps)^2.

    It is all there from the start where `steps` is 0. A regulariser at full strength from the start can silence every
    term before any is of use. Source: Paria et al. (ICLR 2020), as SPLADE uses it (Formal et al., SIGIR 2021).
    """
    return weight * (min(step, steps) / steps) ** 2 if steps else weight

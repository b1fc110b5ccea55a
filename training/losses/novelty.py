"""Targets that let only one passage of each sub-topic be of use, and the losses of telling what says the same."""

import torch
from torch import Tensor
from torch.nn import functional

from retrieval.training.losses.scores import wide

__all__ = ["alike_loss", "duplicate_loss", "novelty_targets"]


def alike_loss(logits: Tensor, alike: Tensor) -> Tensor:
    """The binary cross-entropy of which passages say the same: summed over the others of a passage, its mean over all.

    Args:
        logits: (b, n, n) the log-odds; those of a passage and itself are not read.
        alike: (b, n, n) bool.

    Returns:
        A scalar in float32.
    """
    costs = functional.binary_cross_entropy_with_logits(wide(logits), alike.to(logits), reduction="none")
    itself = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    return costs.masked_fill(itself, 0.0).sum(dim=2).mean()


def duplicate_loss(logits: Tensor, duplicates: Tensor) -> Tensor:
    """The binary cross-entropy of which passages stand in their list twice.

    In a list of n two are duplicates; they weigh (n - 2) / 2 each, as much as the rest. Source: Schlatt et al.,
    "Set-Encoder" (ECIR 2025).

    Args:
        logits: (b, n) the log-odds.
        duplicates: (b, n) bool, as a rule two of each list.

    Returns:
        A scalar in float32.
    """
    weight = logits.new_tensor((logits.shape[1] - 2) / 2, dtype=torch.float32)
    return functional.binary_cross_entropy_with_logits(wide(logits), duplicates.float(), pos_weight=weight)


def novelty_targets(scores: Tensor, targets: Tensor, subtopics: Tensor) -> Tensor:
    """What a teacher would want who has seen a sub-topic's best passage: each other one of it comes last.

    Of the passages of a sub-topic the one that the model scores highest now, the first of equal ones, gets the largest
    of their targets. A passage that is the best of none of its sub-topics gets one less than the least target of the
    list; one of no sub-topic keeps its own. So the model chooses which passage speaks for a sub-topic. Source: Schlatt
    et al., "Set-Encoder" (ECIR 2025), for RankNet on ranks 1..n, of which the others get 0.

    Args:
        scores: (b, n) the model's; no gradient goes into them.
        targets: (b, n) float, more is better; NaN or -inf leaves a passage out, and it speaks for nothing.
        subtopics: (b, n, t) bool, t at least 1: which ones a passage is of.

    Returns:
        (b, n) in the targets' type.
    """
    there = targets > -torch.inf
    members = subtopics & there[:, :, None]
    beaten = (members[:, :, None] & members[:, None] & _ahead(scores.detach())[..., None]).any(dim=2)
    speaks = members & ~beaten
    most = torch.where(members, targets[:, :, None], -torch.inf).amax(dim=1, keepdim=True)
    spoken = torch.where(speaks, most, -torch.inf).amax(dim=2)
    last = targets.masked_fill(~there, torch.inf).amin(dim=1, keepdim=True) - 1
    wanted = torch.where(speaks.any(dim=2), spoken, last)
    return torch.where(members.any(dim=2), wanted, targets)


def _ahead(scores: Tensor) -> Tensor:
    """(b, n, n) whether the second passage scores higher than the first, or as high and stands before it."""
    n = scores.shape[1]
    earlier = torch.ones(n, n, dtype=torch.bool, device=scores.device).tril(-1)
    one, other = scores[:, :, None], scores[:, None, :]
    return (other > one) | ((other == one) & earlier)

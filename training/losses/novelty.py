"""Targets that let only one passage of each sub-topic be of use, and the loss of telling duplicates."""

import torch
from torch import Tensor
from torch.nn import functional

from retrieval.training.losses.scores import wide

__all__ = ["duplicate_loss", "novelty_targets"]


def duplicate_loss(logits: Tensor, duplicates: Tensor) -> Tensor:
    """The binary cross-entropy of which passages stand in their list twice.

    In a list of n two are duplicates; they weigh (n - 2) / 2 each, as much as the rest. Source: Schlatt et al.,
    "Set-Encoder" (ECIR 2025).

    Args:
        logits: (b, n) the log-odds.
        duplicates: (b, n) bool, two of each list.

    Returns:
        A scalar in float32.
    """
    weight = logits.new_tensor((logits.shape[1] - 2) / 2, dtype=torch.float32)
    return functional.binary_cross_entropy_with_logits(wide(logits), duplicates.float(), pos_weight=weight)


def novelty_targets(scores: Tensor, targets: Tensor, subtopics: Tensor) -> Tensor:
    """What a teacher would want who has seen a sub-topic's best passage: each other one of it comes last.

    Of the passages of a sub-topic the one that the model scores highest now, the first of equal ones, gets the largest
    of their targets, and the others one less than the least target of the list. So the model chooses which passage
    speaks for a sub-topic. Source: Schlatt et al., "Set-Encoder" (ECIR 2025), for RankNet on ranks 1..n, of which the
    others get 0.

    Args:
        scores: (b, n) the model's; no gradient goes into them.
        targets: (b, n) float, more is better; NaN or -inf leaves a passage out, and it speaks for nothing.
        subtopics: (b, n) int64, of any numbers; a passage of no sub-topic has one of its own.

    Returns:
        (b, n) in the targets' type.
    """
    there = targets > -torch.inf
    same = (subtopics[:, :, None] == subtopics[:, None, :]) & there[:, :, None] & there[:, None, :]
    shown = scores.detach()
    n = targets.shape[1]
    earlier = torch.ones(n, n, dtype=torch.bool, device=scores.device).tril(-1)
    ahead = (shown[:, None, :] > shown[:, :, None]) | ((shown[:, None, :] == shown[:, :, None]) & earlier)
    is_best = ~(same & ahead).any(dim=2)
    among = torch.where(same, targets[:, None, :], -torch.inf)
    last = targets.masked_fill(~there, torch.inf).amin(dim=1, keepdim=True) - 1
    return torch.where(there, torch.where(is_best, among.amax(dim=2), last), targets)

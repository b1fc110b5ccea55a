"""Distillation: the student's scores of a query's documents are to be like a teacher's."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["kl_divergence", "margin_mse"]


def margin_mse(positive: Tensor, negatives: Tensor, teacher_positive: Tensor, teacher_negatives: Tensor) -> Tensor:
    """MarginMSE: the mean over queries and negatives of ((s+ - s-) - (t+ - t-))^2.

    Only the differences count, so student and teacher may score on scales that are shifted against each other.
    Source: Hofstätter et al., "Improving efficient neural ranking models with cross-architecture knowledge
    distillation" (2020).

    Args:
        positive: (b,) the student's scores of the positives.
        negatives: (b, k) its scores of their negatives.
        teacher_positive: (b,) the teacher's.
        teacher_negatives: (b, k) the teacher's.

    Returns:
        A scalar in float32.
    """
    margins = positive.float()[:, None] - negatives.float()
    wanted = teacher_positive.float()[:, None] - teacher_negatives.float()
    return functional.mse_loss(margins, wanted)


def kl_divergence(scores: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL(t || s): the mean over queries of the sum over their documents of t (log t - log s), times temperature^2.

    t and s are the softmax of the teacher's and of the student's scores, each divided by the temperature; the square
    keeps the size of gradients independent of it. No gradient goes into the teacher. Source: Hinton et al.,
    "Distilling the knowledge in a neural network" (2015).

    Args:
        scores: (b, n) the student's scores of the documents of each query.
        teacher: (b, n) the teacher's; -inf leaves a document out of both.
        temperature: what all scores are divided by.

    Returns:
        A scalar in float32, at least 0.
    """
    teacher = teacher.detach().float()
    absent = teacher == -torch.inf
    wanted = functional.log_softmax(teacher / temperature, dim=1)
    given = functional.log_softmax(scores.float().masked_fill(absent, -torch.inf) / temperature, dim=1)
    # -inf - -inf is not a number: what is left out counts 0 on both sides.
    parts = wanted.exp() * (wanted.masked_fill(absent, 0.0) - given.masked_fill(absent, 0.0))
    return parts.sum(dim=1).mean() * temperature**2

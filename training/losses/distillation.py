"""Distillation: the student's scores of a query's documents are to be like a teacher's."""

import torch
from torch import Tensor
from torch.nn import functional

from retrieval.training.losses.scores import among_present, wide

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
    margins = wide(positive)[:, None] - wide(negatives)
    wanted = wide(teacher_positive)[:, None] - wide(teacher_negatives)
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
    teacher = wide(teacher.detach())
    absent = teacher == -torch.inf
    return _divergence(teacher / temperature, wide(scores) / temperature, absent) * temperature**2


def _divergence(first: Tensor, second: Tensor, absent: Tensor) -> Tensor:
    """The mean over queries of KL(softmax(first) || softmax(second)) over what is not absent."""
    wanted, given = among_present(first, absent), among_present(second, absent)
    return (wanted.exp() * (wanted - given)).sum(dim=1).mean()

"""Distillation: the student's scores of a query's documents are to be like a teacher's."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from retrieval.errors import InputError
from retrieval.training.losses.scores import among_present, wide

__all__ = ["dynamic_listwise", "in_batch_margin_mse", "kl_divergence", "margin_mse"]


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


def in_batch_margin_mse(scores: Tensor, teacher: Tensor) -> Tensor:
    """TAS-B's in-batch part: MarginMSE of each query's positive against every other passage of the batch.

    The mean of two halves, against the positives of the others and against all negatives, so that the fewer positives
    weigh as much. The teacher scores all of them, also those that are relevant by chance, so none is left out. The
    whole loss is MarginMSE of a query's own pairs, by another teacher, plus .75 of this. Source: Hofstätter et al.,
    "Efficiently teaching an effective dense retriever with balanced topic aware sampling" (SIGIR 2021).

    Args:
        scores: (b, b + b * k) the student's, of each query with b positives, its own in the column of its row, and
            then all negatives.
        teacher: (b, b + b * k) the teacher's of the same; no gradient goes into them.

    Returns:
        A scalar in float32. With one query only the negatives count, without negatives only the positives; 0 where
        there is nothing to compare with.
    """
    b, teacher = len(scores), teacher.detach()
    positive, wanted = scores.diagonal(), teacher.diagonal()
    others = ~torch.eye(b, dtype=torch.bool, device=scores.device)
    halves = []
    if b > 1:
        rest = (scores[:, :b][others].view(b, b - 1), teacher[:, :b][others].view(b, b - 1))
        halves.append(margin_mse(positive, rest[0], wanted, rest[1]))
    if scores.shape[1] > b:
        halves.append(margin_mse(positive, scores[:, b:], wanted, teacher[:, b:]))
    return torch.stack(halves).mean() if halves else wide(scores).sum() * 0


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


def dynamic_listwise(
    scores: Tensor,
    teacher: Tensor,
    *,
    kl_weight: float,
    kl_direction: Literal["teacher-student", "student-teacher"] = "teacher-student",
    teacher_grad: bool = False,
) -> Tensor:
    """RocketQAv2: -log a at the positive + kl_weight * KL(a || b), each the mean over queries.

    a is the softmax of the teacher's scores of a list, a cross-encoder that is trained by the first term, and b that of
    the student's, a dual encoder that follows it by the second. Source: Ren et al., "RocketQAv2: a joint training
    method for dense passage retrieval and passage re-ranking" (EMNLP 2021), whose published code hides two things. Its
    divergence has no gradient for the first argument, though nothing detaches it: the teacher learns from judgements
    alone, as here unless teacher_grad says otherwise. And it divides the divergence by the length of the list:
    kl_weight = 1 / n is that.

    Args:
        scores: (b, n) the student's, the positive in column 0.
        teacher: (b, n) the teacher's; -inf leaves a document out of both, other than the positive.
        kl_weight: of the divergence, which is a sum over the list.
        kl_direction: "teacher-student" is KL(a || b), "student-teacher" KL(b || a).
        teacher_grad: whether the divergence trains the teacher as well.

    Returns:
        A scalar in float32, at least 0.

    Raises:
        InputError: the direction is neither of the two.
    """
    if kl_direction not in ("teacher-student", "student-teacher"):
        raise InputError(f"kl_direction must be teacher-student or student-teacher; got {kl_direction!r}")
    judged = functional.cross_entropy(wide(teacher), torch.zeros(len(teacher), dtype=torch.long, device=teacher.device))
    wanted, absent = teacher if teacher_grad else teacher.detach(), teacher == -torch.inf
    sides = (wanted, scores) if kl_direction == "teacher-student" else (scores, wanted)
    return judged + kl_weight * _divergence(*sides, absent)


def _divergence(first: Tensor, second: Tensor, absent: Tensor) -> Tensor:
    """The mean over queries of KL(softmax(first) || softmax(second)) over what is not absent."""
    wanted, given = among_present(first, absent), among_present(second, absent)
    return (wanted.exp() * (wanted - given)).sum(dim=1).mean()

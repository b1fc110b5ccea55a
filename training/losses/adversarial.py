"""AR2: a retriever and a ranker that are trained against each other.

The ranker learns to tell the positive from what the retriever finds, and the retriever to find what deceives the
ranker. Lists have the positive in column 0, and a score of -inf leaves a document out, other than the positive.
Source of all: Zhang et al., "Adversarial retriever-ranker for dense text retrieval" (ICLR 2022).
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from retrieval.errors import InputError
from retrieval.training.losses.scores import among_present, wide

__all__ = ["adversarial", "ar2_retriever", "distilled", "ranker", "rewards"]


def ranker(scores: Tensor) -> Tensor:
    """The ranker's loss: the mean over queries of -log softmax(scores) at column 0.

    Args:
        scores: (b, n) the ranker's scores of each query's list.

    Returns:
        A scalar in float32.
    """
    return functional.cross_entropy(wide(scores), torch.zeros(len(scores), dtype=torch.long, device=scores.device))


def rewards(ranker_scores: Tensor) -> Tensor:
    """r_i = log(exp(D_0) / (exp(D_0) + exp(D_i))): how sure the ranker is that the positive beats document i.

    Computed as log sigmoid(D_0 - D_i), which does not overflow and falls with D_i without end; the published code adds
    1e-7 to the probability, so that no reward is below -16.

    Args:
        ranker_scores: (b, n) the ranker's.

    Returns:
        (b, n) in float32, at most 0, without a gradient; log 1/2 in column 0, and 0 where a document is left out.
    """
    known = wide(ranker_scores.detach())
    return functional.logsigmoid(known[:, :1] - known)


def adversarial(retriever_scores: Tensor, rewards: Tensor) -> Tensor:
    """The mean over queries of the sum over documents of r_i log p_i, p being the softmax of the retriever's scores.

    Both factors are at most 0: the loss is a cross-entropy with the weights -r_i, least at p_i = r_i / sum of r. It
    raises p most where r is lowest, for the documents that deceive the ranker.

    Args:
        retriever_scores: (b, n) the retriever's, scaled as it is wanted (the published code can divide by the root of
            the dimension).
        rewards: (b, n) of `rewards`.

    Returns:
        A scalar in float32, at least 0.
    """
    chances = among_present(retriever_scores, retriever_scores == -torch.inf)
    return (rewards.detach() * chances).sum(dim=1).mean()


def distilled(retriever_scores: Tensor, ranker_scores: Tensor, *, temperature: float = 1.0) -> Tensor:
    """The mean over queries of the sum over documents of -t_i log p_i, t being softmax(ranker's scores / temperature).

    The temperature divides the ranker's scores alone. Least where p equals t, and there as large as t's entropy.

    Args:
        retriever_scores: (b, n) the retriever's.
        ranker_scores: (b, n) the ranker's; no gradient goes into them.
        temperature: what the ranker's are divided by.

    Returns:
        A scalar in float32, at least 0.
    """
    ranker_scores = ranker_scores.detach()
    absent = (ranker_scores == -torch.inf) | (retriever_scores == -torch.inf)
    chances = among_present(retriever_scores, absent)
    return -(among_present(wide(ranker_scores) / temperature, absent).exp() * chances).sum(dim=1).mean()


def ar2_retriever(
    retriever_scores: Tensor,
    ranker_scores: Tensor,
    *,
    adversarial_weight: float = 0.5,
    temperature: float = 1.0,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """The retriever's loss: lambda * adversarial + (1 - lambda) * distilled.

    Both are means over queries. The published code averages the second and sums the first, so that lambda means
    something else at every size of a batch: reduction "sum" is that.

    Args:
        retriever_scores: (b, n) the retriever's.
        ranker_scores: (b, n) the ranker's; no gradient goes into them.
        adversarial_weight: lambda, 0..1.
        temperature: what the ranker's scores are divided by where they are distilled.
        reduction: of the adversarial part over queries.

    Returns:
        A scalar in float32, at least 0.

    Raises:
        InputError: the reduction is neither of the two.
    """
    if reduction not in ("mean", "sum"):
        raise InputError(f"reduction must be mean or sum; got {reduction!r}")
    listed = retriever_scores.masked_fill(ranker_scores == -torch.inf, -torch.inf)
    times = len(listed) if reduction == "sum" else 1
    deceiving = adversarial(listed, rewards(ranker_scores)) * times
    taught = distilled(listed, ranker_scores, temperature=temperature)
    return adversarial_weight * deceiving + (1 - adversarial_weight) * taught

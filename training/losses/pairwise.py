"""Losses of pairs: of two documents of a query, the better one is to score higher."""

import torch
from torch import Tensor
from torch.nn import functional

from retrieval.errors import InputError
from retrieval.training.losses.scores import contrast_logits, wide

__all__ = ["lambda_rank", "pairwise_softmax", "rank_net"]


def pairwise_softmax(
    scores: Tensor,
    targets: Tensor,
    known: Tensor | None = None,
    *,
    temperature: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """STAR: the mean over pairs of log(1 + exp(s_ij - s_i+)), a softmax over a positive and one negative.

    Its two blocks, the batch's positives and all hard negatives, stand side by side in the columns: the mean is over
    the pairs of both, not of the means of each block or of each query. Unlike in `contrastive`, the gradient of an easy
    negative does not shrink beside a hard one. Source: Zhan et al., "Optimizing dense retrieval model training with
    hard negatives" (SIGIR 2021).

    Args:
        scores: (b, n), of each query with each document; -inf leaves a document out.
        targets: (b,) int64, the column of each query's positive.
        known: (b, n) bool, true where a document is known to be relevant; such a column makes no pair.
        temperature: what scores are divided by.
        weights: (b, n) in 0..1, w in log(1 + w exp(s_ij - s_i+)); 0 leaves a pair out, the target's is not read. No
            gradient goes into them.

    Returns:
        A scalar in float32; 0 where no pair is left.
    """
    logits = contrast_logits(scores, targets, known, temperature, weights)
    costs = functional.softplus(logits - logits.gather(1, targets[:, None]))
    pairs = (logits > -torch.inf) & ~functional.one_hot(targets, scores.shape[1]).bool()
    return _mean_over(costs, pairs)


def lambda_rank(scores: Tensor, relevant: Tensor, present: Tensor | None = None, *, metric_cut: int) -> Tensor:
    """ADORE: pairs of a relevant document i and another j, weighted by what their exchange does to 1 / rank.

    With g(r) = 1 / r for ranks r up to metric_cut and 0 beyond, the loss of a query is the mean over its pairs of
    |g(i) - g(j)| log(1 + exp(s_j - s_i)), and that of the batch the mean over its queries. The published code counts
    each pair from both sides and halves the sum, which is the same. Where no cut is named it sets every g to 0 and
    learns nothing, and an early version of it has one of the two sides reversed, which draws all scores together: here
    the cut must be named, and there is one side. Source: Zhan et al., "Optimizing dense retrieval model training with
    hard negatives" (SIGIR 2021); Burges, "From RankNet to LambdaRank to LambdaMART" (2010).

    Args:
        scores: (b, m) of each query's documents, the first column being that of rank 1. The order is that of the
            search and is not read off the scores; a positive that was not found stands behind all that were.
        relevant: (b, m) bool.
        present: (b, m) bool, false where a list is padded; None if all are there.
        metric_cut: the last rank that counts.

    Returns:
        A scalar in float32; a query without a pair counts 0. Takes b * m * m numbers of memory.

    Raises:
        InputError: metric_cut is below 1.
    """
    if metric_cut < 1:
        raise InputError(f"metric_cut must be at least 1; got {metric_cut!r}")
    there = torch.ones_like(relevant) if present is None else present
    ranks = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    costs = _pair_costs(scores.masked_fill(~there, 0.0))
    gains = (1 / ranks.to(costs.dtype)).masked_fill(ranks > metric_cut, 0.0)
    weighed = costs * (gains[:, None] - gains[None, :]).abs()
    pairs = (relevant & there)[:, :, None] & (~relevant & there)[:, None, :]
    return (weighed.masked_fill(~pairs, 0.0).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)).mean()


def rank_net(scores: Tensor, teacher: Tensor) -> Tensor:
    """RankNet: the mean over pairs of log(1 + exp(s_j - s_i)) where the teacher puts document i before j.

    Only the teacher's order counts. Two that it holds to be equal make no pair. The mean is over the pairs of all
    queries, so a longer list weighs more. Source: Burges et al., "Learning to rank using gradient descent" (ICML
    2005); over a teacher's rankings, Schlatt et al., "Rank-DistiLLM" (ECIR 2025).

    Args:
        scores: (b, n) of each query's documents.
        teacher: (b, n) the teacher's scores, or the negatives of its ranks: more is better. -inf or NaN leaves a
            document out. No gradient goes into them.

    Returns:
        A scalar in float32; 0 where there is no pair. Takes b * n * n numbers of memory.
    """
    teacher = teacher.detach()
    there = teacher > -torch.inf
    pairs = (teacher[:, :, None] > teacher[:, None, :]) & there[:, :, None] & there[:, None, :]
    return _mean_over(_pair_costs(scores.masked_fill(~there, 0.0)), pairs)


def _pair_costs(scores: Tensor) -> Tensor:
    """(b, n, n): log(1 + exp(s_j - s_i)) at i, j."""
    scores = wide(scores)
    return functional.softplus(scores[:, None, :] - scores[:, :, None])


def _mean_over(costs: Tensor, pairs: Tensor) -> Tensor:
    return costs.masked_fill(~pairs, 0.0).sum() / pairs.sum().clamp(min=1)

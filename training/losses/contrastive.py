"""The contrastive loss: a query's positive against every other document in sight."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["contrastive"]


def contrastive(scores: Tensor, targets: Tensor, known: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
    """InfoNCE: the mean over queries of -log softmax(scores / temperature) at the target.

    The columns are the documents of the whole batch, so that each query is held against the positives and the hard
    negatives of the others as well. Source: van den Oord et al., "Representation learning with contrastive predictive
    coding" (2018); with the batch's documents, Karpukhin et al., "Dense passage retrieval" (EMNLP 2020).

    Args:
        scores: (b, n), of each query with each document.
        targets: (b,) int64, the column of each query's positive.
        known: (b, n) bool, true where a document is known to be relevant; such a column is no negative and is left
            out, unless it is the target.
        temperature: what scores are divided by.

    Returns:
        A scalar in float32; 0 where nothing is left beside the targets.
    """
    logits = scores.float() / temperature
    if known is not None:
        target = functional.one_hot(targets, scores.shape[1]).bool()
        logits = logits.masked_fill(known & ~target, -torch.inf)
    return functional.cross_entropy(logits, targets)

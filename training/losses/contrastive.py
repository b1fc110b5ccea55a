"""The contrastive loss: a query's positive against every other document in sight."""

from torch import Tensor
from torch.nn import functional

from retrieval.training.losses.scores import contrast_logits

__all__ = ["contrastive"]


def contrastive(
    scores: Tensor,
    targets: Tensor,
    known: Tensor | None = None,
    *,
    temperature: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """InfoNCE: the mean over queries of -log softmax(scores / temperature) at the target.

    The columns are the documents of the whole batch, so that each query is held against the positives and the hard
    negatives of the others as well. A weight w counts a negative as w of one: w * exp(score / temperature) stands in
    the denominator. Source: van den Oord et al., "Representation learning with contrastive predictive coding" (2018);
    with the batch's documents, Karpukhin et al., "Dense passage retrieval" (EMNLP 2020).

    Args:
        scores: (b, n), of each query with each document; -inf leaves a document out.
        targets: (b,) int64, the column of each query's positive.
        known: (b, n) bool, true where a document is known to be relevant; such a column is no negative and is left
            out, unless it is the target.
        temperature: what scores are divided by.
        weights: (b, n) in 0..1, how much each document counts as a negative; 0 leaves it out, the target's is taken
            as 1. No gradient goes into them.

    Returns:
        A scalar in float32; 0 where nothing is left beside the targets.
    """
    return functional.cross_entropy(contrast_logits(scores, targets, known, temperature, weights), targets)

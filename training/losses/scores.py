"""What losses do with scores before they compare them."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["among_present", "contrast_logits", "wide"]


def wide(values: Tensor) -> Tensor:
    """The values in float32, or in float64 if that is what they are in."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def among_present(scores: Tensor, absent: Tensor) -> Tensor:
    """Log-softmax over the documents of each query that are there.

    Args:
        scores: (b, n) of any type.
        absent: (b, n) bool, what is left out; at least one document of each query is there.

    Returns:
        (b, n), at most 0; exactly 0 where a document is absent, so that a product with it vanishes.
    """
    logits = wide(scores).masked_fill(absent, -torch.inf)
    return functional.log_softmax(logits, dim=1).masked_fill(absent, 0.0)


def contrast_logits(
    scores: Tensor, targets: Tensor, known: Tensor | None, temperature: float, weights: Tensor | None
) -> Tensor:
    """Scores / temperature + log(weights), where a document that is no negative and not the target has -inf.

    Args:
        scores: (b, n), of each query with each document.
        targets: (b,) int64, the column of each query's positive; known and weights do not touch it.
        known: (b, n) bool, true where a document is known to be relevant.
        temperature: what scores are divided by.
        weights: (b, n) in 0..1, constants; 0 leaves a document out.

    Returns:
        (b, n).
    """
    logits = wide(scores) / temperature
    target = functional.one_hot(targets, scores.shape[1]).bool()
    if known is not None:
        logits = logits.masked_fill(known & ~target, -torch.inf)
    if weights is not None:
        logits = logits + wide(weights.detach()).log().masked_fill(target, 0.0)
    return logits

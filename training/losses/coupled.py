"""Coupled estimation of relevance and selection, against the bias of pooled judgements.

A RECONSTRUCTION. The idea is that of Cai et al., "Hard negatives or false negatives: correcting pooling bias in
training neural ranking models" (CIKM 2022): a document is judged only if the pool selected it, and a model of relevance
and one of selection each correct the other's bias. The formulas here are derived for this project, after the dual
learning algorithm of Ai et al., "Unbiased learning to rank with unbiased propensity estimation" (SIGIR 2018). They are
not the text of the authors and do not reproduce their results.

Lists have the judged positive in column 0. Weights are estimates, and no gradient goes into them.
"""

import torch
from torch import Tensor
from torch.nn import functional

from retrieval.training.losses.scores import contrast_logits, wide

__all__ = ["cet_style_loss", "cet_style_negative_weights", "cet_style_probability", "cet_style_propensity"]


def cet_style_propensity(others: Tensor, reference: Tensor, *, clip: tuple[float, float] = (0.1, 10.0)) -> Tensor:
    """Inverse propensity of the positive, P_ref / P_0 with P the softmax of the other model's scores.

    The softmax' denominator cancels, so it is exp(s_ref - s_0). A positive that the other model finds unlikely counts
    for more, one that it finds as likely as the reference counts 1. Derived for this project, not the authors' text.

    Args:
        others: (b, n) scores of the other model, as its loss scales them: of the selection model for the loss of
            relevance, and the reverse.
        reference: (b,) int64, the column that the retriever ranked first.
        clip: the least and the most that is returned; a rare positive would rule the batch otherwise.

    Returns:
        (b,) in float32, without a gradient.
    """
    known = wide(others.detach())
    return (known.gather(1, reference[:, None])[:, 0] - known[:, 0]).exp().clamp(*clip)


def cet_style_probability(scores: Tensor) -> Tensor:
    """P_i = sigmoid(s_i - s_0): a probability of each document by itself.

    A softmax over a list is none: it sums to 1, so that of two relevant documents neither can have more than all, and
    it falls with the length of the list. The positive is known to be relevant and to have been selected, and says what
    score such a document has; one that scores alike has 1/2, which is cautious. Derived for this project.

    Args:
        scores: (b, n) of either model.

    Returns:
        (b, n) in float32, in 0..1, without a gradient; 1/2 in column 0.
    """
    known = wide(scores.detach())
    return (known - known[:, :1]).sigmoid()


def cet_style_negative_weights(relevance: Tensor, selection: Tensor, *, floor: float = 0.1) -> Tensor:
    """w_i = 1 - P(relevant) (1 - P(selected)), but at least the floor: how much a document counts as a negative.

    Likely relevant and unlikely to have been selected, it is probably relevant and was not judged. What was likely to
    be selected was likely judged, and stays a negative however relevant it looks. Derived for this project, not the
    authors' text.

    Args:
        relevance: (b, n) in 0..1, P(relevant) of each document.
        selection: (b, n) in 0..1, P(selected).
        floor: the least weight of a negative, 0..1.

    Returns:
        (b, n) in float32, floor..1, without a gradient; 1 in column 0.
    """
    missed = wide(relevance.detach()) * (1 - wide(selection.detach()))
    weights = (1 - missed).clamp(floor, 1.0)
    return torch.cat([torch.ones_like(weights[:, :1]), weights[:, 1:]], dim=1)


def cet_style_loss(
    scores: Tensor, propensities: Tensor, weights: Tensor | None = None, *, temperature: float = 1.0
) -> Tensor:
    """The mean over queries of -v log softmax(scores / temperature + log w) at column 0.

    v is the inverse propensity and w the weights of negatives. With all of them 1 it is the usual softmax loss, which
    is how training starts. Derived for this project, not the authors' text.

    Args:
        scores: (b, n) of the model that learns; -inf leaves a document out.
        propensities: (b,) v, of `cet_style_propensity` from the other model.
        weights: (b, n) w in 0..1; 0 leaves a document out, column 0 is taken as 1. None: all 1, as for the loss of the
            selection model, for which what was not judged was not selected.
        temperature: what scores are divided by.

    Returns:
        A scalar in float32, at least 0.
    """
    targets = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    logits = contrast_logits(scores, targets, None, temperature, weights)
    return (wide(propensities.detach()) * functional.cross_entropy(logits, targets, reduction="none")).mean()

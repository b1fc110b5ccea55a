"""PAIR: a positive passage is to be closer to its query than to negative passages."""

from torch import Tensor

from retrieval.training.losses.contrastive import contrastive

__all__ = ["pair"]


def pair(
    query_scores: Tensor,
    passage_scores: Tensor,
    targets: Tensor,
    known: Tensor | None = None,
    *,
    alpha: float = 0.1,
    temperature: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """(1 - alpha) L_Q + alpha L_P, of a query against passages and of its positive against the same.

    L_Q = -log exp s(q, p+) / (exp s(q, p+) + sum over p- of exp s(q, p-)) is `contrastive`, and
    L_P = -log exp s(p+, q) / (exp s(p+, q) + sum over p- of exp s(p+, p-)). Queries and passages share one encoder,
    so s(p+, q) = s(q, p+). It is for the first stage; the second has alpha = 0, which is L_Q. Source: Ren et al.,
    "PAIR: leveraging passage-centric similarity relation" (Findings of ACL 2021).

    Args:
        query_scores: (b, n) of each query with each passage.
        passage_scores: (b, n) of each query's positive with each passage. The target's column, where it meets itself,
            is not read: s(q, p+) takes its place. None of it is read where alpha is 0.
        targets: (b,) int64, the column of each query's positive.
        known: (b, n) bool, true where a passage is known to be relevant; it is a negative of neither part.
        alpha: of L_P, 0..1.
        temperature: what scores are divided by.
        weights: (b, n) in 0..1, how much each passage counts as a negative, in both parts.

    Returns:
        A scalar in float32.
    """
    from_query = contrastive(query_scores, targets, known, temperature=temperature, weights=weights)
    if not alpha:
        return from_query
    columns = targets[:, None]
    passages = passage_scores.scatter(1, columns, query_scores.gather(1, columns).to(passage_scores.dtype))
    from_passage = contrastive(passages, targets, known, temperature=temperature, weights=weights)
    return (1 - alpha) * from_query + alpha * from_passage

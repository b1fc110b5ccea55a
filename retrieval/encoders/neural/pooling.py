"""Token states to weights over the vocabulary, without ever holding a weight for each token and each word."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

__all__ = ["splade_pool", "splade_sum"]


def splade_pool(
    hidden: Tensor, texts: Tensor, n_texts: int, weight: Tensor, bias: Tensor | None, *, tokens_at_once: int = 512
) -> Tensor:
    """(n_texts, V) weights log(1 + relu(max over a text's tokens of hidden @ weight.T + bias)), differentiable.

    The logarithm and the rectifier rise, so the maximum can be taken before them; and the bias is the same for all
    tokens, so it can be added after. What is remembered for the gradient is the token of each maximum; where a weight
    is zero there is none. The product runs in autocast's type, the rest in float32 (float64 if the states are that).

    Args:
        hidden: (tokens, H) states just before the projection.
        texts: (tokens,) int64, the text of each token, ascending.
        n_texts: how many texts there are; one without tokens gets zeros.
        weight: (V, H).
        bias: (V,) or None; -inf keeps a column at zero.
        tokens_at_once: rows of the product that exist at any moment.

    Source: Formal et al., SPLADE v2 (2021), equation 6.
    """
    pooled: Tensor = _MaxPool.apply(hidden, weight, bias, texts, n_texts, tokens_at_once)  # type: ignore[no-untyped-call]
    return pooled


def splade_sum(
    hidden: Tensor,
    texts: Tensor,
    n_texts: int,
    weight: Tensor,
    bias: Tensor | None,
    *,
    twice: bool = False,
    tokens_at_once: int = 512,
) -> Tensor:
    """(n_texts, V) sums over a text's tokens of log(1 + relu(hidden @ weight.T + bias)), differentiable.

    Arguments as those of `splade_pool`; `twice` takes log(1 + ...) of each token's weight once more before the sum. A
    gradient computes each part of the product again.

    Source: Formal et al., SPLADE (2021), equation 1.
    """
    sums = hidden.new_zeros((n_texts, len(weight)), dtype=_exact(hidden))

    def rectified(states: Tensor) -> Tensor:
        weights = torch.log1p(torch.relu(linear(states, weight, bias).to(sums.dtype)))
        return torch.log1p(weights) if twice else weights

    for start in range(0, len(hidden), tokens_at_once):
        part = slice(start, start + tokens_at_once)
        sums = sums.index_add(0, texts[part], checkpoint(rectified, hidden[part], use_reentrant=False))
    return sums


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, texts: Tensor, n_texts: int, tokens_at_once: int
    ) -> Tensor:
        ends = list(accumulate(torch.bincount(texts, minlength=n_texts).tolist()))
        wants_gradient = any(ctx.needs_input_grad[:3])
        kind = _product_type(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            top, tokens = _largest(hidden.to(kind), weight.to(kind), ends, tokens_at_once, wants_gradient)
        weights = (top if bias is None else top + bias).relu_().log1p_()
        ctx.save_for_backward(hidden, weight, weights, tokens)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, weights, tokens = ctx.saved_tensors
        # The slope of log(1 + x) is 1 / (1 + x), and that is exp(-w).
        slopes = torch.where(weights > 0, gradient * torch.exp(-weights), 0)
        rows, columns = slopes.nonzero(as_tuple=True)
        places, values = torch.stack([tokens[rows, columns].long(), columns]), slopes[rows, columns]
        of_hidden = _times(places, values, hidden, weight) if ctx.needs_input_grad[0] else None
        of_weight = _times(places.flip(0), values, weight, hidden) if ctx.needs_input_grad[1] else None
        of_bias = slopes.sum(0) if ctx.needs_input_grad[2] else None
        return of_hidden, of_weight, of_bias, None, None, None


def _largest(
    hidden: Tensor, weight: Tensor, ends: list[int], tokens_at_once: int, with_tokens: bool
) -> tuple[Tensor, Tensor | None]:
    """(n, V) largest products of each text's tokens with each row of `weight`, and int32 of which token each is."""
    shape = (len(ends), len(weight))
    top = hidden.new_full(shape, -torch.inf, dtype=_exact(hidden))
    tokens = torch.zeros(shape, dtype=torch.int32, device=hidden.device) if with_tokens else None
    for start in range(0, len(hidden), tokens_at_once):
        stop = min(start + tokens_at_once, len(hidden))
        products = linear(hidden[start:stop], weight)
        for text, first, end in _parts(ends, start, stop):
            part = products[first - start : end - start]
            if tokens is None:
                torch.maximum(top[text], part.amax(0).to(top.dtype), out=top[text])
            else:
                largest, where = part.max(0)
                # The first of equal tokens stays.
                tokens[text] = torch.where(largest > top[text], where + first, tokens[text])
                torch.maximum(top[text], largest.to(top.dtype), out=top[text])
    return top, tokens


def _parts(ends: list[int], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The texts whose tokens are among start..stop, and which of those are theirs."""
    text = bisect_right(ends, start)
    while start < stop:
        end = min(ends[text], stop)
        if start < end:
            yield text, start, end
        start, text = end, text + 1


def _times(places: Tensor, values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The sparse matrix with those values, as high as `rows` and as wide as `columns` is high, times `columns`."""
    shape = (len(rows), len(columns))
    slopes = torch.sparse_coo_tensor(places, values, shape, check_invariants=False)
    with torch.autocast(values.device.type, enabled=False):
        product: Tensor = torch.sparse.mm(slopes, columns.to(values.dtype))
    return product


def _product_type(hidden: Tensor) -> torch.dtype:
    """What the product is computed in: autocast's type where that is on."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def _exact(hidden: Tensor) -> torch.dtype:
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32

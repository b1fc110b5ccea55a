"""What models of query and passage share: windows of long passages, and scores as other runtimes give them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Pair", "RepeatedScores", "in_float32", "in_sums", "in_windows", "rows_of"]

Pair = tuple[str, str]

# A head's last step: a score, or a logit for and one against.
_LABELS = (1, 2)
# A window is at least this share of what is read: behind a longer query they would be very many, of a few tokens each.
_LEAST_WINDOW = 1 / 4


class RepeatedScores(nn.Module):
    """The scores of a model of pairs once for each token of a pair: runtimes run what has a row for every token."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """(n, length, 1) float32."""
        scores: Tensor = self.model(features)
        return scores[:, None, None].expand(*features["input_ids"].shape, 1)


@contextmanager
def in_sums(model: nn.Module) -> Iterator[None]:
    """With the linear maps to a score computed as sums of products.

    In bfloat16, of a runtime or of autocast, the result of a linear map has eight bits, in which passages tie; a sum of
    products is computed in float32.
    """
    last = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.out_features in _LABELS]
    hooks = [layer.register_forward_hook(_sum_of_products) for layer in last]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _sum_of_products(layer: nn.Linear, given: tuple[Any, ...], found: Tensor) -> Tensor:
    products: Tensor = (given[0].unsqueeze(-2) * layer.weight).sum(-1)
    return products if layer.bias is None else products + layer.bias


def in_float32(module: nn.Module) -> None:
    """Let a part of a model compute in float32, whatever it is given."""
    module.float().register_forward_pre_hook(_exact)


def _exact(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.float() if isinstance(value, Tensor) and value.is_floating_point() else value for value in given)


def in_windows(tokenizer: Any, pairs: Sequence[Pair], room: int) -> list[list[str]]:
    """The passage of each pair in pieces that are read whole beside the query; neighbours overlap by half.

    One piece, the passage as it is, where it is no longer; so it is where the query leaves less than a quarter of the
    room, or the tokenizer does not tell which characters a token stands for.

    Args:
        tokenizer: of transformers.
        pairs: query and passage of each.
        room: tokens of query and passage together.
    """
    found = [[passage] for _, passage in pairs]
    if not pairs or not getattr(tokenizer, "is_fast", False):
        return found
    plain = {"add_special_tokens": False, "truncation": False, "verbose": False}
    queries = list(dict.fromkeys(query for query, _ in pairs))
    lengths = dict(zip(queries, map(len, tokenizer(queries, **plain)["input_ids"]), strict=True))
    # A token stands for a byte at least, so that most passages need not be tokenised twice.
    long = [
        place
        for place, (query, passage) in enumerate(pairs)
        if len(passage.encode()) > room - lengths[query] >= max(1, room * _LEAST_WINDOW)
    ]
    passages = [pairs[place][1] for place in long]
    tokens = tokenizer(passages, return_offsets_mapping=True, **plain)["offset_mapping"] if long else []
    for place, own in zip(long, tokens, strict=True):
        query, passage = pairs[place]
        found[place] = _pieces(passage, own, room - lengths[query])
    return found


def _pieces(passage: str, tokens: Sequence[tuple[int, int]], room: int) -> list[str]:
    """A passage, of whose tokens the characters are known, in pieces of at most so many tokens."""
    if len(tokens) <= room:
        return [passage]
    step = max(1, room // 2)
    starts = range(0, len(tokens) - room + step, step)
    return [passage[tokens[start][0] : tokens[min(start + room, len(tokens)) - 1][1]] for start in starts]


def rows_of(rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
    """(n, longest) int64, shorter rows filled up with the value."""
    width = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows], dtype=torch.int64).view(
        len(rows), width
    )

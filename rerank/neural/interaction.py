"""Passages of a query side by side: each attends to its own tokens, and to one state of every other passage.

Source: Schlatt et al., "Set-Encoder: permutation-invariant inter-passage attention for listwise passage re-ranking with
cross-encoders" (ECIR 2025).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retrieval.encoders.neural.attention import attend

__all__ = ["States", "others", "set_states"]

Features = Mapping[str, Tensor]


class States(NamedTuple):
    """What passages came to, in float32.

    Attributes:
        first: (n, H) the last states of their first tokens.
        seen: (n, H) the states that the others attended to in the layer before the last (of two layers in the last),
            which are of what a passage says rather than of how well it answers.
    """

    first: Tensor
    seen: Tensor


def set_states(backbone: Any, blocks: Sequence[Features], place: int) -> States:
    """The states of the passages of all blocks, block by block.

    All blocks go through a layer before any goes through the next, so that a set may be spread over blocks of passages
    of like lengths: what a block holds decides memory and time, and nothing else.

    Args:
        backbone: of transformers, in the shape of BERT or ELECTRA.
        blocks: `input_ids`, `attention_mask`, `token_type_ids` (n, length) each, and `sets` (n,), which tells for each
            passage of which set it is, over all blocks.
        place: of the token whose state the other passages of a set attend to.
    """
    neighbours = others([block["sets"] for block in blocks])
    states = [_embedded(backbone, block) for block in blocks]
    masks = [
        torch.cat([block["attention_mask"].bool(), there], dim=1)[:, None, None]
        for block, (_, there) in zip(blocks, neighbours, strict=True)
    ]
    layers = backbone.encoder.layer
    seen_by = min(max(1, len(layers) - 2), len(layers) - 1)  # what enters the first layer is the same of all
    for number, layer in enumerate(layers):
        attention = layer.attention.self
        marks = torch.cat([state[:, place] for state in states])
        keys, values = attention.key(marks), attention.value(marks)
        if number == seen_by:
            seen = marks
        is_last = number + 1 == len(layers)  # of which only the first token's state is read
        states = [
            _through(layer, state[:, :1] if is_last else state, state, mask, keys[rows], values[rows])
            for state, mask, (rows, _) in zip(states, masks, neighbours, strict=True)
        ]
    return States(torch.cat([state[:, 0] for state in states]).float(), seen.float())


def others(sets: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Where the passages of each passage's set stand among all, (n, w), and which are there and not its own, (n, w).

    Args:
        sets: (n,) int64 of each block, any number for each set.

    Returns:
        Of each block, with w passages in the largest set; none, w = 0, where no set has two.
    """
    together = torch.cat(list(sets))
    _, which, sizes = torch.unique(together, return_inverse=True, return_counts=True)
    width = int(sizes.max()) if len(sizes) else 0
    order = which.argsort(stable=True)
    within = torch.arange(len(order), device=order.device) - (sizes.cumsum(0) - sizes)[which[order]]
    table = torch.full((len(sizes), width), -1, device=order.device)
    table[which[order], within] = order
    rows = table[which] if width > 1 else table.new_zeros((len(which), 0))
    there = (rows >= 0) & (rows != torch.arange(len(rows), device=rows.device)[:, None])
    lengths = [len(block) for block in sets]
    return list(zip(torch.split(rows.clamp(min=0), lengths), torch.split(there, lengths), strict=True))


def _embedded(backbone: Any, block: Features) -> Tensor:
    """(n, length, H); positions are counted in each passage."""
    states = backbone.embeddings(input_ids=block["input_ids"], token_type_ids=block["token_type_ids"])
    project = getattr(backbone, "embeddings_project", None)  # ELECTRA's embeddings may be smaller
    found: Tensor = project(states) if project is not None else states
    return found


def _through(layer: Any, asking: Tensor, states: Tensor, mask: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What a layer makes of the asking tokens, which attend to all states and to keys and values (n, w, H)."""
    own = layer.attention.self
    context = attend(
        _heads(own.query(asking), own),
        _heads(torch.cat([own.key(states), keys], dim=1), own),
        _heads(torch.cat([own.value(states), values], dim=1), own),
        mask,
        own.dropout.p if own.training else 0.0,
    )
    joined = layer.attention.output(context.transpose(1, 2).flatten(2), asking)
    found: Tensor = layer.output(layer.intermediate(joined), joined)
    return found


def _heads(states: Tensor, attention: Any) -> Tensor:
    """(n, heads, length, size) of (n, length, H)."""
    return states.view(*states.shape[:2], attention.num_attention_heads, -1).transpose(1, 2)

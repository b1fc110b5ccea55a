"""Passages of a query side by side: each attends to its own tokens, and to one state of every other passage.

Source: Schlatt et al., "Set-Encoder: permutation-invariant inter-passage attention for listwise passage re-ranking with
cross-encoders" (ECIR 2025).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from retrieval.encoders.neural.attention import attend
from retrieval.encoders.runtimes.bodies import Body

__all__ = ["LayerBodies", "States", "layers_of", "others", "set_states"]

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


class LayerBodies(NamedTuple):
    """The two parts of a layer: between them all blocks meet.

    Attributes:
        keys_values: `marks` (m, H), the states that other passages attend to, to their keys and values (m, 2 H).
        states: those of a block's tokens to those that come of them, see `_Layer`.
    """

    keys_values: Body
    states: Body


class _KeysValues(nn.Module):
    """Of one state of each passage what the others attend to.

    Args:
        attention: of a layer of transformers.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, features: Features) -> Tensor:
        """(m, 2 H), of `marks` (m, H)."""
        marks = features["marks"]
        return torch.cat([self.attention.key(marks), self.attention.value(marks)], dim=1)


class _Layer(nn.Module):
    """A layer of a backbone, by which passages attend to their own tokens and to one state of each of the others.

    Args:
        layer: of transformers.
        is_last: of which only the first token's state is read.
    """

    def __init__(self, layer: Any, *, is_last: bool) -> None:
        super().__init__()
        self.layer, self.is_last = layer, is_last

    def forward(self, features: Features) -> Tensor:
        """(n, length, H), or (n, 1, H) of the last layer.

        Args:
            features: `states` (n, length, H); `keys_values` (m, 2 H) of all passages, see `_KeysValues`; `rows` (n, w),
                where the passages of each passage's set stand among those; `mask` (n, 1, 1, length + w), which of its
                own tokens, and then of the others, are to be attended to.
        """
        states = features["states"]
        asking = states[:, :1] if self.is_last else states
        keys, values = (part[features["rows"]] for part in features["keys_values"].chunk(2, dim=1))
        return _through(self.layer, asking, states, features["mask"], keys, values)


def layers_of(backbone: Any) -> list[LayerBodies]:
    """All layers in their order, as modules."""
    layers = backbone.encoder.layer
    return [
        LayerBodies(_KeysValues(layer.attention.self), _Layer(layer, is_last=number + 1 == len(layers)))
        for number, layer in enumerate(layers)
    ]


def set_states(
    backbone: Any, blocks: Sequence[Features], place: int, layers: Sequence[LayerBodies] | None = None
) -> States:
    """The states of the passages of all blocks, block by block.

    All blocks go through a layer before any goes through the next, so that a set may be spread over blocks of passages
    of like lengths: what a block holds decides memory and time, and nothing else.

    Args:
        backbone: of transformers, in the shape of BERT or ELECTRA.
        blocks: `input_ids`, `attention_mask`, `token_type_ids` (n, length) each, and `sets` (n,), which tells for each
            passage of which set it is, over all blocks.
        place: of the token whose state the other passages of a set attend to.
        layers: what runs them; None stands for torch.
    """
    neighbours = others([block["sets"] for block in blocks])
    states = [_embedded(backbone, block) for block in blocks]
    masks = [
        torch.cat([block["attention_mask"].bool(), there], dim=1)[:, None, None]
        for block, (_, there) in zip(blocks, neighbours, strict=True)
    ]
    layers = layers or layers_of(backbone)
    seen_by = min(max(1, len(layers) - 2), len(layers) - 1)  # what enters the first layer is the same of all
    for number, layer in enumerate(layers):
        marks = torch.cat([state[:, place] for state in states])
        if number == seen_by:
            seen = marks
        keys_values = layer.keys_values({"marks": marks})
        states = [
            layer.states({"states": state, "keys_values": keys_values, "rows": rows, "mask": mask})
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

"""Pairs of query and document through a cross-encoder that is being trained, in batches of tokens."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from retrieval.encoders.runtimes.pipeline import Batching, tokenized_batches
from retrieval.rerank.cross_encoder import characters
from retrieval.rerank.neural.cross_encoder import CrossEncoder
from retrieval.training.batches import Batch

__all__ = ["batching", "in_order", "list_pairs", "pair_batches"]

# Padded tokens that go through the model together: a step's pairs are of very different lengths.
_CPU_TOKENS, _GPU_TOKENS = 4096, 32_768


def batching(model: nn.Module) -> Batching:
    """How much goes through the model together where it is."""
    is_cpu = next(model.parameters()).device.type == "cpu"
    return Batching(tokens=_CPU_TOKENS if is_cpu else _GPU_TOKENS)


def list_pairs(batch: Batch, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Each query with its positive and its negatives, one query after the other: b * (1 + k) pairs."""
    rows = batch.own(torch.tensor(batch.rows).expand(len(batch.examples), -1))
    return [
        (example.query, texts[row]) for example, own in zip(batch.examples, rows.tolist(), strict=True) for row in own
    ]


def pair_batches(
    model: CrossEncoder, pairs: Sequence[tuple[str, str]], length: int
) -> tuple[list[int], list[dict[str, Any]]]:
    """Features of the pairs, cut at `length` tokens, on the model's device; and where each row's pair stands."""
    device = next(model.parameters()).device

    def tokenize(some: list[tuple[str, str]]) -> dict[str, Any]:
        return dict(model.tokenize(some, length))

    places, features = [], []
    for some, found in tokenized_batches(pairs, tokenize, batching(model), characters):
        places += some
        features.append({name: values.to(device) for name, values in found.items()})
    return places, features


def in_order(parts: Sequence[Tensor], places: Sequence[int]) -> Tensor:
    """(n,) what batches came to, in the order of the pairs."""
    together = torch.cat(list(parts))
    return together[torch.tensor(places).argsort().to(together.device)]

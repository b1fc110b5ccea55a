"""Modules as runtimes take them: tensors in, the states of tokens out."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Positional", "TokenStates"]


class TokenStates(nn.Module):
    """A Transformer of sentence-transformers, as features to states in float32, whatever it computes in.

    Args:
        transformer: the first module of a model.
    """

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, features: Mapping[str, Any]) -> Tensor:
        """(n, length, H) float32."""
        states: Tensor = self.transformer(dict(features))["token_embeddings"]
        return states.to(torch.float32)


class Positional(nn.Module):
    """A module that takes features by name, as one that takes tensors by place."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *tensors: Tensor) -> Tensor:
        """What the module makes of them."""
        states: Tensor = self.module(dict(zip(self.names, tensors, strict=True)))
        return states

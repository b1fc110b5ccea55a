"""A language model whose forward pass stops at the states that its vocabulary projection would read."""

from typing import Any

import torch
from torch import Tensor, nn

from retrieval.errors import ModelError

__all__ = ["Headless"]


class Headless(nn.Module):
    """Any language model of transformers, less its last step; that step's parameters stay where they were.

    Tying, saving and adapters see the model unchanged: only what the projection's module returns is another.

    Raises:
        ModelError: the model has no such projection, or its logits are more than that projection of the states.
    """

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        projection = model.get_output_embeddings()
        if getattr(projection, "weight", None) is None:
            raise ModelError(f"model {name!r} has no projection onto its vocabulary", hint="name a language model")
        _check(model, projection, name)
        projection.forward = _as_it_is
        self.model = model

    @property
    def weight(self) -> Tensor:
        """(V, H) rows of the projection."""
        weight: Tensor = self.model.get_output_embeddings().weight
        return weight

    @property
    def bias(self) -> Tensor | None:
        """(V,) of the projection."""
        return getattr(self.model.get_output_embeddings(), "bias", None)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """(n, length, H) states of the tokens."""
        states: Tensor = self.model(**inputs).logits
        return states


def _as_it_is(states: Tensor) -> Tensor:
    return states


@torch.no_grad()
def _check(model: Any, projection: nn.Module, name: str) -> None:
    """An error if a model's logits are not its projection of some states, within a thousandth of the largest."""
    seen: list[Tensor] = []
    hook = projection.register_forward_hook(lambda module, given, returned: seen.append(returned))
    was_training = model.training
    model.eval()
    try:
        tokens = torch.arange(4, device=next(model.parameters()).device)[None]
        logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
    finally:
        hook.remove()
        model.train(was_training)
    same = len(seen) == 1 and seen[0].shape == logits.shape
    if not same or (seen[0] - logits).abs().max() > 1e-3 * logits.abs().max():
        raise ModelError(
            f"model {name!r} does more to its logits than project states onto the vocabulary",
            hint="a learned-sparse encoder needs a language model whose last step is that projection",
        )

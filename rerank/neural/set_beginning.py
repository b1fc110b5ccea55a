"""What a set-encoder begins with, of the encoder or the cross-encoder that it is made of."""

from typing import Any

import torch
from torch import Tensor, nn

from retrieval.rerank.neural.set_layout import MARK

__all__ = ["add_mark", "linear_head"]


def add_mark(backbone: Any, tokenizer: Any, generator: torch.Generator) -> bool:
    """Add [INT] if it is not there; it begins as a full stop: models are used to many of those, and read past them.

    A word of its own would keep each passage busy with the marks of all others. A vocabulary without a full stop has it
    drawn from a normal distribution with the words' mean and spread.
    """
    if MARK in tokenizer.get_vocab():
        return False
    tokenizer.add_tokens([MARK], special_tokens=True)
    number, stop = tokenizer.get_vocab()[MARK], tokenizer.get_vocab().get(".")
    words = backbone.get_input_embeddings().weight.detach()
    drawn = words.mean(dim=0) + words.std(dim=0) * torch.randn(words.shape[1], generator=generator)
    begun = drawn if stop is None else words[stop].clone()
    if number >= len(words):
        backbone.resize_token_embeddings(number + 1, mean_resizing=False)
    with torch.no_grad():
        backbone.get_input_embeddings().weight[number] = begun
    return True


@torch.no_grad()
def linear_head(model: Any) -> Tensor | None:
    """(1, H) what a BERT's pooler and classifier say of a state, but for the tanh between them and their biases."""
    pooler, classifier = getattr(model.base_model, "pooler", None), getattr(model, "classifier", None)
    if pooler is None or not isinstance(classifier, nn.Linear):
        return None
    of_labels = classifier.weight
    score = of_labels if len(of_labels) == 1 else of_labels[1:] - of_labels[:1]
    found: Tensor = score @ pooler.dense.weight
    return found

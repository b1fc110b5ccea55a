"""A first vocabulary head for an encoder that has none: each token's state points at the token itself.

SPLADE begins with a masked language model, whose head says which words a state stands for. A sentence encoder has
lost its head, and learning one from a few thousand judgements is hopeless; but which word stands at a place can be read
off its state by a linear map, and how much a word says is known from the corpus. So the map is a ridge regression of
states on the input embeddings of their tokens, and the bias of each word is set so that it gets a weight near the
square root of its idf where it stands, as both sides of a match multiply. The model then begins near lexical matching,
with the neighbours of a word in embedding space for a first expansion. A method of this project's own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrieval.encoders.neural.side import Side
from retrieval.encoders.neural.splade import NEVER, SHIFT, Splade
from retrieval.errors import ModelError
from retrieval.protocols import Progress, silent

__all__ = ["LexicalStart", "lexical_start"]

_TEXTS_AT_ONCE = 16
# Texts of another kind than documents are taken to be short, so more of them are read.
_SHORT_FOR_LONG = 4


@dataclass(frozen=True, kw_only=True)
class LexicalStart:
    """How the head is set.

    Attributes:
        texts: how many documents are read, drawn at random.
        max_length: tokens read of each.
        sharpness: length of the projected states: the higher, the fewer words beside those that stand in the text.
        heaviest: the weight of the rarest word.
        ridge: share of the states' mean variance that is added to every direction.
        seed: of the draw.
    """

    texts: int = 1000
    max_length: int = 128
    sharpness: float = 16.0
    heaviest: float = 1.5
    ridge: float = 0.01
    seed: int = 0


@torch.no_grad()
def lexical_start(
    model: Splade,
    texts: Sequence[str],
    settings: LexicalStart,
    *,
    side: str = "document",
    like: Sequence[str] | None = None,
    progress: Progress = silent,
) -> None:
    """Set the head of a model that `Splade.from_encoder` made, by what its states say of a corpus.

    Args:
        model: changed in place: the head's transform, its norm, and the bias; the projection stays tied to the
            embeddings.
        texts: the corpus.
        settings: how.
        side: whose head is set.
        like: texts such as this side reads, where those are not the corpus: states depend on the length of a text.
        progress: told of texts.

    Raises:
        ModelError: the model's head is not a dense layer, GELU and LayerNorm before the projection, as BERT's is.
    """
    part = model.sides[side]
    if not isinstance(part, Side):
        raise ModelError(f"the {side} side of model {model.name!r} has no head to set")
    head = _head(part)
    was_training = part.training
    part.eval()
    sample = _drawn(texts, settings)
    read = _drawn(like, replace(settings, texts=_SHORT_FOR_LONG * settings.texts)) if like is not None else sample
    states, tokens = _states(part, read, settings.max_length, progress)
    frequencies = _frequencies(part, sample, settings.max_length)
    embeddings = _centred(part.headless.weight)
    mean, projection = _ridge(states, embeddings[tokens], settings.ridge)
    directions = torch.nn.functional.normalize((states - mean) @ projection, dim=1)
    own = _own_products(directions, tokens, embeddings)
    weights = settings.heaviest * (_idf(frequencies, len(sample)) / math.log1p(2 * len(sample))).sqrt()
    # The rarest words would weigh most, and those that never stood in a text would be everywhere.
    weights[frequencies == 0] = 0
    head.dense.weight.copy_(projection.T)
    head.dense.bias.copy_(SHIFT - mean @ projection)
    head.norm.weight.fill_(settings.sharpness / math.sqrt(len(mean)))
    head.norm.bias.zero_()
    head.bias.copy_(torch.expm1(weights) - settings.sharpness * own)
    head.bias[part.special] = NEVER
    _silence(part, head.bias, read[: 4 * _TEXTS_AT_ONCE], settings.max_length)
    part.train(was_training)


@dataclass(frozen=True)
class _Head:
    dense: Any
    norm: Any
    bias: Tensor


def _head(side: Side) -> _Head:
    """The parts of a head like BERT's."""
    heads = [m for m in side.headless.modules() if type(m).__name__.endswith("PredictionHeadTransform")]
    bias = side.headless.bias
    if len(heads) != 1 or bias is None:
        raise ModelError(
            f"model {side.name!r} has no head like BERT's, which a lexical warm start sets",
            hint="a masked language model needs no warm start: leave out --warm-start",
        )
    transform: Any = heads[0]
    return _Head(transform.dense, transform.LayerNorm, bias)


def _drawn(texts: Sequence[str], settings: LexicalStart) -> list[str]:
    places = np.random.default_rng(settings.seed).permutation(len(texts))[: settings.texts]
    return [texts[place] for place in places]


def _tokenized(side: Side, texts: Sequence[str], max_length: int) -> Any:
    return side.tokenizer(
        [side.prompt + text for text in texts],
        padding=True,
        truncation=True,
        max_length=min(max_length, side.max_length),
        return_tensors="pt",
    ).to(side.special.device)


def _states(side: Side, texts: Sequence[str], max_length: int, progress: Progress) -> tuple[Tensor, Tensor]:
    """States below the head (t, H), and the token of each (t,)."""
    ordered = sorted(texts, key=len)
    states, tokens = [], []
    for start in range(0, len(ordered), _TEXTS_AT_ONCE):
        features = _tokenized(side, ordered[start : start + _TEXTS_AT_ONCE], max_length)
        last = side.headless.model.base_model(**features).last_hidden_state
        counted = features["attention_mask"].bool() & ~side.special[features["input_ids"]]
        states.append(last[counted])
        tokens.append(features["input_ids"][counted])
        progress("warm start", min(start + _TEXTS_AT_ONCE, len(ordered)), len(ordered))
    return torch.cat(states), torch.cat(tokens)


def _frequencies(side: Side, texts: Sequence[str], max_length: int) -> Tensor:
    """(V,) in how many texts each token stands."""
    frequencies = torch.zeros(side.dimensions, device=side.special.device)
    for text in texts:
        frequencies[_tokenized(side, [text], max_length)["input_ids"].unique()] += 1
    return frequencies


def _silence(side: Side, bias: Tensor, texts: Sequence[str], max_length: int) -> None:
    """Lower the bias of words that the states of special tokens point at, which are none of the text's."""
    features = _tokenized(side, texts, max_length)
    special = features["attention_mask"].bool() & side.special[features["input_ids"]]
    logits = side.headless(dict(features))[special] @ side.headless.weight.T + bias
    bias -= logits.amax(dim=0).clamp(min=0)


def _centred(embeddings: Tensor) -> Tensor:
    """Embeddings without what all of them share, in which a projected state must have no part either."""
    mean = embeddings.mean(dim=0)
    common = mean / mean.norm()
    centred = embeddings - mean
    centred -= (centred @ common)[:, None] * common
    return centred


def _ridge(states: Tensor, wanted: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The mean state (H,), and the map (H, H) of what is above it that is nearest to what is wanted."""
    mean = states.mean(dim=0)
    above = states - mean
    gram = above.T @ above
    gram.diagonal().add_(ridge * gram.trace() / len(gram))
    return mean, torch.linalg.solve(gram, above.T @ (wanted - wanted.mean(dim=0)))


def _own_products(directions: Tensor, tokens: Tensor, embeddings: Tensor) -> Tensor:
    """(V,) the mean product of a token's embedding with the direction of its states; for one unseen, as for others."""
    products = (directions * embeddings[tokens]).sum(dim=1)
    sums = torch.zeros(len(embeddings), device=products.device).index_add_(0, tokens, products)
    counts = torch.bincount(tokens, minlength=len(embeddings))
    lengths = embeddings.norm(dim=1)
    usual = products.sum() / lengths[tokens].sum()
    # One occurrence more at the usual cosine: a token seen once says little of its next state.
    mean: Tensor = (sums + usual * lengths) / (counts + 1)
    return mean


def _idf(frequencies: Tensor, n: int) -> Tensor:
    """Robertson's idf, never below 0: log(1 + (n - df + .5) / (df + .5))."""
    odds: Tensor = (n - frequencies + 0.5) / (frequencies + 0.5)
    return odds.log1p()

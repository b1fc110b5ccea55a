"""The average of models that began as one.

Between what a model knew of all texts and what training on few taught it of those; often better on texts that are new
than either. Sources: Wortsman et al., "Robust fine-tuning of zero-shot models" (CVPR 2022) and "Model soups" (ICML
2022).
"""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrieval.encoders.neural.dual import SIDES, DualEncoder
from retrieval.encoders.neural.side import new_folder
from retrieval.errors import InputError, ModelError
from retrieval.training.checkpoints import commit

__all__ = ["average"]


def average(models: Sequence[str], out: Path, weights: Sequence[float] | None = None) -> Path:
    """Write a dense encoder whose every parameter is the weighted mean of the models'.

    Args:
        models: two or more: `minilm`, folders or models of the hub; lengths and prompts are those of the first.
        out: the model goes to its folder `model`, which must not exist.
        weights: how much each counts, 0 or more, in any unit; without them all count alike.

    Returns:
        The model's folder.

    Raises:
        InputError: fewer than two models; weights that are not as many, or below 0, or all 0; something stands there.
        ModelError: models whose parameters differ in name or shape, or which make or compare vectors differently, or
            read other tokens; a model has weights that are no numbers.
        TrainingError: the folder cannot be written.
    """
    shares = _shares(len(models), weights)
    first, *others = [DualEncoder.load(model, device="cpu") for model in models]
    for other in others:
        _check_alike(first, other)
    for model in (first, *others):
        _check_finite(model)
    folder = new_folder(out / "model")
    states = [model.inner.state_dict() for model in (first, *others)]
    first.inner.load_state_dict({name: _mean([state[name] for state in states], shares) for name in states[0]})
    commit(folder, first.save)
    return folder


def _shares(count: int, weights: Sequence[float] | None) -> list[float]:
    """What each model counts, 1 in all."""
    given = [1.0] * count if weights is None else list(weights)
    if count < 2:
        raise InputError(f"an average is of two models at least; got {count}")
    if len(given) != count:
        raise InputError(f"{count} models and {len(given)} weights", hint="give one for each model, in their order")
    if not all(isfinite(weight) and weight >= 0 for weight in given) or not sum(given):
        raise InputError(f"weights must be 0 or more, and not all 0; got {given}")
    return [weight / sum(given) for weight in given]


def _mean(values: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """What all have alike stays to the bit, as documents' side of an index that queries' sides were trained for."""
    if all(torch.equal(value, values[0]) for value in values):
        return values[0]
    return torch.stack([share * value for share, value in zip(shares, values, strict=True)]).sum(dim=0)


def _check_alike(first: DualEncoder, other: DualEncoder) -> None:
    shapes, others = ({name: tuple(v.shape) for name, v in m.inner.state_dict().items()} for m in (first, other))
    odd = sorted(name for name in shapes | others if shapes.get(name) != others.get(name))
    if odd:
        raise ModelError(
            f"models {first.name!r} and {other.name!r} are of different make: {odd[0]} is "
            f"{shapes.get(odd[0], 'missing')} and {others.get(odd[0], 'missing')}",
            hint="average models that were trained from the same one; two-sided ones with two-sided ones",
        )
    if _modules(first) != _modules(other):
        raise ModelError(
            f"models {first.name!r} and {other.name!r} make vectors differently: {'; '.join(_modules(first))}, and "
            f"{'; '.join(_modules(other))}"
        )
    if first.similarity != other.similarity:
        raise ModelError(
            f"models {first.name!r} and {other.name!r} compare vectors differently: {first.similarity}, "
            f"{other.similarity}"
        )
    if _vocabularies(first) != _vocabularies(other):
        raise ModelError(f"models {first.name!r} and {other.name!r} have different tokens for the same numbers")


def _check_finite(model: DualEncoder) -> None:
    odd = [name for name, value in model.inner.state_dict().items() if not value.isfinite().all()]
    if odd:
        raise ModelError(f"model {model.name!r} has weights that are no numbers: {odd[0]}")


def _modules(model: DualEncoder) -> list[str]:
    """What each module of each side says of itself."""
    sides: list[Any] = [model.side(side) for side in SIDES[: 1 + model.is_two]]
    return [f"{type(module).__name__} {module.get_config_dict()}" for side in sides for module in side]


def _vocabularies(model: DualEncoder) -> list[dict[str, int]]:
    return [part.tokenizer.get_vocab() for part in model.inner.modules() if hasattr(part, "tokenizer")]

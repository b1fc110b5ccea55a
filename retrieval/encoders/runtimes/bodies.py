"""The part of a model that costs: features to the states of tokens, by one runtime or another."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from retrieval.encoders.runtimes.precision import Choice
from retrieval.errors import ModelError

__all__ = ["Body", "body_of", "check_near", "example_of", "instead_of_torch"]

_LOG = logging.getLogger("retrieval")

T = TypeVar("T")

Body = Callable[[Mapping[str, Any]], Any]
"""Features, on the CPU or the model's device, to what a model or a part of it makes of them, in float32, or more exact.

Of an encoder these are the states of tokens, (n, length, H).
"""

# Features that say which tokens count in the end; no language model reads them.
_NOT_READ = {"pooled"}

# How far states may be from torch's, as a part of the largest; bfloat16 has eight bits of a number.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}


def body_of(module: Any, features: Mapping[str, Any], choice: Choice, name: str) -> Body | None:
    """What runs a module instead of torch, held to what torch makes of some texts; None where torch runs it.

    Where the runtime was not asked for and cannot run this model, torch does, with a warning.

    Args:
        module: takes features and gives states, on the device and in the precision that torch is to have.
        features: of a few texts of different lengths.
        choice: how it is run; of int8, its floats.
        name: of the model, for errors.

    Raises:
        ModelError: the runtime that was asked for cannot run this model.
    """

    def make() -> Body:
        body = _other(module, features, choice, name)
        _check(module, body, features, choice, name)
        return body

    return instead_of_torch(make, choice, name)


def instead_of_torch(make: Callable[[], T], choice: Choice, name: str) -> T | None:
    """What runs a model instead of torch; None where torch runs it, see `body_of`.

    Args:
        make: makes and checks it.
        choice: how the model is run.
        name: of the model, for errors.

    Raises:
        ModelError: the runtime that was asked for cannot run this model.
    """
    if choice.runtime == "torch":
        return None
    try:
        return _made(make, choice, name)
    except ModelError as error:
        if choice.asked:
            raise
        _LOG.warning("%s; torch runs it", error)
        return None


def _made(make: Callable[[], T], choice: Choice, name: str) -> T:
    try:
        return make()
    except ModelError:
        raise
    except Exception as error:  # of many kinds, by what in a model a runtime does not know
        raise ModelError(f"{choice.runtime} cannot run model {name!r}: {error}", hint="--runtime torch") from error


def example_of(features: Mapping[str, Any]) -> dict[str, Any]:
    """The features that a language model reads, each (n, length)."""
    mask = features.get("attention_mask")
    if mask is None:
        raise ModelError("a model whose tokenizer makes no attention mask is run by torch", hint="--runtime torch")
    return {
        name: values
        for name, values in features.items()
        if name not in _NOT_READ and getattr(values, "shape", None) == mask.shape
    }


def _other(module: Any, features: Mapping[str, Any], choice: Choice, name: str) -> Body:
    example = example_of(features)
    if choice.runtime == "onnx":
        from retrieval.encoders.runtimes.onnx_body import OnnxBody

        return OnnxBody(module, example, name)
    from retrieval.encoders.runtimes.openvino_body import OpenVinoBody, convert

    return OpenVinoBody(convert(module, example, name), list(example), choice.floats)


def _check(module: Any, body: Body, features: Mapping[str, Any], choice: Choice, name: str) -> None:
    """An error if states differ, also of fewer texts and shorter ones than those that were traced."""
    import torch

    example = example_of(features)
    for rows in (len(features["attention_mask"]), 1):
        given = {feature: values[:rows] for feature, values in example.items()}
        there = given["attention_mask"].bool().any(0)
        given = {feature: values[:, there] for feature, values in given.items()}
        with torch.inference_mode():
            right, found = module(given).float(), body(given)
        mask = given["attention_mask"].bool()
        check_near(right[mask], found[mask], choice, name)  # padding has states too, which nobody reads


def check_near(right: Any, found: Any, choice: Choice, name: str) -> None:
    """A ModelError if states that a runtime has found are not near those by torch."""
    differs = (right - found).abs().max()
    if not differs <= _TOLERANCE[choice.floats] * right.abs().max():  # nor where it is not a number
        raise ModelError(f"model {name!r} computes something else in {choice.runtime}", hint="--runtime torch")

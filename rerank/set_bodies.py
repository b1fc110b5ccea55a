"""The layers of a set-encoder, run by OpenVINO one by one: in each, passages of all batches look at each other."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from retrieval.encoders.runtimes.bodies import Body, check_near, instead_of_torch
from retrieval.encoders.runtimes.openvino_body import OpenVinoBody, convert
from retrieval.encoders.runtimes.precision import Choice

if TYPE_CHECKING:
    from retrieval.rerank.neural.interaction import LayerBodies
    from retrieval.rerank.neural.set_encoder import SetEncoder

__all__ = ["bodies_of"]

# Sets of several sizes, and passages of several lengths, by which the layers are converted and checked.
_EXAMPLES = [
    (0, "what makes the sky glow at night?", "Solar wind makes the sky glow at night."),
    (0, "what makes the sky glow at night?", "Bread is made of flour, water and salt, and needs time."),
    (0, "what makes the sky glow at night?", "glow"),
    (1, "solar wind", "A stream of charged particles, released from the upper atmosphere of the Sun."),
]


def bodies_of(model: "SetEncoder", choice: Choice) -> "list[LayerBodies] | None":
    """What runs each layer of a model, held to what torch makes of some sets; None where torch runs them.

    The model is in float32, and stays so: it embeds, and scores.

    Raises:
        ModelError: the runtime that was asked for cannot run this model.
    """

    def make() -> "list[LayerBodies]":
        layers = _converted(model, choice)
        _check(model, layers, choice)
        return layers

    return instead_of_torch(make, choice, model.name)


def _converted(model: "SetEncoder", choice: Choice) -> "list[LayerBodies]":
    import torch

    from retrieval.rerank.neural.interaction import LayerBodies, layers_of

    size, passages, length, width = model.backbone.config.hidden_size, 3, 7, 5
    marks = {"marks": torch.zeros(width, size)}
    states = {
        "states": torch.zeros(passages, length, size),
        "keys_values": torch.zeros(width, 2 * size),
        "rows": torch.zeros(passages, width, dtype=torch.int64),
        "mask": torch.ones(passages, 1, 1, length + width, dtype=torch.bool),
    }

    def body(module: Any, example: Mapping[str, Any]) -> Body:
        return OpenVinoBody(convert(module, example, model.name), list(example), choice.floats)

    return [
        LayerBodies(body(layer.keys_values, marks), body(layer.states, states)) for layer in layers_of(model.backbone)
    ]


def _check(model: "SetEncoder", layers: "list[LayerBodies]", choice: Choice) -> None:
    """An error if states differ, of sets in one block and in two, and of a passage alone."""
    import torch

    for parts in ([_EXAMPLES], [_EXAMPLES[:2], _EXAMPLES[2:]], [_EXAMPLES[-1:]]):
        blocks = [model.tokenize_members(part) for part in parts]
        with torch.inference_mode():
            right, found = model.states(*blocks), model.states(*blocks, layers=layers)
        for one, other in zip(right, found, strict=True):
            check_near(one, other, choice, model.name)

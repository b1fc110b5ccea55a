"""The layers of a set-encoder, run by OpenVINO one by one: between any two of them passages look at each other."""

from typing import TYPE_CHECKING

from retrieval.encoders.runtimes.bodies import Body, check_near, instead_of_torch
from retrieval.encoders.runtimes.precision import Choice

if TYPE_CHECKING:
    from retrieval.rerank.neural.set_encoder import SetEncoder

__all__ = ["bodies_of"]

# Sets of several sizes, and passages of several lengths, by which the layers are converted and checked.
_EXAMPLES = [
    (0, "what makes the sky glow at night?", "Solar wind makes the sky glow at night."),
    (0, "what makes the sky glow at night?", "Bread is made of flour, water and salt, and needs time."),
    (0, "what makes the sky glow at night?", "glow"),
    (1, "solar wind", "A stream of charged particles, released from the upper atmosphere of the Sun."),
]


def bodies_of(model: "SetEncoder", choice: Choice) -> list[Body] | None:
    """What runs each layer of a model in float32, held to what torch makes of some sets; None where torch runs them.

    Raises:
        ModelError: the runtime that was asked for cannot run this model.
    """

    def make() -> list[Body]:
        bodies = _converted(model, choice)
        _check(model, bodies, choice)
        return bodies

    return instead_of_torch(make, choice, model.name)


def _converted(model: "SetEncoder", choice: Choice) -> list[Body]:
    import torch

    from retrieval.encoders.runtimes.openvino_body import OpenVinoBody, convert
    from retrieval.rerank.neural.interaction import set_layers

    size, passages, length, others = model.backbone.config.hidden_size, 3, 7, 5
    example = {
        "states": torch.zeros(passages, length, size),
        "there": torch.ones(passages, 1, 1, length + others, dtype=torch.bool),
        "rows": torch.zeros(passages, others, dtype=torch.int64),
        "keys": torch.zeros(others, size),
        "values": torch.zeros(others, size),
    }
    return [
        OpenVinoBody(convert(layer.eval(), example, model.name), list(example), choice.floats)
        for layer in set_layers(model.backbone)
    ]


def _check(model: "SetEncoder", bodies: list[Body], choice: Choice) -> None:
    """An error if states differ, of sets in one block and in two, and of a passage alone."""
    import torch

    for parts in ([_EXAMPLES], [_EXAMPLES[:2], _EXAMPLES[2:]], [_EXAMPLES[-1:]]):
        blocks = [model.tokenize_members(part) for part in parts]
        with torch.inference_mode():
            right, found = model.states(*blocks), model.states(*blocks, bodies=bodies)
        for one, other in zip(right, found, strict=True):
            check_near(one, other, choice, model.name)

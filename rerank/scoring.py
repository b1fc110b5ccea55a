"""What rerankers of every kind share: how their model is loaded, and what is told of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from retrieval.encoders.models import locate, model_name, weights_digest
from retrieval.encoders.runtimes.pipeline import Batching
from retrieval.encoders.runtimes.precision import Choice, choose
from retrieval.errors import InputError
from retrieval.files import is_unicode

__all__ = ["EXACT", "Prepared", "ScorerCard", "check_lists", "check_text", "prepare"]

M = TypeVar("M", bound=Any)

EXACT = "where it runs in fewer bits than float32: --rerank-precision fp32"
"""The hint where scores are no numbers."""


@dataclass(frozen=True, kw_only=True)
class ScorerCard:
    """What decides the scores; results keep it.

    Attributes:
        model: the name by which it is loaded.
        weights: a digest of its parameters.
        revision: of the hub, where it comes from there.
        max_length: tokens of a pair that are read.
        precision: of the arithmetic: `float32`, `bfloat16`, `float16` or `int8`.
        runtime: what runs the model: `torch`, `openvino` or `onnx`.
        quantised: a digest of the int8 model; None in other precisions, and before it is calibrated.
    """

    model: str
    weights: str
    revision: str | None
    max_length: int
    precision: str
    runtime: str
    quantised: str | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared(Generic[M]):
    """A model in float32 on its device, and how it is to be run.

    Attributes:
        model: without dropout.
        choice: device, precision and runtime.
        batching: how much goes through the model together.
        described: what a card says of it, but for the lengths.
    """

    model: M
    choice: Choice
    batching: Batching
    described: dict[str, Any]


def prepare(
    model: str,
    load: Callable[[str, str], M],
    *,
    device: str | None,
    precision: str | None,
    runtime: str | None,
    batch_tokens: int | None,
) -> Prepared[M]:
    """Load a model where it is to run.

    Args:
        model: a local folder or a model of the Hugging Face hub.
        load: makes the model of its name and a device.
        device: torch's name of a device; None takes the best there is.
        precision: as of `choose`.
        runtime: as of `choose`.
        batch_tokens: tokens that go through the model together; None takes what suits the device.

    Raises:
        InputError, MissingExtraError, ModelError: see `locate`, `choose` and `load`.
    """
    locate(model)  # whose package brings torch, which is asked for next
    choice = choose(precision, runtime, device)
    loaded = load(model, choice.device).eval()
    described = {
        "model": model_name(model),
        "weights": weights_digest(loaded),
        "revision": loaded.revision,
        "precision": choice.precision,
        "runtime": choice.runtime,
    }
    return Prepared(model=loaded, choice=choice, batching=choice.batching(batch_tokens), described=described)


def check_lists(queries: Sequence[str], lists: Sequence[Sequence[str]]) -> None:
    """An InputError unless each query has a list of passages, and all are texts; it counts from 0."""
    if isinstance(queries, str) or isinstance(lists, str):
        raise InputError("queries, and their lists of passages, must be several; got one text", hint="[query]")
    if len(queries) != len(lists):
        raise InputError(f"{len(queries)} queries and {len(lists)} lists of passages: each query has one")
    for number, (query, passages) in enumerate(zip(queries, lists, strict=True)):
        check_text(query, f"query {number}")
        if isinstance(passages, str):
            raise InputError(f"the passages of query {number} are one text, and must be a list", hint="[passage]")
        for place, passage in enumerate(passages):
            check_text(passage, f"passage {place} of query {number}")


def check_text(value: object, name: str) -> None:
    """An InputError unless it is a text that tokenizers can read."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be a string; got {value!r}")
    if not is_unicode(value):
        raise InputError(
            f"{name} holds a lone surrogate, which is not Unicode text",
            hint="text.encode(errors='replace').decode() has question marks in their place",
        )

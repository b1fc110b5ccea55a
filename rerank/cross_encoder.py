"""Pairs of query and passage to scores, by a cross-encoder in whatever precision and runtime this machine has."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.models import evaluating
from retrieval.encoders.runtimes.bodies import Body, body_of
from retrieval.encoders.runtimes.pipeline import Batching, run_model
from retrieval.encoders.runtimes.precision import Choice
from retrieval.errors import InputError, ModelError
from retrieval.rerank.scoring import ScorerCard, prepare

if TYPE_CHECKING:
    from retrieval.rerank.neural.cross_encoder import CrossEncoder

__all__ = ["PairScorer", "characters", "score_pairs"]

Pair = tuple[str, str]

# Of different lengths; a model that another runtime is to run is converted and checked with them.
_EXAMPLES = [
    ("what makes the sky glow at night?", "Solar wind makes the sky glow at night."),
    ("solar wind", "Bread is made of flour, water and salt, and needs time."),
]


class PairScorer:
    """A cross-encoder that is loaded and run.

    Args:
        model: a local folder or a model of the Hugging Face hub, with a classification head.
        device: torch's name of a device; None takes the best there is.
        precision: `fp32`, `bf16`, `fp16`, or `auto`, which None stands for.
        runtime: what runs the model: `torch`, `openvino`, `onnx`, or `auto`, which None stands for.
        max_length: tokens of a pair that are read, where they are to be fewer than the model reads.
        batch_tokens: tokens that go through the model together, padding included; None takes what suits the device.

    Raises:
        InputError: an unknown precision or runtime, two that do not go together, int8, or a length out of range.
        MissingExtraError: transformers, or the runtime, is not installed.
        ModelError: the model cannot be found or loaded, is no cross-encoder, or cannot be run by the runtime that was
            asked for.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        precision: str | None = None,
        runtime: str | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        def load(source: str, device: str) -> "CrossEncoder":
            from retrieval.rerank.neural.cross_encoder import CrossEncoder

            loaded = CrossEncoder.load(source, device=device)
            if max_length is not None:
                loaded.max_length = max_length
            return loaded

        made = prepare(model, load, device=device, precision=precision, runtime=runtime, batch_tokens=batch_tokens)
        if made.choice.precision == "int8":
            raise InputError("no cross-encoder is run in int8", hint="--precision bf16, or fp32")
        self._model, self._batching = made.model, made.batching
        self._body = _body(self._model, made.choice)
        if self._body is None:
            self._model.set_precision(made.choice.precision)
        described = {**made.described, "runtime": made.choice.runtime if self._body else "torch"}
        self.card = ScorerCard(max_length=self._model.max_length, **described)

    def scores(self, pairs: Sequence[Pair], on_batch: Callable[[int], None] = lambda done: None) -> NDArray[np.float32]:
        """(n,) float32, of each pair of query and passage, in their order; `on_batch` hears how many more are done.

        Higher is better; scores may be any number. Those of a query can be compared with each other, hardly with
        another query's.

        Raises:
            ModelError: a score is no number, as where float16 is too narrow for a model.
        """
        return score_pairs(self._model, pairs, self._batching, on_batch, body=self._body)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the scores, as JSON values."""
        return {"kind": "cross-encoder", **asdict(self.card)}

    def score_lists(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """For each query (m,) scores of its m passages, each for itself.

        A passage that is longer than the model reads is read in overlapping windows, and has the score of the best.
        """
        pairs = [(query, passage) for query, passages in zip(queries, lists, strict=True) for passage in passages]
        windows = self._model.windows(pairs)
        read = [(query, part) for (query, _), parts in zip(pairs, windows, strict=True) for part in parts]
        firsts = np.cumsum([0, *(len(parts) for parts in windows)])[:-1]
        scores = np.maximum.reduceat(self.scores(read), firsts) if read else np.empty(0, dtype=np.float32)
        ends = np.cumsum([len(passages) for passages in lists])[:-1]
        return np.split(scores, ends) if lists else []


def score_pairs(
    model: "CrossEncoder",
    pairs: Sequence[Pair],
    batching: Batching,
    on_batch: Callable[[int], None] = lambda done: None,
    *,
    body: Body | None = None,
    max_length: int | None = None,
) -> NDArray[np.float32]:
    """The same of a model at hand, as it is now, without dropout.

    Args:
        model: on its device.
        pairs: query and passage of each.
        batching: how much goes through the model together.
        on_batch: told how many more pairs are done.
        body: what runs the model; None stands for torch.
        max_length: tokens of a pair that are read, where they are to be fewer.

    Raises:
        ModelError: a score is no number.
    """
    with evaluating(model):
        rows = run_model(
            pairs,
            lambda some: dict(model.tokenize(some, max_length)),
            lambda features: _scores(model, features, body),
            lambda scores: scores.cpu().numpy(),
            batching,
            on_batch,
            length=characters,
        )
    scores = np.array(rows, dtype=np.float32)
    if not np.isfinite(scores).all():
        raise ModelError(f"model {model.name!r} gives scores that are no numbers", hint="--precision fp32")
    return scores


def characters(pair: Pair) -> int:
    """Of query and passage: how pairs are sorted before they are tokenised."""
    return len(pair[0]) + len(pair[1])


def _body(model: "CrossEncoder", choice: Choice) -> Body | None:
    """What runs the model, head and all, if it is not torch."""
    if choice.runtime == "torch":
        return None
    from retrieval.rerank.neural.cross_encoder import RepeatedScores

    return body_of(RepeatedScores(model).eval(), model.tokenize(_EXAMPLES), choice, model.name)


def _scores(model: "CrossEncoder", features: dict[str, Any], body: Body | None) -> Any:
    """(n,) on the device."""
    import torch

    with torch.inference_mode():
        if body is not None:
            return body(features)[:, 0, 0]
        device = next(model.parameters()).device
        return model({name: values.to(device) for name, values in features.items()})

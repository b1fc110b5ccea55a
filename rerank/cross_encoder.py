"""Pairs of query and passage to scores, by a cross-encoder in whatever precision and runtime this machine has."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.models import evaluating, locate, snapshot, use_of
from retrieval.encoders.runtimes.bodies import Body, body_of
from retrieval.encoders.runtimes.pipeline import TOKENIZING, Batching, run_model
from retrieval.encoders.runtimes.precision import Choice
from retrieval.encoders.runtimes.quantising import CALIBRATED_BY, CHECKED_BY, cosines, int8_body
from retrieval.errors import ModelError
from retrieval.rerank.scoring import EXACT, ScorerCard, check_lists, check_text, prepare
from retrieval.types import ModelUse

if TYPE_CHECKING:
    from retrieval.rerank.neural.cross_encoder import CrossEncoder
    from retrieval.rerank.neural.mono_t5 import MonoT5

    PairModel = CrossEncoder | MonoT5

__all__ = ["PairScorer", "characters", "correlations", "score_pairs"]

_LOG = logging.getLogger("retrieval")

Pair = tuple[str, str]

# Of different lengths; a model that another runtime is to run is converted and checked with them.
_EXAMPLES = [
    ("what makes the sky glow at night?", "Solar wind makes the sky glow at night."),
    ("solar wind", "Bread is made of flour, water and salt, and needs time."),
]


class PairScorer:
    """A cross-encoder, or a monoT5, that is loaded and run.

    Args:
        model: a local folder or a model of the Hugging Face hub: with a classification head, or a T5.
        device: torch's name of a device; None takes the best there is.
        precision: `fp32`, `bf16`, `fp16`, `int8`, or `auto`, which None stands for.
        runtime: what runs the model: `torch`, `openvino`, `onnx`, or `auto`, which None stands for.
        max_length: tokens of a pair that are read, where they are to be fewer than the model reads.
        batch_tokens: tokens that go through the model together, padding included; None takes what suits the device.

    Raises:
        InputError: an unknown precision or runtime, two that do not go together, or a length out of range.
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
        made = prepare(
            model,
            partial(_load, max_length=max_length),
            device=device,
            precision=precision,
            runtime=runtime,
            batch_tokens=batch_tokens,
        )
        self._source = locate(model)
        self._model, self._batching, choice = made.model, made.batching, made.choice
        self._body = None if choice.precision == "int8" else _body(self._model, choice)
        if self._body is None:
            self._model.set_precision(choice.floats)
        runs = choice.runtime if self._body or choice.precision == "int8" else "torch"
        self.card = ScorerCard(max_length=self._model.max_length, **{**made.described, "runtime": runs})

    @property
    def sample(self) -> int:
        """How many pairs it wants to be calibrated by, before it scores any; 0 if none."""
        return CALIBRATED_BY + CHECKED_BY if self.card.precision == "int8" and self._body is None else 0

    def calibrate(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> None:
        """Quantise the model by queries with passages, or take what an earlier calibration by them has left.

        The log says how its scores correlate with those in float32 within lists that were not calibrated by. Of no
        passage nothing can be learned, so passages are taken as they come later.
        """
        pairs = _pairs(queries, lists)[: self.sample]
        if not pairs:
            return
        self._body, calibration = int8_body(
            _repeated(self._model),
            self._model.tokenize,
            pairs,
            name=self.card.model,
            weights=f"{self.card.weights} {self.card.max_length} {self._model.once}",
            source=self._source,
            near=self._near,
            measure="correlation",
            exact=self._model.once,
        )
        self.card = replace(self.card, quantised=calibration.quantised)
        _LOG.warning("%s", calibration)

    def _near(self, pairs: Sequence[Pair], body: Body) -> NDArray[np.float64]:
        one, other = (score_pairs(self._model, pairs, self._batching, body=by) for by in (None, body))
        return correlations([query for query, _ in pairs], one, other)

    def scores(self, pairs: Sequence[Pair], on_batch: Callable[[int], None] = lambda done: None) -> NDArray[np.float32]:
        """(n,) float32, of each pair of query and passage, in their order; `on_batch` hears how many more are done.

        Higher is better; scores may be any number. Those of a query can be compared with each other, hardly with
        another query's. In int8, the first pairs calibrate a model that has not been.

        Raises:
            InputError: a query or passage is no text.
            ModelError: a score is no number, as where float16 is too narrow for a model.
        """
        for number, (query, passage) in enumerate(pairs):
            check_text(query, f"the query of pair {number}")
            check_text(passage, f"the passage of pair {number}")
        if self.sample:
            self.calibrate([query for query, _ in pairs], [[passage] for _, passage in pairs])
        return score_pairs(self._model, pairs, self._batching, on_batch, body=self._body)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the scores, as JSON values."""
        return {"kind": self._model.kind, **asdict(self.card)}

    @property
    def use(self) -> ModelUse:
        """How large the model is, and where it runs."""
        return use_of(self._model)

    def score_lists(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """For each query (m,) scores of its m passages, each for itself.

        A passage that is longer than the model reads is read in overlapping windows, and has the score of the best.

        Raises:
            InputError: there are not as many lists as queries, or one holds what is no text.
            ModelError: a score is no number.
        """
        pairs = _pairs(queries, lists)
        with TOKENIZING:
            windows = self._model.windows(pairs)
        read = [(query, part) for (query, _), parts in zip(pairs, windows, strict=True) for part in parts]
        firsts = np.cumsum([0, *(len(parts) for parts in windows)])[:-1]
        scores = np.maximum.reduceat(self.scores(read), firsts) if read else np.empty(0, dtype=np.float32)
        ends = np.cumsum([len(passages) for passages in lists])[:-1]
        return np.split(scores, ends) if lists else []


def score_pairs(
    model: "PairModel",
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
        raise ModelError(f"model {model.name!r} gives scores that are no numbers", hint=EXACT)
    return scores


def correlations(queries: Sequence[str], one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pearson's correlation of two models' scores within each run of pairs of one query; 1 where both are constant.

    Args:
        queries: (n,) of each pair.
        one: (n,) scores.
        other: (n,) those of the other model.
    """
    places = [[place for place, _ in own] for _, own in groupby(enumerate(queries), key=itemgetter(1))]
    centred = [[scores[own] - scores[own].mean() for scores in (one, other)] for own in places]
    return np.array([cosines(a[None], b[None])[0] for a, b in centred])


def characters(pair: Pair) -> int:
    """Of query and passage: how pairs are sorted before they are tokenised."""
    return len(pair[0]) + len(pair[1])


def _pairs(queries: Sequence[str], lists: Sequence[Sequence[str]]) -> list[Pair]:
    check_lists(queries, lists)
    return [(query, passage) for query, passages in zip(queries, lists, strict=True) for passage in passages]


def _load(source: str, device: str, *, max_length: int | None) -> "PairModel":
    """By what its folder says of it."""
    from retrieval.rerank.neural.cross_encoder import CrossEncoder
    from retrieval.rerank.neural.mono_t5 import MonoT5, is_mono_t5

    kind = MonoT5 if is_mono_t5(snapshot(source)[0]) else CrossEncoder
    loaded: PairModel = kind.load(source, device=device)
    if max_length is not None:
        loaded.max_length = max_length
    return loaded


def _body(model: "PairModel", choice: Choice) -> Body | None:
    """What runs the model, head and all, if it is not torch."""
    if choice.runtime == "torch":
        return None
    return body_of(_repeated(model), model.tokenize(_EXAMPLES), choice, model.name)


def _repeated(model: "PairModel") -> Any:
    from retrieval.rerank.neural.pairs import RepeatedScores

    return RepeatedScores(model).eval()


def _scores(model: "PairModel", features: dict[str, Any], body: Body | None) -> Any:
    """(n,) on the device."""
    import torch

    with torch.inference_mode():
        if body is not None:
            return body(features)[:, 0, 0]
        device = next(model.parameters()).device
        return model({name: values.to(device) for name, values in features.items()})

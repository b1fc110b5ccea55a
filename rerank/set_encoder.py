"""Passages of a query to scores, by a set-encoder, which reads them side by side."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.models import evaluating, use_of
from retrieval.encoders.runtimes.pipeline import Batching, tokenized_batches
from retrieval.errors import InputError, ModelError
from retrieval.rerank.scoring import EXACT, ScorerCard, check_lists, prepare
from retrieval.rerank.set_bodies import bodies_of
from retrieval.streams import windows
from retrieval.types import ModelUse, is_whole

if TYPE_CHECKING:
    from retrieval.rerank.neural.interaction import LayerBodies
    from retrieval.rerank.neural.set_encoder import Member, SetEncoder

__all__ = ["AT_ONCE", "SetCard", "SetScorer", "score_sets", "set_blocks"]

_LOG = logging.getLogger("retrieval")

# Passages of one set that see each other, at most: their states are all in memory.
AT_ONCE = 1000
# Sets that go through the model together, so that small ones fill its batches: of so many characters, about.
_SETS, _CHARACTERS = 256, 1 << 17

Scores = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SetCard(ScorerCard):
    """What decides the scores; results keep it.

    Attributes:
        query_length: tokens of a query that are read.
        document_length: tokens of a passage that are read.
        at_once: passages of a set that see each other, at most.
    """

    query_length: int
    document_length: int
    at_once: int


class SetScorer:
    """A set-encoder that is loaded and run.

    Args:
        model: a local folder or a model of the Hugging Face hub.
        device: torch's name of a device; None takes the best there is.
        precision: `fp32`, `bf16`, `fp16`, or `auto`, which None stands for.
        runtime: what runs the layers: `torch`, `openvino`, or `auto`, which None stands for.
        query_length: tokens of a query that are read; None takes what the model says.
        document_length: tokens of a passage that are read; None takes what the model says.
        batch_tokens: tokens that go through a layer together, padding included; None takes what suits the device.
        at_once: passages of a set that see each other, at most; a larger set is dealt out to several, see
            `score_sets`.

    Raises:
        InputError: an unknown precision or runtime, int8, ONNX, or a number out of range.
        MissingExtraError: torch or transformers, or the runtime, is not installed.
        ModelError: the model cannot be found or loaded, is no set-encoder, or cannot be run by the runtime that was
            asked for.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        precision: str | None = None,
        runtime: str | None = None,
        query_length: int | None = None,
        document_length: int | None = None,
        batch_tokens: int | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        _check(at_once)
        if precision == "int8":
            raise InputError("a set-encoder is not run in int8", hint="--rerank-precision auto")
        if runtime == "onnx":
            raise InputError("a set-encoder is run by torch or OpenVINO, and not by ONNX", hint="leave out the runtime")

        def load(source: str, device: str) -> "SetEncoder":
            from retrieval.rerank.neural.set_encoder import SetEncoder

            return SetEncoder.load(source, device=device).set_lengths(query_length, document_length)

        made = prepare(model, load, device=device, precision=precision, runtime=runtime, batch_tokens=batch_tokens)
        self._model, self._batching = made.model, made.batching
        self._layers = bodies_of(self._model, made.choice)
        if self._layers is None:
            self._model.set_precision(made.choice.precision)
        self.card = SetCard(
            max_length=self._model.max_length,
            query_length=self._model.query_length,
            document_length=self._model.document_length,
            at_once=at_once,
            **{**made.described, "runtime": made.choice.runtime if self._layers else "torch"},
        )

    @property
    def at_once(self) -> int:
        """Passages of a set that see each other, at most."""
        return self.card.at_once

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the scores, as JSON values."""
        return {"kind": "set-encoder", **asdict(self.card)}

    @property
    def use(self) -> ModelUse:
        """How large the model is, and where it runs."""
        return use_of(self._model)

    def score_lists(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> list[Scores]:
        """For each query (m,) scores of its m passages, each among the others.

        Raises:
            InputError, ModelError: see `scores_of`.
        """
        return self.scores_of(queries, lists)

    def scores(self, query: str, passages: Sequence[str]) -> Scores:
        """(n,) float32, of each passage of a query among the others, in their order; none of no passage.

        Higher is better; scores may be any number, and can be compared within one set alone.

        Raises:
            InputError: the query or a passage is no text.
            ModelError: a score is no number, as where float16 is too narrow for a model.
        """
        return self.scores_of([query], [passages])[0]

    def scores_of(
        self,
        queries: Sequence[str],
        lists: Sequence[Sequence[str]],
        on_batch: Callable[[int], None] = lambda done: None,
    ) -> list[Scores]:
        """The same of several queries with a list of passages each; `on_batch` hears how many more passages are done.

        Raises:
            InputError: there are not as many lists as queries, or one holds what is no text.
            ModelError: a score is no number.
        """
        return score_sets(
            self._model, queries, lists, self._batching, on_batch, at_once=self.at_once, layers=self._layers
        )


def score_sets(
    model: "SetEncoder",
    queries: Sequence[str],
    lists: Sequence[Sequence[str]],
    batching: Batching,
    on_batch: Callable[[int], None] = lambda done: None,
    *,
    at_once: int = AT_ONCE,
    max_length: int | None = None,
    layers: "Sequence[LayerBodies] | None" = None,
) -> list[Scores]:
    """The same of a model at hand, as it is now, without dropout.

    A set of more passages than `at_once` is dealt out in turns to as few sets of like size as can hold it, so that each
    has of the first ones and of the last, and the log says so; its passages do not see all others then.

    Args:
        model: on its device.
        queries: of each set.
        lists: the passages of each.
        batching: how much goes through a layer together.
        on_batch: told how many more passages are done.
        at_once: passages of a set that see each other, at most.
        max_length: tokens of query and passage together that are read, where they are to be fewer.
        layers: what runs them; None stands for torch.

    Raises:
        InputError: there are not as many lists as queries, one holds what is no text, or `at_once` is below 1.
        ModelError: a score is no number.
    """
    _check(at_once)
    check_lists(queries, lists)
    found = [np.zeros(len(passages), dtype=np.float32) for passages in lists]
    with evaluating(model):
        for window in windows(
            _parts(lists, at_once), lambda part: _characters(part, queries, lists), _SETS, _CHARACTERS
        ):
            members = [
                (number, queries[place], lists[place][row])
                for number, (place, rows) in enumerate(window)
                for row in rows
            ]
            scores = _scores(model, members, batching, max_length, layers)
            start = 0
            for place, rows in window:
                same = _first_of_equal([lists[place][row] for row in rows])
                found[place][rows] = scores[start : start + len(rows)][same]
                start += len(rows)
            on_batch(len(members))
    if not all(np.isfinite(scores).all() for scores in found):
        raise ModelError(f"model {model.name!r} gives scores that are no numbers", hint=EXACT)
    return found


def set_blocks(
    model: "SetEncoder", members: Sequence["Member"], batching: Batching, max_length: int | None = None
) -> tuple[list[int], list[dict[str, Any]]]:
    """Features of members of sets, in blocks of like lengths on the model's device; and where each row's member stands.

    All blocks must go through the model in one call, since their passages see each other.
    """
    device = next(model.parameters()).device
    places: list[int] = []
    blocks = []
    for some, features in tokenized_batches(
        members, lambda chunk: model.tokenize_members(chunk, max_length), batching, _length
    ):
        places += some
        blocks.append({name: values.to(device) for name, values in features.items()})
    return places, blocks


def _scores(
    model: "SetEncoder",
    members: list["Member"],
    batching: Batching,
    max_length: int | None,
    layers: "Sequence[LayerBodies] | None",
) -> Scores:
    """(n,) of members of sets, in their order."""
    import torch

    places, blocks = set_blocks(model, members, batching, max_length)
    with torch.inference_mode():
        scores: Scores = model(*blocks, layers=layers).cpu().numpy()
    return scores[np.argsort(places)]


def _parts(lists: Sequence[Sequence[str]], at_once: int) -> list[tuple[int, list[int]]]:
    """Place of a list, and rows of it that see each other.

    They stand in the order of their texts, so that whatever order they came in, rounding is the same as well.
    """
    parts = []
    for place, passages in enumerate(lists):
        count = -(-len(passages) // at_once)
        if count > 1:
            _LOG.warning(
                "%d passages of a query are more than %d at once: they are scored in %d sets",
                len(passages),
                at_once,
                count,
            )
        parts += [
            (place, sorted(range(first, len(passages), count), key=passages.__getitem__)) for first in range(count)
        ]
    return parts


def _first_of_equal(passages: Sequence[str]) -> list[int]:
    """Where each passage stands first, whose score it gets: of copies, rounding makes different ones."""
    firsts: dict[str, int] = {}
    return [firsts.setdefault(passage, place) for place, passage in enumerate(passages)]


def _characters(part: tuple[int, list[int]], queries: Sequence[str], lists: Sequence[Sequence[str]]) -> int:
    place, rows = part
    return sum(len(queries[place]) + len(lists[place][row]) for row in rows)


def _length(member: "Member") -> int:
    return len(member[1]) + len(member[2])


def _check(at_once: int) -> None:
    if not is_whole(at_once) or at_once < 1:
        raise InputError(f"at_once is {at_once!r}, and must be a whole number of at least 1")

"""Learned-sparse encoders: SPLADE and its kin, with two models or without one for queries, and echoes."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.layout import SIDES, Layout, Part, read_layout
from retrieval.encoders.models import check_card, evaluating, model_name, use_of, weights_digest
from retrieval.encoders.runtimes.bodies import Body, body_of, example_of
from retrieval.encoders.runtimes.openvino_body import OpenVinoBody
from retrieval.encoders.runtimes.pipeline import run_model
from retrieval.encoders.runtimes.precision import Choice, choose, precision_name
from retrieval.encoders.runtimes.quantising import (
    CALIBRATED_BY,
    CHECKED_BY,
    cosines,
    int8_body,
    kept_by_digest,
    reading,
)
from retrieval.encoders.tokens import Tokens, TokenTable
from retrieval.errors import InputError, MissingExtraError
from retrieval.files import sha256_of
from retrieval.types import EncoderCard, ModelUse, SparseVectors

if TYPE_CHECKING:
    from retrieval.encoders.neural.splade import Splade

__all__ = ["SparseModel", "load_sparse_encoder"]

_LOG = logging.getLogger("retrieval")

# Of different lengths; a model that another runtime is to run is converted and checked with them.
_EXAMPLES = ["solar wind", "what makes the sky glow at night?"]
# What decides how a text becomes tokens, in whichever of these a model keeps it.
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "tokenizer.model")

T = TypeVar("T")
Vector = tuple[NDArray[np.int32], NDArray[np.float32]]


def load_sparse_encoder(
    model: str,
    *,
    device: str | None = None,
    expected: EncoderCard | None = None,
    query_top: int | None = None,
    document_top: int | None = None,
    precision: str | None = None,
    runtime: str | None = None,
    batch_tokens: int | None = None,
) -> "SparseModel":
    """Load a local folder or a model of the Hugging Face hub; on a GPU where torch sees one.

    It may be a masked language model of transformers, a SparseEncoder of sentence-transformers (one model, one for each
    side, or token weights for queries), or a causal language model, which reads a text twice. A language model is read
    only when a text needs it: with token weights, queries never do.

    Args:
        model: what to load.
        device: torch's name of a device; None takes the best there is.
        expected: the card that an index was built with; a model whose vectors would not fit it is an error.
        query_top: how many of a query's largest weights are kept; None keeps all, or as many as expected.
        document_top: the same of a document.
        precision: in which documents are encoded: `fp32`, `bf16`, `fp16`, `int8`, or `auto`; None takes the expected
            one, or `auto`. Queries are encoded by torch, in the same, but for int8: there in float32.
        runtime: what runs the model for documents: `torch`, `openvino`, `onnx`, or `auto`, which None stands for.
        batch_tokens: tokens that go through the model together, padding included; None takes what suits the device.

    Raises:
        InputError: a number of weights below one, an unknown precision or runtime, or two that do not go together.
        MissingExtraError: a package that it needs is not installed.
        ModelError: the model cannot be found or loaded, is no learned-sparse encoder, is not the expected one, or
            cannot be run by the runtime that was asked for.
    """
    tops = {**(expected.top_terms if expected else {}), **_tops(query_top, document_top)}
    settled = precision_name(precision or (expected.precision if expected else "auto"))
    name = model_name(model)
    layout = read_layout(model, name)
    choice: Choice | None = None
    ran = expected.runtime if expected else runtime or "torch"
    # A question that needs no model does not load torch either, if there is nothing to be found out.
    if layout.query.kind != "table" or settled == "auto" or not (expected or (settled, ran) == ("float32", "torch")):
        choice = choose(settled, runtime, device)
        settled, ran = choice.precision, choice.runtime
    card = replace(_card(layout, name, settled, tops, _digest(layout)), runtime=ran)
    encoder = SparseModel(layout, card, choice=choice, runtime=runtime, device=device, batch_tokens=batch_tokens)
    if expected:
        check_card(encoder.card, expected)
        if expected.quantised and encoder.sample:
            encoder.restore(expected.quantised)
    return encoder


class SparseModel:
    """Turns texts into sparse vectors over its vocabulary; tokens that stand for no word are never in one.

    Args:
        layout: which part encodes which side.
        card: what decides the vectors.
        choice: how the model is run; None settles it when the model is needed, from the card and what follows.
        runtime: what was asked for.
        device: torch's name of a device; None takes the best there is.
        batch_tokens: tokens that go through the model together; None takes what suits the device.
        model: what the parts are, if they are loaded already.
    """

    def __init__(
        self,
        layout: Layout,
        card: EncoderCard,
        *,
        choice: Choice | None = None,
        runtime: str | None = None,
        device: str | None = None,
        batch_tokens: int | None = None,
        model: "Splade | None" = None,
    ) -> None:
        self._layout = layout
        self._given_choice = choice
        self._runtime, self._device, self._batch_tokens = runtime, device, batch_tokens
        self._given = model
        self._quantised: Body | None = None
        self.card = card
        if layout.query.kind != "table":
            # An error in the model comes at once, not after a corpus was read.
            self._body  # noqa: B018

    @classmethod
    def of(cls, model: "Splade", *, query_top: int | None = None, document_top: int | None = None) -> "SparseModel":
        """A model in memory, as while it is trained; its card's digest is that of its parameters as they are now.

        Raises:
            InputError: a number of weights below one.
        """
        query, document = (model.sides[side] for side in SIDES)
        prompts = {side: prompt for side in SIDES if (prompt := model.sides[side].prompt)}
        layout = Layout(query=query.part, document=document.part, prompts=prompts, revision=model.revision)
        precision = str(model.document.headless.weight.dtype).removeprefix("torch.")
        card = _card(layout, model.name, precision, _tops(query_top, document_top), weights_digest(model))
        choice = Choice(device=str(model.document.special.device), precision=precision, runtime="torch")
        return cls(layout, card, choice=choice, model=model)

    @property
    def sample(self) -> int:
        """How many texts of the corpus it wants to be calibrated by, before it encodes documents; 0 if none."""
        return CALIBRATED_BY + CHECKED_BY if self.card.precision == "int8" and self._quantised is None else 0

    def calibrate(self, texts: Sequence[str]) -> None:
        """Quantise the model by texts of the corpus, or take what an earlier calibration by them has left."""
        if not texts or not self.sample:
            return
        part = self._model.document
        self._quantised, calibration = int8_body(
            part.headless,
            part.tokenize,
            texts,
            name=self.card.model,
            weights=reading(self.card),
            source=self._source,
            near=lambda some, body: cosines(
                *(np.stack(self._run(some, "document", by, _as_arrays)) for by in (None, body))
            ),
        )
        self.card = replace(self.card, quantised=calibration.quantised)
        _LOG.warning("%s", calibration)

    def restore(self, quantised: str) -> None:
        """Take the int8 model with this digest, as an index was built with it.

        Raises:
            ModelError: it is not kept any more.
        """
        names = list(example_of(self._model.document.tokenize(_EXAMPLES)))
        self._quantised = OpenVinoBody(kept_by_digest(quantised, self._source), names, "float32")
        self.card = replace(self.card, quantised=quantised)

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> SparseVectors:
        """Vectors in the order of the texts; `on_batch` hears how many more are done.

        In int8, the first texts calibrate a model that has not been.
        """
        self.calibrate(texts[: self.sample])
        return self._vectors(self._encode(texts, "document", self._quantised or self._body, on_batch))

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """Vectors in the order of the texts."""
        if not self._table:
            return self._vectors(self._encode(texts, "query", None, _nobody))
        prompt, top = self.card.prompts.get("query", ""), self.card.top_terms.get("query")
        found = self._table.encode([prompt + text for text in texts])
        return self._vectors([_largest(*vector, top) for vector in found])

    def literal_tokens(self, text: str) -> set[str]:
        """The tokens that stand in a text, all of it; what its vector holds beside them is expansion."""
        special = set(self._tokens.special)
        return {self._names[token] for token in self._tokens.of([text])[0] if token not in special}

    @property
    def use(self) -> ModelUse:
        """How large the model is that queries go through, and where it runs; of a table, its weights."""
        return ModelUse(self.card.dimensions, "cpu") if self._table else use_of(self._model)

    @cached_property
    def _names(self) -> list[str]:
        return self._tokens.names(self.card.dimensions)

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self._layout.document.words, self.card.model)

    @cached_property
    def _table(self) -> TokenTable | None:
        query = self._layout.query
        if self._given:
            return None
        return TokenTable(query, self.card.model, self.card.dimensions) if query.kind == "table" else None

    @property
    def _source(self) -> str:
        """The model's folder, if it is the user's own; of the hub's models the name."""
        return self.card.model if self._layout.revision else str(self._layout.document.folder)

    @cached_property
    def _choice(self) -> Choice:
        return self._given_choice or choose(self.card.precision, self._runtime, self._device)

    @cached_property
    def _model(self) -> "Splade":
        """On the device, in the precision that torch is to have."""
        if self._given:
            return self._given
        try:
            import torch  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("torch", "models", "encoding") from error
        from retrieval.encoders.neural.splade import Splade

        choice = self._choice
        precision = choice.floats if choice.runtime == "torch" else "float32"
        return Splade.of(self._layout, self.card.model, choice.device, precision=precision)

    @cached_property
    def _body(self) -> Body | None:
        """What runs the model for documents, in floats, if it is not torch."""
        part, choice = self._model.document, self._choice
        if choice.precision == "int8":
            return None
        with evaluating(self._model):
            body = body_of(part.headless, part.tokenize(_EXAMPLES), choice, self.card.model)
        self.card = replace(self.card, runtime=choice.runtime if body else "torch")
        return body

    def _encode(
        self, texts: Sequence[str], side: str, body: Body | None, on_batch: Callable[[int], None]
    ) -> list[Vector]:
        top = self.card.top_terms.get(side)

        def fetch(weights: Any) -> list[Vector]:
            return [_largest(*vector, top) for vector in _rows(weights)]

        return self._run(texts, side, body, fetch, on_batch)

    def _run(
        self,
        texts: Sequence[str],
        side: str,
        body: Body | None,
        fetch: Callable[[Any], Sequence[T]],
        on_batch: Callable[[int], None] = lambda done: None,
    ) -> list[T]:
        return run_model(
            texts,
            lambda some: self._model.tokenize(some, side),
            lambda features: self._weights(features, side, body),
            fetch,
            self._choice.batching(self._batch_tokens),
            on_batch,
        )

    def _weights(self, features: dict[str, Any], side: str, body: Body | None) -> Any:
        """(n, V) on the device."""
        import torch

        model, half = self._model, self._choice.floats == "bfloat16"
        with torch.inference_mode(), evaluating(model):
            if body is None:
                device = model.document.special.device
                return model({name: values.to(device) for name, values in features.items()}, side)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                return model.document.pool(body(features), features)

    def _vectors(self, vectors: Sequence[Vector]) -> SparseVectors:
        return SparseVectors(
            tokens=self._names,
            offsets=np.cumsum([0, *(len(columns) for columns, _ in vectors)], dtype=np.int64),
            columns=np.concatenate([np.empty(0, np.int32), *(columns for columns, _ in vectors)]),
            weights=np.concatenate([np.empty(0, np.float32), *(weights for _, weights in vectors)]),
        )


def _nobody(done: int) -> None:
    """Tell nobody."""


def _as_arrays(weights: Any) -> Any:
    return weights.float().cpu().numpy()


def _rows(weights: Any) -> list[Vector]:
    """The columns above zero of each row of a tensor, ascending, and their weights."""
    rows, columns = weights.nonzero(as_tuple=True)
    values = weights[rows, columns].float().cpu().numpy()
    numbers = columns.int().cpu().numpy()
    ends = np.cumsum(np.bincount(rows.cpu().numpy(), minlength=len(weights)))[:-1]
    return list(zip(np.split(numbers, ends), np.split(values, ends), strict=True))


def _largest(columns: NDArray[np.int32], weights: NDArray[np.float32], top: int | None) -> Vector:
    """The largest weights of a vector, of equal ones those in lower columns; columns stay ascending."""
    if top is None or len(columns) <= top:
        return columns, weights
    kept = np.sort(np.argsort(-weights, kind="stable")[:top])
    return columns[kept], weights[kept]


def _tops(*tops: int | None) -> dict[str, int]:
    """How many weights are kept, by side; a side that keeps all is not named."""
    named = {side: top for side, top in zip(SIDES, tops, strict=True) if top is not None}
    if any(top < 1 for top in named.values()):
        raise InputError(f"top terms {named}: a vector keeps at least one", hint="leave it out to keep all")
    return named


def _card(layout: Layout, name: str, precision: str, tops: Mapping[str, int], weights: str) -> EncoderCard:
    """What decides the vectors; nothing needs to be loaded for it."""
    parts = {"query": layout.query, "document": layout.document}
    return EncoderCard(
        model=name,
        dimensions=layout.document.dimensions,
        similarity="dot",
        weights=weights,
        revision=layout.revision,
        max_length=layout.document.max_length,
        pooling=_joined([_pooling(part) for part in parts.values()]),
        modules=tuple(dict.fromkeys(part.architecture for part in parts.values())),
        prompts=dict(layout.prompts),
        precision=precision,
        top_terms=dict(tops),
    )


def _pooling(part: Part) -> str:
    if part.kind == "table":
        return "tokens"
    words = ["echo"] * (part.kind == "echo") + [part.pooling] + ["log1p_relu"] * (part.activation == "log1p_relu")
    return " ".join(words)


def _joined(words: Sequence[str]) -> str:
    """One word if both sides are alike, else both."""
    return ", ".join(dict.fromkeys(words))


def _digest(layout: Layout) -> str:
    """One digest over the files that hold parameters and tokens, so that no model needs to be loaded for it."""
    digest = hashlib.sha256()
    for part in dict.fromkeys((layout.query, layout.document)):
        words = [part.words / name for name in _TOKENIZER_FILES if (part.words / name).is_file()]
        for path in (*part.weights, *words):
            digest.update(f"{path.name}:{sha256_of(path)}\n".encode())
        digest.update(f"{part.max_length} {part.separator!r} {part.tied}\n".encode())
    return f"sha256:{digest.hexdigest()}"

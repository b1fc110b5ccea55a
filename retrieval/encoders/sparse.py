"""Learned-sparse encoders: SPLADE and its kin, with two models or without one for queries, and echoes."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.layout import SIDES, Layout, Part, read_layout
from retrieval.encoders.models import check_card, model_name, weights_digest
from retrieval.encoders.tokens import Tokens, TokenTable
from retrieval.errors import InputError, MissingExtraError
from retrieval.files import sha256_of
from retrieval.types import EncoderCard, SparseVectors

if TYPE_CHECKING:
    from retrieval.encoders.neural.splade import Splade

__all__ = ["SparseModel", "load_sparse_encoder"]

# Texts that go through the model together; progress is told after each such batch.
_TEXTS_AT_ONCE = 32
_PRECISIONS = ("float32", "bfloat16")
# What decides how a text becomes tokens, in whichever of these a model keeps it.
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "tokenizer.model")

Vector = tuple[NDArray[np.int32], NDArray[np.float32]]


def load_sparse_encoder(
    model: str,
    *,
    device: str | None = None,
    expected: EncoderCard | None = None,
    query_top: int | None = None,
    document_top: int | None = None,
    precision: str | None = None,
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
        precision: of the parameters, `float32` or `bfloat16`; None takes the expected one, or the first.

    Raises:
        InputError: a number of weights below one, or an unknown precision.
        MissingExtraError: a package that it needs is not installed.
        ModelError: the model cannot be found or loaded, is no learned-sparse encoder, or is not the expected one.
    """
    precision = precision or (expected.precision if expected else _PRECISIONS[0])
    if precision not in _PRECISIONS:
        raise InputError(f"precision is {precision!r}", hint=f"one of {', '.join(_PRECISIONS)}")
    tops = {**(expected.top_terms if expected else {}), **_tops(query_top, document_top)}
    name = model_name(model)
    layout = read_layout(model, name)
    encoder = SparseModel(layout, _card(layout, name, precision, tops, _digest(layout)), device=device)
    if expected:
        check_card(encoder.card, expected)
    return encoder


class SparseModel:
    """Turns texts into sparse vectors over its vocabulary; tokens that stand for no word are never in one.

    Args:
        layout: which part encodes which side.
        card: what decides the vectors.
        device: torch's name of a device; None takes the best there is.
        model: what the parts are, if they are loaded already.
    """

    def __init__(
        self, layout: Layout, card: EncoderCard, *, device: str | None = None, model: "Splade | None" = None
    ) -> None:
        self._layout = layout
        self._device = device
        self._given = model
        self.card = card
        if layout.query.kind != "table":
            # An error in the model comes at once, not after a corpus was read.
            self._model  # noqa: B018

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
        return cls(layout, card, model=model)

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> SparseVectors:
        """Vectors in the order of the texts; `on_batch` hears how many more are done."""
        return self._vectors(self._encode(texts, "document", on_batch))

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """Vectors in the order of the texts."""
        if not self._table:
            return self._vectors(self._encode(texts, "query", lambda done: None))
        prompt, top = self.card.prompts.get("query", ""), self.card.top_terms.get("query")
        found = self._table.encode([prompt + text for text in texts])
        return self._vectors([_largest(*vector, top) for vector in found])

    def literal_tokens(self, text: str) -> set[str]:
        """The tokens that stand in a text, all of it; what its vector holds beside them is expansion."""
        special = set(self._tokens.special)
        return {self._names[token] for token in self._tokens.of([text])[0] if token not in special}

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

    @cached_property
    def _model(self) -> "Splade":
        """On the device."""
        if self._given:
            return self._given
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError("torch", "models", "encoding") from error
        from retrieval.encoders.neural.splade import Splade

        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        return Splade.of(self._layout, self.card.model, device, precision=self.card.precision)

    def _encode(self, texts: Sequence[str], side: str, on_batch: Callable[[int], None]) -> list[Vector]:
        import torch

        model, top = self._model, self.card.top_terms.get(side)
        vectors: list[Vector] = [(np.empty(0, np.int32), np.empty(0, np.float32))] * len(texts)
        # Longest first: texts of one length are padded least, and the largest batch fails first if memory is short.
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), _TEXTS_AT_ONCE):
            part = order[start : start + _TEXTS_AT_ONCE]
            features = model.tokenize([texts[i] for i in part], side)
            on_device = {name: values.to(model.document.special.device) for name, values in features.items()}
            with torch.inference_mode(), _evaluating(model):
                weights = model(on_device, side)
            for i, vector in zip(part, _rows(weights), strict=True):
                vectors[i] = _largest(*vector, top)
            on_batch(len(part))
        return vectors

    def _vectors(self, vectors: Sequence[Vector]) -> SparseVectors:
        return SparseVectors(
            tokens=self._names,
            offsets=np.cumsum([0, *(len(columns) for columns, _ in vectors)], dtype=np.int64),
            columns=np.concatenate([np.empty(0, np.int32), *(columns for columns, _ in vectors)]),
            weights=np.concatenate([np.empty(0, np.float32), *(weights for _, weights in vectors)]),
        )


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout; a model that is trained goes on as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


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

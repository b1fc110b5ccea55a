"""The models of an index: what encodes its queries, and documents that are added to it."""

from typing import Any

from retrieval.encoders.dense import load_encoder
from retrieval.encoders.runtimes.precision import for_queries
from retrieval.encoders.sparse import load_sparse_encoder
from retrieval.errors import ArtifactMissingError, InputError, ModelError
from retrieval.indexing import Index
from retrieval.protocols import Encoder, SparseEncoder
from retrieval.types import EncoderCard

__all__ = ["load_document_encoder", "load_query_encoder", "load_sparse_query_encoder"]


def load_query_encoder(index: Index, device: str | None = None, *, model: str | None = None) -> Encoder:
    """The encoder of queries for the index' dense part; an error if there is no such part, or not this model.

    `model` says where it is now, where that is not the place or name it had. Queries are encoded in the precision of
    the documents, but in float32 where that is int8 or one that this machine has not.
    """
    documents = _dense_card(index)
    assert index.manifest.dense
    card = index.manifest.dense.query_encoder or documents
    precision = for_queries(card.precision, device)
    encoder = load_encoder(model or card.model, device=device, precision=precision, expected=documents)
    if not model and encoder.card.weights != card.weights:
        raise ModelError(
            f"model {card.model!r} encodes queries otherwise than when the index was given it",
            hint=f"put it back as it was, or take it as it is: retrieval index query-encoder {index.path} MODEL",
        )
    return encoder


def load_document_encoder(index: Index, *, model: str | None = None, **encoding: Any) -> Encoder:
    """The encoder for documents that are added to the index' dense part, in the precision that the others were.

    Args:
        index: that has such a part.
        model: where it is now, where that is not the place or name it had.
        encoding: what `load_encoder` takes, to run it otherwise.

    Raises:
        ArtifactMissingError: the index has no dense part.
        ModelError: this is not the model, or the index' int8 model is not kept here any more.
    """
    card = _dense_card(index)
    return load_encoder(model or card.model, expected=card, **encoding)


def _dense_card(index: Index) -> EncoderCard:
    if index.manifest.dense is None:
        raise ArtifactMissingError(f"{index.path} has no dense part", hint="build it with one: --dense MODEL")
    return index.manifest.dense.encoder


def load_sparse_query_encoder(index: Index, device: str | None = None, *, model: str | None = None) -> SparseEncoder:
    """The encoder of the index' learned-sparse part; an error if there is no such part, or not this model.

    `model` says where it is now, or, where the vectors were computed elsewhere, which one it is.
    """
    part = index.manifest.sparse
    if part is None:
        raise ArtifactMissingError(f"{index.path} has no sparse part", hint="build it with one: --sparse MODEL")
    name = model or (part.encoder.model if part.encoder else None)
    if name is None:
        raise InputError(
            f"the sparse vectors of {index.path} were computed elsewhere, so those of queries must be given",
            hint="give them: --query-vectors FILE, or name their model: --sparse MODEL",
        )
    precision = for_queries(part.encoder.precision, device) if part.encoder else None
    return load_sparse_encoder(name, device=device, precision=precision, expected=part.encoder)

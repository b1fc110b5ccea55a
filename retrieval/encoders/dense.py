"""Dense encoders: any model that sentence-transformers loads."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.models import check_card, locate, model_name, quiet, weights_digest
from retrieval.errors import MissingExtraError, ModelError
from retrieval.types import EncoderCard

__all__ = ["DenseEncoder", "check_card", "load_encoder"]

# Texts handed to the model in one call: it sorts and batches them, and progress is told after each call.
_TEXTS_AT_ONCE = 32


def load_encoder(model: str, *, device: str | None = None, expected: EncoderCard | None = None) -> "DenseEncoder":
    """Load `minilm`, a local folder or a model of the Hugging Face hub; on a GPU where torch sees one.

    Args:
        model: what to load.
        device: torch's name of a device; None takes the best there is.
        expected: the card that an index was built with; a model whose vectors would not fit it is an error.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        ModelError: the model cannot be found or loaded, compares vectors by a distance, or is not the expected one.
    """
    encoder = DenseEncoder(model, device=device)
    if expected:
        check_card(encoder.card, expected)
    return encoder


class DenseEncoder:
    """A sentence-transformers model, with the settings it declares: pooling, prompts, length and similarity."""

    def __init__(self, model: str, *, device: str | None = None) -> None:
        self._model = _load(locate(model), model, device)
        self.card = _card(self._model, model_name(model))

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> NDArray[np.float32]:
        """(n, d) vectors in the order of the texts; `on_batch` hears how many more are done."""
        return self._encode(self._model.encode_document, texts, on_batch)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) vectors in the order of the texts."""
        return self._encode(self._model.encode_query, texts, lambda done: None)

    def _encode(
        self, encode: Callable[..., Any], texts: Sequence[str], on_batch: Callable[[int], None]
    ) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), self.card.dimensions), dtype=np.float32)
        # Longest first: texts of one length are padded least, and the largest batch fails first if memory is short.
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), _TEXTS_AT_ONCE):
            part = order[start : start + _TEXTS_AT_ONCE]
            vectors[part] = encode(
                [texts[i] for i in part],
                normalize_embeddings=self.card.similarity == "cosine",
                show_progress_bar=False,
            )
            on_batch(len(part))
        return vectors


def _load(source: str, name: str, device: str | None) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError("sentence-transformers", "models", "encoding") from error
    try:
        with quiet():
            return SentenceTransformer(source, device=device)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"model {name!r} cannot be loaded: {error}", hint="name a local folder, a Hugging Face id, or minilm"
        ) from error


def _card(model: Any, name: str) -> EncoderCard:
    """What decides the vectors of a loaded model."""
    similarity = str(model.similarity_fn_name or "cosine")
    if similarity not in ("cosine", "dot"):
        raise ModelError(f"model {name!r} compares vectors by {similarity}; an index knows cosine and dot")
    pooling = [module.get_config_dict() for module in model if type(module).__name__ == "Pooling"]
    return EncoderCard(
        model=name,
        dimensions=model.get_embedding_dimension(),
        similarity=similarity,
        weights=weights_digest(model),
        revision=getattr(getattr(model[0], "config", None), "_commit_hash", None),
        max_length=model.max_seq_length,
        pooling=pooling[0]["pooling_mode"] if pooling else None,
        modules=tuple(type(module).__name__ for module in model),
        prompts=dict(model.prompts),
        precision=str(next(model.parameters()).dtype).removeprefix("torch."),
    )

"""A dense encoder with experts: adapters that queries may be encoded with, over one model in memory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.dense import DenseEncoder
from retrieval.types import EncoderCard, ModelUse

__all__ = ["ADAPTERS", "ExpertEncoder", "Single"]

ADAPTERS = "adapters.safetensors"
"""What the file of an expert is called."""


class ExpertEncoder(DenseEncoder):
    """Encodes documents by the base model, and queries by it or by one of its experts, in float32.

    Args:
        model: the base, see `load_encoder`.
        adapters: of each expert, by its name; see `retrieval.encoders.neural.adapters`.
        device: torch's name of a device; None takes the best there is.

    Raises:
        MissingExtraError: sentence-transformers or peft is not installed.
        ModelError: the base or adapters cannot be read, or do not go together.
    """

    def __init__(self, model: str, adapters: Mapping[str, Path], *, device: str | None = None) -> None:
        super().__init__(model, device=device, precision="fp32", runtime="torch")
        from retrieval.encoders.neural.adapters import Adapters, query_side

        self._adapters = Adapters(query_side(self._model))
        for name, path in adapters.items():
            self._adapters.add(name, path)
        # Which adapters take part is a state of the model, and several threads may search.
        self._lock = Lock()

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> NDArray[np.float32]:
        """(n, d) vectors by the base, in the order of the texts; `on_batch` hears how many more are done."""
        with self._lock, self._adapters.using(None):
            return super().encode_documents(texts, on_batch)

    def encode_queries(self, texts: Sequence[str], expert: str | None = None) -> NDArray[np.float32]:
        """(n, d) vectors by an expert, or by the base, in the order of the texts."""
        with self._lock, self._adapters.using(expert):
            return super().encode_queries(texts)


class Single:
    """An encoder whose queries are all encoded by one expert, or by the base."""

    def __init__(self, encoder: ExpertEncoder, expert: str | None) -> None:
        self._encoder, self._expert = encoder, expert

    @property
    def card(self) -> EncoderCard:
        """The base's: documents are encoded by it."""
        return self._encoder.card

    @property
    def use(self) -> ModelUse:
        """How large the base is with all experts, and where it runs."""
        return self._encoder.use

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> NDArray[np.float32]:
        """By the base."""
        return self._encoder.encode_documents(texts, on_batch)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """By the expert."""
        return self._encoder.encode_queries(texts, self._expert)

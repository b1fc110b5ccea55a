"""The seams between the rooms: what an encoder and a searcher must offer, and nothing more."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from retrieval.types import EncoderCard, Hits, ModelUse, SparseVectors

__all__ = [
    "Calibrated",
    "CalibratedReranker",
    "Encoder",
    "HasModel",
    "Progress",
    "Reranker",
    "Searcher",
    "SetReranker",
    "SparseEncoder",
    "silent",
]


class Progress(Protocol):
    """Told of work as it is done, so that a front door can show it."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """`done` of `total` units of `stage` are finished; `total` is None where nobody knows it yet.

        What stands in `stage` behind a comma says how it goes, and may change from call to call.
        """


def silent(stage: str, done: int, total: int | None) -> None:
    """Show nothing."""


class Encoder(Protocol):
    """Turns texts into dense vectors."""

    @property
    def card(self) -> EncoderCard:
        """What decides the vectors."""

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> NDArray[np.float32]:
        """(n, d) vectors, in the order of the texts; `on_batch` hears how many more are done."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) vectors, in the order of the texts."""


class SparseEncoder(Protocol):
    """Turns texts into sparse vectors over the tokens of its vocabulary."""

    @property
    def card(self) -> EncoderCard:
        """What decides the vectors; `dimensions` is the size of the vocabulary."""

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> SparseVectors:
        """Vectors, in the order of the texts; `on_batch` hears how many more are done."""

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """Vectors, in the order of the texts."""

    def literal_tokens(self, text: str) -> set[str]:
        """The tokens that stand in a text; what its vector holds beside them is expansion."""


@runtime_checkable
class Calibrated(Protocol):
    """An encoder that may have to see texts of the corpus before it encodes the first."""

    @property
    def sample(self) -> int:
        """How many it wants; 0 if none, or if it has seen them."""

    def calibrate(self, texts: Sequence[str]) -> None:
        """Let it see them, drawn at random; its card says what became of it."""


@runtime_checkable
class HasModel(Protocol):
    """An encoder or reranker that runs a model, and can say how large it is."""

    @property
    def use(self) -> ModelUse:
        """Of the model that is loaded; it is loaded if need be."""


@runtime_checkable
class Reranker(Protocol):
    """Reads a query and passages together, and says how well they go together."""

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the scores, as JSON values."""

    def score_lists(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """For each query (m,) finite scores of its m passages, higher is better; those of a query can be compared."""


@runtime_checkable
class CalibratedReranker(Protocol):
    """A reranker that may have to see passages of the corpus before it scores the first."""

    @property
    def sample(self) -> int:
        """How many it wants; 0 if none, or if it has seen them."""

    def calibrate(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> None:
        """Let it see them, each beside its query; its settings say what became of it."""


@runtime_checkable
class SetReranker(Protocol):
    """A reranker whose score of a passage depends on the others of its list: those of two calls cannot be compared."""

    @property
    def at_once(self) -> int:
        """Passages of a list that see each other, at most."""


Q_contra = TypeVar("Q_contra", contravariant=True)


class Searcher(Protocol[Q_contra]):
    """One kind of index over the documents of an artifact, open for reading."""

    def search(self, queries: Q_contra, k: int, threads: int = 1, allowed: NDArray[np.bool_] | None = None) -> Hits:
        """The best k of each query among the documents that are allowed; fewer where fewer match."""

"""Builds the dense part of an artifact: vectors in, one memory-mappable matrix out."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.index.arrays import ArrayAppender

__all__ = ["DenseBuilder"]


class DenseBuilder:
    """Appends vectors to `vectors.npy` and their documents to `ordinals.npy`, in ascending order of ordinals.

    A document may have no vector, as an empty one; it is then never found.
    """

    def __init__(self, folder: Path, dimensions: int) -> None:
        self._dimensions = dimensions
        self._vectors = ArrayAppender(folder / "vectors.npy", np.float32, (dimensions,))
        self._ordinals = ArrayAppender(folder / "ordinals.npy", np.int64)
        self.largest_norm = 0.0

    def add(self, ordinals: NDArray[np.int64], vectors: NDArray[Any]) -> None:
        """Add the vectors, (n, d), of documents, (n,); an error if one of them is not finite."""
        if vectors.shape != (len(ordinals), self._dimensions):
            raise InputError(f"vectors must be {(len(ordinals), self._dimensions)}; got {vectors.shape}")
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise InputError(f"the vector of document {ordinals[~finite][0]} is not finite")
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        self.largest_norm = max(self.largest_norm, float(norms.max(initial=0.0)))
        self._ordinals.append(ordinals)
        self._vectors.append(vectors)

    @property
    def count(self) -> int:
        """Vectors added so far."""
        return self._vectors.rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._ordinals, self._vectors:
            pass  # both headers are completed, also when one fails

"""Builds the dense part of a segment: vectors in, one memory-mappable matrix out."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.index.storage.arrays import ArrayAppender
from retrieval.index.storage.marks import Mark

__all__ = ["ROWS", "VECTORS", "VectorWriter"]

VECTORS, ROWS = "vectors.npy", "vector_rows.npy"


_LONGEST = 1e18


class VectorWriter:
    """Appends vectors to `vectors.npy` and their documents' rows to `vector_rows.npy`, in ascending order of rows.

    A document may have no vector, as an empty one; it is then never found. With the marks of what was synced earlier it
    goes on from that, where no vector was longer than `largest_norm`.
    """

    def __init__(
        self, folder: Path, dimensions: int, *, marks: Mapping[str, Mark] | None = None, largest_norm: float = 0.0
    ) -> None:
        self._dimensions = dimensions
        self._vectors = ArrayAppender(
            folder / VECTORS, np.float32, (dimensions,), mark=marks[VECTORS] if marks else None
        )
        self._rows = ArrayAppender(folder / ROWS, np.int64, mark=marks[ROWS] if marks else None)
        self.largest_norm = largest_norm

    def add(self, rows: NDArray[np.int64], vectors: NDArray[Any]) -> None:
        """Add the vectors, (n, d), of documents, (n,); an error if one of them is not finite."""
        if vectors.shape != (len(rows), self._dimensions):
            raise InputError(f"vectors must be {(len(rows), self._dimensions)}; got {vectors.shape}")
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        # Beyond that inner products are infinite; and what is not finite is not below.
        short = norms <= _LONGEST
        if not short.all():
            raise InputError(f"the vector of document {rows[~short][0]} is not finite, or longer than {_LONGEST:g}")
        self.largest_norm = max(self.largest_norm, float(norms.max(initial=0.0)))
        self._rows.append(rows)
        self._vectors.append(vectors)

    @property
    def count(self) -> int:
        """Vectors added so far."""
        return self._vectors.rows

    def sync(self) -> dict[str, Mark]:
        """Make what was added durable; the marks of the files."""
        return {VECTORS: self._vectors.sync(), ROWS: self._rows.sync()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._rows, self._vectors:
            pass  # both headers are completed, also when one fails

"""The vectors of one segment on disk."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retrieval.index.dense.builder import ROWS, VECTORS
from retrieval.index.storage.arrays import DiskArray
from retrieval.index.storage.files import CheckedFile, Folder

__all__ = ["VectorReader"]

_ROWS_AT_ONCE = 1 << 16


class VectorReader:
    """The vectors of one segment, and the rows of the documents they are of."""

    def __init__(self, folder: Folder, rows: int, dimensions: int) -> None:
        self.folder = folder
        self.vectors = DiskArray(folder, VECTORS, np.float32, ndim=2)
        self.rows = DiskArray(folder, ROWS, np.int64)
        self._segment_rows = rows
        if self.vectors.shape[1] != dimensions:
            raise self.vectors.damaged(f"holds vectors of {self.vectors.shape[1]} dimensions, expected {dimensions}")
        if len(self.rows) != len(self.vectors):
            raise self.rows.damaged(f"holds {len(self.rows)} values, expected {len(self.vectors)}")

    def __len__(self) -> int:
        return len(self.vectors)

    def checked(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """All vectors, of which these rows have been compared with their checksums; negative rows are none."""
        file = self.vectors.file
        if not isinstance(file, CheckedFile) or file.is_checked:
            return self.all
        self.vectors.check_rows(rows[rows >= 0])
        vectors: NDArray[np.float32] = self.vectors.unchecked
        return vectors

    @cached_property
    def all(self) -> NDArray[np.float32]:
        """All vectors, compared with their checksums at the first use."""
        vectors: NDArray[np.float32] = self.vectors.all()
        return vectors

    def problems(self, largest_norm: float) -> list[str]:
        """Read all of it, and name what cannot be."""
        found = []
        rows = self.rows.all()
        if np.any(np.diff(rows) < 1) or (len(rows) and not 0 <= rows[0] <= rows[-1] < self._segment_rows):
            found.append(f"{self.rows.file.path}: the documents are not in order, or do not exist")
        for start in range(0, len(self), _ROWS_AT_ONCE):
            part = self.vectors.slice(start, min(start + _ROWS_AT_ONCE, len(self)))
            if not np.all(np.linalg.norm(part.astype(np.float64), axis=1) <= largest_norm * (1 + 1e-6)):
                reason = "holds a vector that is not finite or longer than any was"
                return [*found, f"{self.vectors.file.path}: {reason}"]
        return found

"""Sparse queries as the searches take them: tokens as numbers of the index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["TermQueries"]


@dataclass(frozen=True, kw_only=True)
class TermQueries:
    """Queries, one after the other.

    Attributes:
        terms: int64, one query after the other.
        weights: float32.
        offsets: (n + 1,) int64 where each query begins.
    """

    terms: NDArray[np.int64]
    weights: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def only(self, rows: NDArray[np.int64]) -> "TermQueries":
        """Some of them."""
        parts = [slice(self.offsets[row], self.offsets[row + 1]) for row in rows]
        return TermQueries(
            terms=np.concatenate([self.terms[part] for part in parts]),
            weights=np.concatenate([self.weights[part] for part in parts]),
            offsets=np.cumsum([0, *(part.stop - part.start for part in parts)], dtype=np.int64),
        )

"""What every engine of the sparse benchmark can do."""

from abc import ABC, abstractmethod
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from measuring import folder_bytes
from numpy.typing import NDArray
from sparse_synthetic import Vectors

Parameters = dict[str, Any]
Rows = list[tuple[list[int], list[float]]]
"""For each query its hits' documents, best first, and their scores."""


def rows_of(ordinals: NDArray[np.int64], scores: NDArray[np.float32], counts: NDArray[np.int64]) -> Rows:
    """Arrays, of which only the first columns of a row are hits, as rows."""
    return [(o[:n].tolist(), s[:n].tolist()) for o, s, n in zip(ordinals, scores, counts, strict=True)]


class Engine(ABC):
    """One engine, on one thread, in a process of its own.

    Attributes:
        packages: the distributions that decide its figures.
        note: in what its work differs from ours.
    """

    packages: ClassVar[tuple[str, ...]]
    note: ClassVar[str] = ""

    def builds(self, full: bool) -> list[Parameters]:
        """Parameters to build with: the usual ones first, more of them for a full comparison."""
        del full
        return [{}]

    @abstractmethod
    def searches(self) -> list[Parameters]:
        """Parameters to search with, of which the fastest that reaches a recall is taken."""

    @abstractmethod
    def build(self, vectors: Vectors, out: Path, parameters: Parameters) -> None:
        """From vectors on disk to an index in an empty folder."""

    @abstractmethod
    def open(self, vectors: Vectors, out: Path) -> None:
        """Make ready to search what `build` made; vectors on disk may be used, and then count as part of the index."""

    @abstractmethod
    def prepare(self, vectors: Vectors, queries: list[int], k: int) -> Any:
        """Some of the queries, by number, in the form that the engine takes."""

    @abstractmethod
    def search(self, prepared: Any, parameters: Parameters) -> Any:
        """What the clock runs for."""

    @abstractmethod
    def rows(self, found: Any) -> Rows:
        """What `search` gave."""

    def size(self, vectors: Vectors, out: Path) -> int:
        """Bytes on disk of all that a search reads."""
        del vectors
        return folder_bytes(out)

    def about(self) -> dict[str, Any]:
        """The versions of its packages, and its note."""
        return {"versions": {name: version(name) for name in self.packages}, "note": self.note}

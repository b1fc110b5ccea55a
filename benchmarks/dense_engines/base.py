"""What every engine of the dense benchmark can do."""

from abc import ABC, abstractmethod
from importlib.metadata import version
from math import log2, sqrt
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from measuring import folder_bytes
from numpy.typing import NDArray

Parameters = dict[str, Any]

BREADTHS = (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048)
"""Candidates that a graph's search keeps, and lists that a search looks into: what all engines try in turn."""

NEIGHBOURS, EFFORT = 32, 100
"""Of every graph: neighbours of a vector above the lowest layer, and candidates while building."""


def lists_of(documents: int) -> int:
    """Inverted lists for so many vectors: the power of two that is nearest to four times the root."""
    return int(2 ** round(log2(4 * sqrt(documents))))


class Engine(ABC):
    """One engine, in a process of its own; vectors have the length 1, and are compared by inner product.

    Attributes:
        packages: the distributions that decide its figures.
        note: in what its work differs from the others'.
    """

    packages: ClassVar[tuple[str, ...]]
    note: ClassVar[str] = ""

    def builds(self, documents: int, full: bool) -> list[Parameters]:
        """Parameters to build with: the usual ones first, more of them for a full comparison."""
        del documents, full
        return [{}]

    @abstractmethod
    def searches(self, build: Parameters) -> list[list[Parameters]]:
        """Parameters to search with, in series in each of which recall and cost rise."""

    @abstractmethod
    def build(self, vectors: Path, out: Path, parameters: Parameters, threads: int) -> None:
        """From a .npy file of float32 vectors to an index in an empty folder."""

    @abstractmethod
    def open(self, vectors: Path, out: Path, build: Parameters) -> None:
        """Make ready to search what `build` made."""

    def prepare(self, parameters: Parameters) -> None:  # noqa: B027 (most have nothing to do)
        """Take parameters to search with, where that is not part of a search."""

    @abstractmethod
    def search(self, queries: NDArray[np.float32], k: int, parameters: Parameters) -> Any:
        """What the clock runs for, on one thread."""

    @abstractmethod
    def rows(self, found: Any) -> NDArray[np.int64]:
        """What `search` gave, as the numbers of vectors, (n, k)."""

    def size(self, vectors: Path, out: Path) -> int:
        """Bytes on disk of all that a search reads."""
        del vectors
        return folder_bytes(out)

    def chosen(self) -> str:
        """What an engine that chooses for itself has chosen."""
        return ""

    def about(self) -> dict[str, Any]:
        """The versions of its packages, and its note."""
        return {"versions": {name: version(name) for name in self.packages}, "note": self.note}

"""USearch, a graph index in one header."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from dense_synthetic import blocks
from numpy.typing import NDArray
from usearch.index import Index

from dense_engines.base import BREADTHS, EFFORT, NEIGHBOURS, Engine, Parameters

_NAME = "index.usearch"


class Usearch(Engine):
    """A graph over the vectors."""

    packages = ("usearch", "numkong")
    kind: ClassVar[str] = "f32"

    def builds(self, documents: int, full: bool) -> list[Parameters]:
        """One for all sizes."""
        del documents, full
        return [{"connectivity": NEIGHBOURS, "expansion_add": EFFORT, "dtype": self.kind}]

    def searches(self, build: Parameters) -> list[list[Parameters]]:
        """Candidates kept."""
        del build
        return [[{"expansion_search": breadth} for breadth in BREADTHS]]

    def build(self, vectors: Path, out: Path, parameters: Parameters, threads: int) -> None:
        """Filled block by block, then saved."""
        index = Index(ndim=np.load(vectors, mmap_mode="r").shape[1], metric="ip", **parameters)
        for first, block in blocks(vectors):
            index.add(np.arange(first, first + len(block)), block, threads=threads)
        index.save(str(out / _NAME))

    def open(self, vectors: Path, out: Path, build: Parameters) -> None:
        """Into memory."""
        self._index = Index(ndim=np.load(vectors, mmap_mode="r").shape[1], metric="ip", **build)
        self._index.load(str(out / _NAME))

    def prepare(self, parameters: Parameters) -> None:
        """A property of the index."""
        self._index.expansion_search = parameters["expansion_search"]

    def search(self, queries: NDArray[np.float32], k: int, parameters: Parameters) -> Any:
        """Keys and distances."""
        del parameters
        return self._index.search(queries, k, threads=1)

    def rows(self, found: Any) -> NDArray[np.int64]:
        """As they are."""
        return np.asarray(found.keys, dtype=np.int64)


class UsearchInt8(Usearch):
    """The same, each number of a vector in eight bits."""

    kind = "i8"
    note = "vectors in eight bits, nothing scored again"

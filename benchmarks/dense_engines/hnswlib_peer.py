"""hnswlib, by the authors of HNSW (Malkov and Yashunin, 2018)."""

from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
from dense_synthetic import blocks
from numpy.typing import NDArray

from dense_engines.base import BREADTHS, EFFORT, NEIGHBOURS, Engine, Parameters

_NAME = "index.hnswlib"


class Hnswlib(Engine):
    """A graph over the vectors."""

    packages = ("hnswlib",)

    def builds(self, documents: int, full: bool) -> list[Parameters]:
        """One for all sizes."""
        del documents, full
        return [{"M": NEIGHBOURS, "ef_construction": EFFORT}]

    def searches(self, build: Parameters) -> list[list[Parameters]]:
        """Candidates kept."""
        del build
        return [[{"ef": breadth} for breadth in BREADTHS]]

    def build(self, vectors: Path, out: Path, parameters: Parameters, threads: int) -> None:
        """Filled block by block, then saved."""
        rows, dimensions = np.load(vectors, mmap_mode="r").shape
        index = hnswlib.Index(space="ip", dim=dimensions)
        index.init_index(max_elements=rows, **parameters)
        for first, block in blocks(vectors):
            index.add_items(block, np.arange(first, first + len(block)), num_threads=threads)
        index.save_index(str(out / _NAME))

    def open(self, vectors: Path, out: Path, build: Parameters) -> None:
        """Into memory."""
        del build
        self._index = hnswlib.Index(space="ip", dim=np.load(vectors, mmap_mode="r").shape[1])
        self._index.load_index(str(out / _NAME))

    def prepare(self, parameters: Parameters) -> None:
        """A property of the index."""
        self._index.set_ef(parameters["ef"])

    def search(self, queries: NDArray[np.float32], k: int, parameters: Parameters) -> Any:
        """Labels and distances."""
        del parameters
        return self._index.knn_query(queries, k=k, num_threads=1)

    def rows(self, found: Any) -> NDArray[np.int64]:
        """As they are."""
        return np.asarray(found[0], dtype=np.int64)

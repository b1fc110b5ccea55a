"""Ours: the dense part of an index, from vectors to hits, with one faiss index each and as it chooses itself."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
from dense_synthetic import blocks
from numpy.typing import NDArray

from dense_engines import faiss_plain
from dense_engines.base import Engine, Parameters
from retrieval.index.dense.builder import VectorWriter
from retrieval.index.dense.searcher import DenseSearcher, VectorReader
from retrieval.index.storage.files import CHECKSUMS, Ledger
from retrieval.types import Hits, ScoreKind

GOALS = (0.95, 0.99)

_FOLDER = "generation-1"
_NORM = "norm.json"


class Ours(Engine):
    """What `retrieval index build` writes of vectors, and `search` reads."""

    packages = ("faiss-cpu", "numpy")

    def build(self, vectors: Path, out: Path, parameters: Parameters, threads: int) -> None:
        """Vectors are appended to a file, and an index is made of that."""
        folder = out / _FOLDER / "dense"
        folder.mkdir(parents=True)
        with VectorWriter(folder, _dimensions(vectors)) as writer:
            for first, block in blocks(vectors):
                writer.add(np.arange(first, first + len(block)), block)
            writer.sync()
        (out / _NORM).write_bytes(orjson.dumps(writer.largest_norm))
        self._index(folder, parameters, threads)

    def open(self, vectors: Path, out: Path, build: Parameters) -> None:
        """As from a manifest."""
        del build
        (out / _FOLDER / CHECKSUMS).unlink(missing_ok=True)  # of an earlier opening
        ledger = Ledger(out)
        ledger.add(_FOLDER)
        ledger.write(_FOLDER)
        folder = Ledger.open(out, ledger.entries).folder(f"{_FOLDER}/dense")
        rows, dimensions = np.load(vectors, mmap_mode="r").shape
        reader = VectorReader(folder, rows, dimensions)
        largest = orjson.loads((out / _NORM).read_bytes())
        self._searcher = DenseSearcher([reader], [0], dimensions, ScoreKind.COSINE, largest)

    def search(self, queries: NDArray[np.float32], k: int, parameters: Parameters) -> Any:
        """Hits."""
        del parameters
        return self._searcher.search(queries, k, threads=1)

    def rows(self, found: Hits) -> NDArray[np.int64]:
        """As they are."""
        return found.ordinals

    def _index(self, folder: Path, parameters: Parameters, threads: int) -> None:
        """Make a faiss index of the vectors in a folder."""
        from retrieval.index.dense.building import build_dense_index
        from retrieval.index.dense.options import DenseOptions

        build_dense_index(folder, DenseOptions(**self._options(parameters)), threads=threads)

    def _options(self, parameters: Parameters) -> dict[str, Any]:
        """`DenseOptions` for what plain faiss is built with."""
        raise NotImplementedError

    def prepare(self, parameters: Parameters) -> None:
        """Search from now on with what plain faiss is searched with, and not with what was tuned."""
        if parameters:
            raise NotImplementedError


class Auto(Ours):
    """It chooses the index and its parameters for a recall, on vectors that it holds out of the documents."""

    note = "each recall is asked for when the index is built; nothing is chosen by the queries of this benchmark"

    def builds(self, documents: int, full: bool) -> list[Parameters]:
        """One for each recall."""
        del documents, full
        return [{"recall": goal} for goal in GOALS]

    def searches(self, build: Parameters) -> list[list[Parameters]]:
        """As was tuned."""
        del build
        return [[{}]]

    def _options(self, parameters: Parameters) -> dict[str, Any]:
        return {"index": "auto", **parameters}


class Flat(Ours):
    """Exact, as it is without a choice."""

    searches = faiss_plain.Flat.searches

    def _index(self, folder: Path, parameters: Parameters, threads: int) -> None:
        """The vectors are the index."""


class Hnsw(Ours):
    """As `faiss-hnsw`."""

    builds, searches = faiss_plain.Hnsw.builds, faiss_plain.Hnsw.searches

    def _options(self, parameters: Parameters) -> dict[str, Any]:
        return {"index": "hnsw"}


class Ivf(Ours):
    """As `faiss-ivf`."""

    builds, searches = faiss_plain.Ivf.builds, faiss_plain.Ivf.searches

    def _options(self, parameters: Parameters) -> dict[str, Any]:
        return {"index": "ivf"}


class IvfPq(Ours):
    """As `faiss-ivf-pq`."""

    builds, searches = faiss_plain.IvfPq.builds, faiss_plain.IvfPq.searches

    def _options(self, parameters: Parameters) -> dict[str, Any]:
        return {"index": "ivf-pq"}


def _dimensions(vectors: Path) -> int:
    return int(np.load(vectors, mmap_mode="r").shape[1])

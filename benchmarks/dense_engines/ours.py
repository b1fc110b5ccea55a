"""Ours: the dense part of an index, from vectors to hits, with one faiss index each and as it chooses itself."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import orjson
from dense_synthetic import blocks
from numpy.typing import NDArray
from pydantic import TypeAdapter

from dense_engines import faiss_plain
from dense_engines.base import Engine, Parameters
from retrieval.index.dense.approximate import INDEX, write_dense_index
from retrieval.index.dense.builder import VECTORS, VectorWriter
from retrieval.index.dense.faiss_index import build_index, write_index
from retrieval.index.dense.kinds import kind_of
from retrieval.index.dense.options import DenseOptions, Effort, SegmentIndex
from retrieval.index.dense.searcher import DenseSearcher
from retrieval.index.dense.vectors import VectorReader
from retrieval.index.storage.files import CHECKSUMS, Ledger
from retrieval.index.threads import faiss_threads
from retrieval.types import Hits, ScoreKind

GOALS = (0.95, 0.99)

_FOLDER = "generation-1"
_ABOUT = "about.json"


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
        with faiss_threads(threads):
            entry = self._index(folder, parameters)
        (out / _ABOUT).write_bytes(orjson.dumps({"norm": writer.largest_norm, "index": entry}))

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
        about = orjson.loads((out / _ABOUT).read_bytes())
        self._entry = TypeAdapter(SegmentIndex | None).validate_python(about["index"])
        indexes = {0: self._entry} if self._entry else {}
        given = ([reader], [0], dimensions, ScoreKind.COSINE, about["norm"], None)
        self._searcher = DenseSearcher(*given, indexes)

    def search(self, queries: NDArray[np.float32], k: int, parameters: Parameters) -> Any:
        """Hits."""
        del parameters
        return self._searcher.search(queries, k, threads=1)

    def rows(self, found: Hits) -> NDArray[np.int64]:
        """As they are."""
        return found.ordinals

    def chosen(self) -> str:
        """The kind, and how hard it looks."""
        if self._entry is None:
            return "flat"
        effort = self._entry.efforts[0]
        return f"{self._entry.factory}, width {effort.width}, {effort.refine} x refined, {effort.recall:.4f} held out"

    @abstractmethod
    def _index(self, folder: Path, parameters: Parameters) -> SegmentIndex | None:
        """Make an index of the vectors in a folder."""


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

    def _index(self, folder: Path, parameters: Parameters) -> SegmentIndex | None:
        return write_dense_index(folder, DenseOptions(index="auto", **parameters))


class Flat(Ours):
    """Exact, as it is without a choice."""

    searches = faiss_plain.Flat.searches

    def _index(self, folder: Path, parameters: Parameters) -> None:
        """The vectors are the index."""


class _Layer(Ours):
    """One kind, searched with what plain faiss is searched with, and not with what would be tuned."""

    kind: ClassVar[str]

    def _index(self, folder: Path, parameters: Parameters) -> SegmentIndex:
        vectors = np.load(folder / VECTORS, mmap_mode="r")
        factory = kind_of(self.kind, *vectors.shape)
        write_index(folder / INDEX, build_index(factory, np.asarray(vectors), lambda done: None))
        return SegmentIndex(kind=self.kind, factory=factory, efforts=[Effort(depth=10, width=1, refine=1, recall=0)])

    def prepare(self, parameters: Parameters) -> None:
        """Search from now on with these."""
        assert self._entry
        width = parameters.get("efSearch") or parameters["nprobe"]
        effort = Effort(depth=10, width=width, refine=parameters.get("k_factor", 1), recall=0)
        self._entry.efforts[:] = [effort]


class Hnsw(_Layer):
    """As `faiss-hnsw`."""

    kind = "hnsw"
    builds, searches = faiss_plain.Hnsw.builds, faiss_plain.Hnsw.searches


class Ivf(_Layer):
    """As `faiss-ivf`."""

    kind = "ivf"
    builds, searches = faiss_plain.Ivf.builds, faiss_plain.Ivf.searches


class IvfPq(_Layer):
    """As `faiss-ivf-pq`."""

    kind = "ivf-pq"
    builds, searches = faiss_plain.IvfPq.builds, faiss_plain.IvfPq.searches


def _dimensions(vectors: Path) -> int:
    return int(np.load(vectors, mmap_mode="r").shape[1])

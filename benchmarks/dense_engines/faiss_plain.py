"""faiss as it is: an index from the factory, trained, filled and searched with nothing around it."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import faiss
import numpy as np
from dense_synthetic import blocks
from numpy.typing import NDArray

from dense_engines.base import BREADTHS, EFFORT, NEIGHBOURS, Engine, Parameters, lists_of

_NAME = "index.faiss"
_TRAINING = 64  # vectors for each list
_FACTORS = (1, 2, 4, 8, 16, 32)  # candidates for each hit that are scored again exactly


class Faiss(Engine):
    """Any index that the factory makes, compared by inner product."""

    packages: ClassVar[tuple[str, ...]] = ("faiss-cpu",)

    def build(self, vectors: Path, out: Path, parameters: Parameters, threads: int) -> None:
        """Trained on a sample of evenly spaced vectors, then filled block by block."""
        faiss.omp_set_num_threads(threads)
        index = self._empty(np.load(vectors, mmap_mode="r").shape[1], parameters)
        if not index.is_trained:
            index.train(_sample(vectors, _TRAINING * parameters["lists"]))
        for _, block in blocks(vectors):
            index.add(block)
        faiss.write_index(index, str(out / _NAME))

    def open(self, vectors: Path, out: Path, build: Parameters) -> None:
        """Into memory."""
        del vectors, build
        faiss.omp_set_num_threads(1)
        self._index = faiss.read_index(str(out / _NAME))

    def search(self, queries: NDArray[np.float32], k: int, parameters: Parameters) -> Any:
        """Scores and rows."""
        return self._index.search(queries, k, params=self._search_parameters(parameters))

    def rows(self, found: Any) -> NDArray[np.int64]:
        """As they are."""
        rows: NDArray[np.int64] = found[1]
        return rows

    @abstractmethod
    def _empty(self, dimensions: int, parameters: Parameters) -> Any: ...

    def _search_parameters(self, parameters: Parameters) -> Any:
        del parameters


class Flat(Faiss):
    """All vectors are compared: exact."""

    def searches(self, build: Parameters) -> list[list[Parameters]]:
        """There is nothing to choose."""
        del build
        return [[{}]]

    def _empty(self, dimensions: int, parameters: Parameters) -> Any:
        del parameters
        return faiss.index_factory(dimensions, "Flat", faiss.METRIC_INNER_PRODUCT)


class Hnsw(Faiss):
    """IndexHNSWFlat: a graph over the vectors themselves."""

    def builds(self, documents: int, full: bool) -> list[Parameters]:
        """One for all sizes."""
        del documents, full
        return [{"M": NEIGHBOURS, "efConstruction": EFFORT}]

    def searches(self, build: Parameters) -> list[list[Parameters]]:
        """Candidates kept."""
        del build
        return [[{"efSearch": breadth} for breadth in BREADTHS]]

    def _empty(self, dimensions: int, parameters: Parameters) -> Any:
        index = faiss.index_factory(dimensions, f"HNSW{parameters['M']},Flat", faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = parameters["efConstruction"]
        return index

    def _search_parameters(self, parameters: Parameters) -> Any:
        return faiss.SearchParametersHNSW(efSearch=parameters["efSearch"])


class Ivf(Faiss):
    """IndexIVFFlat: the vectors in inverted lists."""

    def builds(self, documents: int, full: bool) -> list[Parameters]:
        """Usual lists; for a full comparison also a quarter and four times as many."""
        usual = lists_of(documents)
        return [{"lists": lists} for lists in ([usual, usual // 4, usual * 4] if full else [usual])]

    def searches(self, build: Parameters) -> list[list[Parameters]]:
        """Lists looked into."""
        return [[{"nprobe": n} for n in _probes(build)]]

    def _empty(self, dimensions: int, parameters: Parameters) -> Any:
        return faiss.index_factory(dimensions, f"IVF{parameters['lists']},Flat", faiss.METRIC_INNER_PRODUCT)

    def _search_parameters(self, parameters: Parameters) -> Any:
        return faiss.SearchParametersIVF(nprobe=parameters["nprobe"])


class IvfPq(Ivf):
    """IndexIVFPQFastScan, four bits for two dimensions, in an IndexRefineFlat that scores candidates by the vectors."""

    def searches(self, build: Parameters) -> list[list[Parameters]]:
        """Lists looked into, for several numbers of candidates."""
        return [[{"nprobe": n, "k_factor": factor} for n in _probes(build)] for factor in _FACTORS]

    def _empty(self, dimensions: int, parameters: Parameters) -> Any:
        name = f"IVF{parameters['lists']},PQ{dimensions // 2}x4fs,RFlat"
        return faiss.index_factory(dimensions, name, faiss.METRIC_INNER_PRODUCT)

    def _search_parameters(self, parameters: Parameters) -> Any:
        return faiss.IndexRefineSearchParameters(
            k_factor=parameters["k_factor"], base_index_params=super()._search_parameters(parameters)
        )


def _probes(build: Parameters) -> list[int]:
    return [n for n in (1, 2, 3, 4, 6, 8, *BREADTHS) if n <= build["lists"]]


def _sample(vectors: Path, n: int) -> NDArray[np.float32]:
    """Evenly spaced vectors, so many or up to twice as many, or all there are."""
    step = max(len(np.load(vectors, mmap_mode="r")) // n, 1)
    return np.concatenate([block[-first % step :: step] for first, block in blocks(vectors)])

"""An engine of the dense benchmark in a process of its own; a search has one core."""

import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from dense_synthetic import ABOUT, ASKED, TRUTH, VECTORS
from numpy.typing import NDArray
from processes import Worker

from dense_engines import engine_class
from dense_engines.base import Parameters
from retrieval.beir_eval.cost import peak_bytes

ENOUGH = 0.99
"""No more parameters of a series are tried after one that reaches this recall."""

_LEAST_GAIN = 0.001


class Work:
    """What an engine is asked to do, and what is measured of it."""

    def __init__(self, name: str, threads: int, folder: Path) -> None:
        self._engine, self._threads, self._vectors = engine_class(name)(), threads, folder / VECTORS
        self._queries: NDArray[np.float32] = np.load(folder / ASKED)
        self._truth: NDArray[np.int64] = np.load(folder / TRUTH)
        self._real = orjson.loads((folder / ABOUT).read_bytes())["real queries"]

    def builds(self, full: bool) -> list[Parameters]:
        """Parameters to build with."""
        return self._engine.builds(len(np.load(self._vectors, mmap_mode="r")), full)

    def build(self, out: Path, parameters: Parameters) -> dict[str, Any]:
        """Seconds, peak memory and size of a build; the packages are imported, and nothing else is warm."""
        out.mkdir()
        began = time.perf_counter()
        self._engine.build(self._vectors, out, parameters, self._threads)
        taken = time.perf_counter() - began
        return {"seconds": taken, "peak": peak_bytes(), "size": self._engine.size(self._vectors, out)}

    def open(self, out: Path, build: Parameters) -> float:
        """Seconds until it is ready to search."""
        began = time.perf_counter()
        self._engine.open(self._vectors, out, build)
        return time.perf_counter() - began

    def sweep(self, build: Parameters) -> list[dict[str, Any]]:
        """Recall and seconds of a query with the parameters of the engine, each series until it is enough or rests."""
        found = []
        for number, series in enumerate(self._engine.searches(build)):
            rising: list[float] = []
            for parameters in series:
                found.append(self.tried(parameters) | {"series": number})
                rising.append(found[-1]["recall"])
                if rising[-1] >= ENOUGH or rests(rising):
                    break
        return found

    def tried(self, parameters: Parameters) -> dict[str, Any]:
        """Recall, also of the real and of the resampled queries alone, and seconds of the processor for a query."""
        self._engine.prepare(parameters)
        began = time.process_time()  # for choosing parameters: what others do on the machine does not count
        found = self._engine.search(self._queries, self._truth.shape[1], parameters)
        seconds = time.process_time() - began
        shares = recalls(self._engine.rows(found), self._truth)
        parts = {"recall": shares, "real": shares[: self._real], "resampled": shares[self._real :]}
        means = {name: float(part.mean()) if len(part) else None for name, part in parts.items()}
        return {"parameters": parameters, "seconds": seconds / len(self._queries)} | means

    def batch(self, parameters: Parameters) -> float:
        """Seconds of one call with all queries."""
        self._engine.prepare(parameters)
        return self._seconds(parameters)

    def single(self, parameters: Parameters, limit: float) -> list[float]:
        """Seconds of each query by itself; at most `limit` seconds in all."""
        self._engine.prepare(parameters)
        gc.collect()
        taken: list[float] = []
        for row in range(len(self._queries)):
            if sum(taken) > limit:
                break
            one, began = self._queries[row : row + 1], time.perf_counter()
            self._engine.search(one, self._truth.shape[1], parameters)
            taken.append(time.perf_counter() - began)
        return taken

    def peak(self) -> int:
        """The most bytes that this process has held."""
        return peak_bytes()

    def chosen(self) -> str:
        """What an engine has chosen itself."""
        return self._engine.chosen()

    def about(self) -> dict[str, Any]:
        """Its versions and its note."""
        return self._engine.about()

    def _seconds(self, parameters: Parameters) -> float:
        gc.collect()
        began = time.perf_counter()
        self._engine.search(self._queries, self._truth.shape[1], parameters)
        return time.perf_counter() - began


def rests(rising: list[float]) -> bool:
    """Whether the last two steps of a series gained next to nothing, so that more cost will not help."""
    return len(rising) > 2 and rising[-1] - rising[-3] < _LEAST_GAIN


def recalls(found: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each query the share of its exact neighbours that were found."""
    hits = (found[:, :, None] == truth[:, None, :]).any(axis=1)
    shares: NDArray[np.float64] = hits.mean(axis=1)
    return shares


def dense_work(name: str, threads: int, *, folder: Path) -> Work:
    """What the process of a dense engine does."""
    return Work(name, threads, folder)


def start(name: str, folder: Path, threads: int = 1) -> Worker:
    """The process of an engine that works on the vectors in a folder; calls of `Work` by name."""
    return Worker(name, threads, make=dense_work, folder=folder)

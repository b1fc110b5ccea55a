"""An engine of the sparse benchmark in a process of its own, on one core."""

import gc
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from processes import Worker
from sparse_synthetic import load

from retrieval.beir_eval.cost import peak_bytes
from sparse_engines import engine_class
from sparse_engines.base import Parameters, Rows


class Work:
    """What an engine is asked to do, and what is measured of it."""

    def __init__(self, name: str, folder: Path) -> None:
        self._engine, self._vectors = engine_class(name)(), load(folder)

    def builds(self, full: bool) -> list[Parameters]:
        """Parameters to build with."""
        return self._engine.builds(full)

    def build(self, few: Path, out: Path, parameters: Parameters) -> dict[str, Any]:
        """Seconds, peak memory and size of a build; before the clock starts, a few documents are built."""
        for vectors, folder in ((load(few), out.with_name(f"{out.name}-few")), (self._vectors, out)):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            began = time.perf_counter()
            self._engine.build(vectors, folder, parameters)
            taken = time.perf_counter() - began
        return {"seconds": taken, "peak": peak_bytes(), "size": self._engine.size(self._vectors, out)}

    def open(self, out: Path) -> None:
        """Make ready to search."""
        self._engine.open(self._vectors, out)

    def sweep(self, queries: list[int], k: int, exact: Rows) -> list[dict[str, Any]]:
        """Recall and seconds of a query with all parameters of the engine."""
        prepared, found = self._engine.prepare(self._vectors, queries, k), []
        for parameters in self._engine.searches():
            rows = self._engine.rows(self._engine.search(prepared, parameters))
            seconds = min(self._seconds(prepared, parameters) for _ in range(3)) / len(queries)
            found.append({"parameters": parameters, "recall": recall(rows, exact), "seconds": seconds})
        return found

    def answers(self, queries: list[int], k: int) -> Rows:
        """With the last parameters."""
        parameters = self._engine.searches()[-1]
        return self._engine.rows(self._engine.search(self._engine.prepare(self._vectors, queries, k), parameters))

    def batch(self, queries: list[int], k: int, parameters: Parameters) -> float:
        """Seconds of one batch."""
        return self._seconds(self._engine.prepare(self._vectors, queries, k), parameters)

    def single(self, queries: list[int], k: int, parameters: Parameters) -> list[float]:
        """Seconds of each query by itself."""
        prepared = [self._engine.prepare(self._vectors, [query], k) for query in queries]
        return [self._seconds(one, parameters, collect=False) for one in prepared]

    def about(self) -> dict[str, Any]:
        """Its versions and its note."""
        return self._engine.about()

    def _seconds(self, prepared: Any, parameters: Parameters, *, collect: bool = True) -> float:
        if collect:
            gc.collect()
        began = time.perf_counter()
        self._engine.search(prepared, parameters)
        return time.perf_counter() - began


def recall(found: Rows, exact: Rows) -> float:
    """The share of the exact hits found; a hit that scores as well as the last of them counts, so ties count fairly."""
    recalls = []
    for (_, scores), (_, best) in zip(found, exact, strict=True):
        if best:
            recalls.append(min((np.array(scores) >= best[-1] * (1 - 1e-6)).sum(), len(best)) / len(best))
    return float(np.mean(recalls)) if recalls else 1.0


def sparse_work(name: str, threads: int, *, folder: Path) -> Work:
    """What the process of a sparse engine does."""
    assert threads == 1
    return Work(name, folder)


def start(name: str, folder: Path) -> Worker:
    """The process of an engine that works on the vectors in a folder; calls of `Work` by name."""
    return Worker(name, 1, make=sparse_work, folder=folder)

"""An engine of the lexical benchmark in a process of its own."""

import gc
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from processes import Worker

from lexical_engines import engine_class
from lexical_engines.base import Engine, Rows
from retrieval.beir_eval.cost import peak_bytes


class Work:
    """What an engine is asked to do, and what is measured of it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def build(self, corpus: Path, few: Path, out: Path) -> dict[str, Any]:
        """Seconds, peak memory and size of a build; before the clock starts, a few documents are built."""
        with tempfile.TemporaryDirectory() as folder:
            self._engine.build(few, Path(folder) / "few")
        shutil.rmtree(out, ignore_errors=True)
        taken = _seconds(lambda: self._engine.build(corpus, out))
        peak = peak_bytes()  # of the process, what it imports included
        return {"seconds": taken, "peak": peak, "sizes": self._engine.sizes(out)}

    def open(self, out: Path) -> float:
        """Seconds until it is open, the packages being imported."""
        return _seconds(lambda: self._engine.open(out))

    def prepare(self, queries: list[str], k: int) -> str:
        """Search until it is as fast as it will be; what was chosen."""
        return self._engine.prepare(queries, k)

    def search(self, queries: list[str], k: int) -> float:
        """Seconds of one call with all queries."""
        return _seconds(lambda: self._engine.search(queries, k))

    def ask(self, what: str, *arguments: Any) -> Any:
        """Something that only this engine can do."""
        return getattr(self._engine, what)(*arguments)

    def answers(self, queries: list[str], k: int) -> Rows:
        """Ids and scores."""
        return self._engine.rows(self._engine.search(queries, k), len(queries))

    def single(self, queries: list[str], k: int, limit: float) -> list[float]:
        """Seconds of each query by itself, text in, ids and scores out; at most `limit` seconds in all."""
        taken: list[float] = []
        began = time.perf_counter()
        for query in queries:
            before = time.perf_counter()
            self._engine.rows(self._engine.search([query], k), 1)
            after = time.perf_counter()
            taken.append(after - before)
            if after - began > limit:
                break
        return taken

    def about(self) -> dict[str, Any]:
        """Its versions and its note."""
        return self._engine.about()


def lexical_work(name: str, threads: int, **options: Any) -> Work:
    """What the process of a lexical engine does."""
    return Work(engine_class(name)(threads, **options))


def start(name: str, threads: int, **options: Any) -> Worker:
    """The process of an engine; calls of `Work` by name."""
    return Worker(name, threads, make=lexical_work, **options)


def _seconds(work: Any) -> float:
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

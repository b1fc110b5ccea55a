"""The figures of the lexical benchmark, on one collection: each section gives what it measured, ready for JSON.

The sides take turns: in every round ours works beside each peer, so that whatever else a machine does meets both. A
section ends after its rounds, or after the round in which its time is up.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, cycle, islice
from math import ceil
from pathlib import Path
from typing import Any

from identity import compare
from lexical_engines import OURS
from lexical_engines.worker import start
from processes import EngineError, Worker

DEPTHS = (10, 1000)
IMPACTS = ("exact", "u8", "u16")

_FEW = 20_000  # documents of the build that no clock sees: enough for what large builds load
_SINGLE_SECONDS = 10.0  # for one pass of an engine over all queries, one at a time
_THREADS_SECONDS = 1.0  # of work for one thread, where threads are compared


@dataclass
class Bench:
    """A collection, the engines that are compared on it, and how.

    Attributes:
        name: of the collection.
        data: its folder in BEIR's layout.
        corpus: the file of its documents.
        queries: their texts.
        work: a folder for indexes.
        engines: ours and the peers; one that fails is taken out.
        threads: that each may use.
        rounds: of each figure.
        limit: seconds of a section.
        least_queries: queries are repeated until a batch has so many.
        absent: engines taken out, and why.
        about: versions and notes of the engines that ran.
    """

    name: str
    data: Path
    corpus: Path
    queries: list[str]
    work: Path
    engines: list[str]
    threads: int = 1
    rounds: int = 5
    limit: float = 600.0
    least_queries: int = 1000
    absent: dict[str, str] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def peers(self) -> list[str]:
        """All engines but ours."""
        return [name for name in self.engines if name != OURS]

    def batch(self) -> list[str]:
        """All queries, as often as it takes."""
        times = ceil(self.least_queries / len(self.queries))
        return self.queries * times

    def index(self, name: str) -> Path:
        """Where an engine's index stands."""
        return self.work / name

    def few(self) -> Path:
        """The first documents, as a corpus of their own."""
        path = self.work / "few" / self.corpus.name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.corpus.open("rb") as lines, path.open("wb") as out:
                out.writelines(islice(lines, _FEW))
        return path

    def turns(self) -> Iterator[int]:
        """The numbers of rounds, until the time is up."""
        began = time.perf_counter()
        for number in range(self.rounds):
            if number and time.perf_counter() - began > self.limit:
                return
            yield number

    def attempt(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """What the work of an engine gives; None, and the engine is out, if it fails. Ours may not fail."""
        try:
            return work(*arguments)
        except EngineError as error:
            if name == OURS:
                raise
            self.engines.remove(name)
            self.absent[name] = str(error)
            return None


def measure_builds(bench: Bench) -> dict[str, Any]:
    """Seconds, peak memory and size of builds, each in a fresh process; the last of each engine stays for searches."""
    found: dict[str, Any] = {name: {"seconds": [], "peak": []} for name in bench.engines}
    for _ in bench.turns():
        for name in list(bench.engines):
            built = bench.attempt(name, _built, bench, name)
            if built:
                found[name]["seconds"].append(built.pop("seconds"))
                found[name]["peak"].append(built.pop("peak"))
                found[name].update(built)
    if bench.peers:
        bare = _built(bench, OURS, at="without-texts", store_text=False)
        found[OURS]["sizes"]["without texts"] = bare["sizes"]["with documents"]
        shutil.rmtree(bench.index("without-texts"))
    return {name: one for name, one in found.items() if one["seconds"]}


def build_missing(bench: Bench) -> None:
    """Build what is not there, for sections that only search."""
    for name in list(bench.engines):
        if not bench.index(name).exists():
            bench.attempt(name, _built, bench, name)


def _built(bench: Bench, name: str, *, at: str | None = None, **options: Any) -> dict[str, Any]:
    with start(name, bench.threads, **options) as worker:
        bench.about[name] = worker.call("about")
        built: dict[str, Any] = worker.call("build", bench.corpus, bench.few(), bench.index(at or name))
        return built


def measure_searches(bench: Bench) -> dict[str, Any]:
    """For each depth and peer the seconds of a batch in each round, and ours of the same round; and the identity."""
    batch = bench.batch()
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        workers = _opened(bench, stack)
        for k in DEPTHS:
            chosen = {name: _prepared(bench, workers, name, batch, k) for name in list(workers)}
            times: dict[str, dict[str, list[float]]] = {name: {"ours": [], "theirs": []} for name in workers}
            for _ in bench.turns():
                for name in [name for name in workers if name != OURS] or [OURS]:
                    ours = workers[OURS].call("search", batch, k)
                    theirs = bench.attempt(name, workers[name].call, "search", batch, k)
                    if theirs is None:
                        del workers[name]
                        continue
                    times[name]["ours"].append(ours)
                    times[name]["theirs"].append(theirs)
            times = {name: one for name, one in times.items() if one["theirs"]}
            found[str(k)] = {"queries": len(batch), "times": times, "chosen": {n: c for n, c in chosen.items() if c}}
            identity = _identity(bench, workers, k) if "bm25s" in workers else None
            if identity:
                found[str(k)]["identity"] = identity
    return found


def _opened(bench: Bench, stack: ExitStack) -> dict[str, Worker]:
    workers = {}
    for name in list(bench.engines):
        worker = bench.attempt(name, start, name, bench.threads)
        if worker:
            stack.enter_context(worker)
            if bench.attempt(name, worker.call, "open", bench.index(name)) is not None:
                workers[name] = worker
    return workers


def _prepared(bench: Bench, workers: dict[str, Worker], name: str, batch: list[str], k: int) -> str:
    chosen = bench.attempt(name, workers[name].call, "prepare", batch, k)
    if chosen is None:
        del workers[name]
    return chosen or ""


def _identity(bench: Bench, workers: dict[str, Worker], k: int) -> dict[str, Any] | None:
    """Every query once, ours against bm25s', which computes the same scores; None if bm25s cannot."""
    theirs = bench.attempt("bm25s", workers["bm25s"].call, "answers", bench.queries, k)
    if theirs is None:
        del workers["bm25s"]
        return None
    found = compare(workers[OURS].call("answers", bench.queries, k), theirs, k)
    differences = [[bench.queries[number], what] for number, what in found.differences[:10]]
    return {"same": found.same, "queries": found.queries, "differences": differences}


def measure_single(bench: Bench) -> dict[str, Any]:
    """For each engine and depth p50 and p99 of every query by itself; the first pass over them does not count."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        workers = _opened(bench, stack)
        for k in DEPTHS:
            for name in list(workers):
                _prepared(bench, workers, name, bench.queries, k)
            taken: dict[str, list[list[float]]] = {name: [] for name in workers}
            for _ in chain(["a pass that does not count"], bench.turns()):
                for name in list(workers):
                    once = bench.attempt(name, workers[name].call, "single", bench.queries, k, _SINGLE_SECONDS)
                    if once is None:
                        del workers[name]
                    else:
                        taken[name].append(once)
            for name in workers:
                found.setdefault(name, {})[str(k)] = _percentiles(list(chain(*taken[name][1:])))
    return found


def _percentiles(times: list[float]) -> dict[str, float]:
    import numpy as np

    p50, p99 = np.percentile(np.array(times), (50, 99))
    return {"p50": float(p50), "p99": float(p99), "searches": len(times)}


def measure_threads(bench: Bench) -> dict[str, Any]:
    """Seconds of a batch on one thread and on two, of one process that may use two cores."""
    with start(OURS, 2) as worker:
        worker.call("open", bench.index(OURS))
        found = {}
        for k in DEPTHS:
            worker.call("ask", "use_threads", 1)
            worker.call("prepare", bench.batch(), k)
            once = worker.call("search", bench.batch(), k)
            batch = list(islice(cycle(bench.batch()), ceil(len(bench.batch()) * max(_THREADS_SECONDS / once, 1))))
            times: dict[str, list[float]] = {"1": [], "2": []}
            for _ in bench.turns():
                for threads in (1, 2):
                    worker.call("ask", "use_threads", threads)
                    times[str(threads)].append(worker.call("search", batch, k))
            found[str(k)] = {"queries": len(batch), "times": times}
    return found


def measure_impacts(bench: Bench) -> dict[str, Any]:
    """Size, nDCG@10 where there are judgements, and seconds of a batch, of exact and of compressed impacts."""
    batch = bench.batch()
    judged = (bench.data / "qrels" / "test.tsv").is_file()
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        workers = {}
        for impacts in IMPACTS:
            at = f"impacts-{impacts}"
            sizes = _built(bench, OURS, at=at, impacts=impacts)["sizes"]
            workers[impacts] = worker = stack.enter_context(start(OURS, bench.threads))
            worker.call("open", bench.index(at))
            ndcg = worker.call("ask", "ndcg", bench.data) if judged else None
            found[impacts] = {"size": sizes["index"], "nDCG@10": ndcg, "queries": len(batch), "times": {}}
        for k in DEPTHS:
            for worker in workers.values():
                worker.call("prepare", batch, k)
            for _ in bench.turns():
                for impacts, worker in workers.items():
                    found[impacts]["times"].setdefault(str(k), []).append(worker.call("search", batch, k))
    for impacts in IMPACTS:
        shutil.rmtree(bench.index(f"impacts-{impacts}"))
    return found


SECTIONS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "build": measure_builds,
    "search": measure_searches,
    "single": measure_single,
    "threads": measure_threads,
    "impacts": measure_impacts,
}

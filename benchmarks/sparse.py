"""Search of learned sparse vectors beside other engines on the same vectors, on one thread, in one run, as ratios.

    python benchmarks/sparse.py [--documents 0,200000,1000000] [--from FOLDER] [--engines retrieval,seismic,...]
                                [--rounds 5] [--full] [--json FILE]

`--from` is a folder with docs.jsonl and queries.splade-v3.jsonl; 0 stands for its documents as they are, other numbers
for so many resampled from them, see `sparse_synthetic.py`. The queries are the real ones.

- Each engine works in a process of its own, held to one core. A peer that cannot run is named with the reason.
- Each builds its index from the vectors on disk, with `--full` with several parameters. The peak of memory is the
  process'. The size is of all that a search reads, ours with the vectors.
- Each searches with all its parameters. For each recall@10 the fastest that reach it are taken, of all its indexes;
  recall is told by the exact scores, and of documents that score alike any counts.
- Then the engines search in turns with those, the batch of all queries in each round. A ratio is the median over rounds
  of their time over that of the faster of ours, with the least and the most. Single queries: one call for each, with
  the parameters for .99.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from measuring import Spread, machine, summary
from processes import EngineError, Worker
from sparse_engines import ENGINES, OURS
from sparse_engines.worker import start
from sparse_report import show
from sparse_synthetic import MADE, SHARED, load, make, read

EXACT = "scatter"
GOALS = ("1.0", "0.99", "0.95", "0.9")
K = 10
_FEW = 500  # documents that are built before the clock starts


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", default="0,200000", help="numbers between commas; 0 for the real ones")
    parser.add_argument("--from", type=Path, dest="source", default=SHARED, metavar="FOLDER")
    parser.add_argument("--engines", default=",".join(ENGINES), help="of " + ",".join(ENGINES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="several indexes of an engine that has parameters to build")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="where a folder for indexes is made")
    parser.add_argument("--made", type=Path, default=MADE, help="where vectors that were made are kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and versions")
    options = parser.parse_args()
    options.engines = [EXACT, *(name for name in options.engines.split(",") if name != EXACT)]
    unknown = set(options.engines) - set(ENGINES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not of {', '.join(ENGINES)}")
    if not (options.source / "docs.jsonl").is_file():
        parser.error(f"no vectors at {options.source}: it takes docs.jsonl and queries.splade-v3.jsonl")
    return options


def vectors_at(documents: int, options: argparse.Namespace) -> Path:
    """The folder with so many vectors; made once."""
    if documents:
        return make(documents, source=options.source, seed=options.seed, made=options.made)
    folder: Path = options.made / options.source.name
    if not folder.exists():
        folder.mkdir(parents=True)
        read(options.source).save(folder)
    return folder


class Bench:
    """All engines on the same vectors."""

    def __init__(self, folder: Path, few: Path, work: Path, options: argparse.Namespace) -> None:
        self.folder, self.few, self.work, self.options = folder, few, work, options
        vectors = load(folder)
        self.documents, self.queries = len(vectors), list(range(len(vectors.query_offsets) - 1))
        self.exact: Any = None
        self.result: dict[str, Any] = {"documents": self.documents, "queries": len(self.queries), "engines": {}}
        self.result |= {"absent": {}, "entries": len(vectors.entries)}

    def run(self) -> dict[str, Any]:
        """Build and sweep, one engine after the other; then all in turns."""
        for name in self.options.engines:
            try:
                with start(name, self.folder) as worker:
                    about = worker.call("about") | {"builds": self._built(name, worker)}
            except EngineError as error:
                if name == EXACT:
                    raise
                self.result["absent"][name] = str(error)
                continue
            best = {goal: _fastest(about["builds"], float(goal)) for goal in GOALS}
            self.result["engines"][name] = about | {"best": best}
            print(f"{name}: done", file=sys.stderr, flush=True)
        self._in_turns()
        return self.result

    def _built(self, name: str, worker: Worker) -> list[dict[str, Any]]:
        builds = []
        for number, parameters in enumerate(worker.call("builds", self.options.full)):
            out = self.work / f"{name}-{number}"
            with start(name, self.folder) as builder:  # of its own, for its peak of memory
                built = builder.call("build", self.few, out, parameters)
            worker.call("open", out)
            if name == EXACT:
                self.exact = worker.call("answers", self.queries, K)
            swept = worker.call("sweep", self.queries, K, self.exact)
            builds.append(built | {"parameters": parameters, "out": str(out), "swept": swept})
        return builds

    def _in_turns(self) -> None:
        engines = self.result["engines"]
        for about in engines.values():
            about["times"], about["single"] = {goal: [] for goal in GOALS}, []
        for goal in GOALS:
            chosen = {name: about["best"][goal] for name, about in engines.items() if about["best"][goal]}
            workers = {name: start(name, self.folder) for name in chosen}
            try:
                for name, worker in workers.items():
                    worker.call("open", Path(chosen[name]["out"]))
                for number in range(self.options.rounds + 1):
                    for name, worker in workers.items():
                        seconds = worker.call("batch", self.queries, K, chosen[name]["parameters"])
                        if number:  # the first is to become warm
                            engines[name]["times"][goal].append(seconds)
                if goal == "0.99":
                    for name, worker in workers.items():
                        engines[name]["single"] += worker.call("single", self.queries, K, chosen[name]["parameters"])
            finally:
                for worker in workers.values():
                    worker.close()


def _fastest(builds: list[dict[str, Any]], recall: float) -> dict[str, Any] | None:
    """The fastest parameters of all indexes that reach a recall, and the index."""
    enough = [
        swept | {"out": build["out"], "build": build["parameters"], "size": build["size"]}
        for build in builds
        for swept in build["swept"]
        if swept["recall"] >= recall
    ]
    return min(enough, key=lambda one: one["seconds"]) if enough else None


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """What is shown: of each engine and recall queries a second, ratios over ours, and what was chosen."""
    engines = result["engines"]
    for about in engines.values():
        about["figures"] = {}
        for goal, times in about["times"].items():
            if times:
                ours = _ours(engines, goal)
                ratio = Spread.of_ratios(times, ours) if ours else None
                rate = result["queries"] / statistics.median(times)
                about["figures"][goal] = {"queries/s": rate, "ratio": ratio and vars(ratio)}
        if about["single"]:
            about["p50"], about["p99"] = (float(np.percentile(about["single"], part)) for part in (50, 99))
    return result


def _ours(engines: dict[str, Any], goal: str) -> list[float]:
    """The times of the faster of our engines."""
    times: list[list[float]] = [engines[name]["times"][goal] for name in OURS if name in engines]
    return min(filter(None, times), key=statistics.median, default=[])


def main() -> int:
    """Measure and print."""
    options = parse()
    report: dict[str, Any] = {"machine": machine(), "command": sys.argv, "results": []}
    few = make(_FEW, source=options.source, seed=options.seed, made=options.made)
    for documents in map(int, options.documents.split(",")):
        folder = vectors_at(documents, options)
        work = Path(tempfile.mkdtemp(prefix="sparse-", dir=options.work))
        try:
            result = figures(Bench(folder, few, work, options).run())
        finally:
            shutil.rmtree(work, ignore_errors=True)
        report["results"].append(result)
        show(result, GOALS)
        if options.json:  # what has been measured is kept, whatever becomes of the rest
            options.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    print(f"\n{summary(report['machine'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

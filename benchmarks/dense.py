"""Dense search beside plain faiss, hnswlib and USearch on the same vectors, in one run, as ratios at equal recall.

    python benchmarks/dense.py [--documents 20000,1000000] [--from FOLDER] [--made FOLDER] [--engines faiss-hnsw,...]
                               [--rounds 5] [--threads 1] [--full] [--json FILE]

The vectors are resampled from real ones of `minilm` and the queries are real ones, see `dense_synthetic.py`; `--from`
is a folder of collections, encoded once and kept in `--made`. Recall@10 is against exact search, over all queries.

- Each engine works in a process of its own, held to one core, or `--threads` for a build. A peer that cannot run is
  named with the reason. Graphs have 32 neighbours (64 in the lowest layer) and 100 candidates while building, all of
  them; see `dense_engines/`.
- Each builds its index from the vectors on disk, block by block, in a fresh process: seconds, size on disk of all that
  a search reads, peak of memory. Another fresh process opens it and searches: its peak is told apart.
- Each searches with its parameters, each series of rising cost until it reaches .99 or rises no more. For each recall
  the first of each series that reaches it is taken, and of those, and of all its indexes, the fastest in processor
  time; `auto` has only what it chose itself, for that recall.
- Then each searches in turns with ours (without ours, with the fastest plain faiss), a batch of all queries in each
  round, two indexes in memory at a time. A ratio is the median over rounds of their time over ours, with the least and
  the most. Single queries: one call for each.
- The layer: our engine with an index of plain faiss, the same type and parameters, in turns with that. A ratio is our
  time over that of plain faiss; the parameters are those of plain faiss for .99.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from dense_engines import ENGINES, LAYERS, OURS
from dense_engines.worker import start
from dense_real import MADE, SHARED
from dense_report import show
from dense_synthetic import ABOUT, make
from measuring import Spread, machine, summary
from processes import EngineError, Worker

GOALS = (0.95, 0.99)

_SINGLE_SECONDS = 60.0  # for one pass over all queries, one at a time
_LONG = 20.0  # seconds of a batch of which few rounds are enough
_FEW_ROUNDS = 2

Result = dict[str, Any]


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", default="20000,1000000", help="numbers between commas")
    parser.add_argument("--from", type=Path, dest="source", default=SHARED, metavar="FOLDER")
    parser.add_argument("--made", type=Path, default=MADE, help="where vectors that were made are kept")
    parser.add_argument("--engines", default=",".join(ENGINES), help="of " + ",".join(ENGINES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of a build; a search has one")
    parser.add_argument("--full", action="store_true", help="several indexes of an engine that has parameters to build")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="where a folder for indexes is made")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and versions, after each engine")
    options = parser.parse_args()
    options.engines = options.engines.split(",")
    unknown = set(options.engines) - set(ENGINES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not of {', '.join(ENGINES)}")
    return options


class Bench:
    """All engines on the same vectors; `save` is called whenever there is something new in the result."""

    def __init__(self, folder: Path, work: Path, options: argparse.Namespace, save: Callable[[], None]) -> None:
        self.folder, self.work, self.options, self.save = folder, work, options, save
        self.engines: dict[str, Any] = {}
        self.result: Result = {"engines": self.engines, "absent": {}, "layer": {}, "reference": {}}
        self.result |= orjson.loads((folder / ABOUT).read_bytes()) | {"threads": options.threads}

    def run(self) -> None:
        """Build and sweep, one engine after the other; then in turns."""
        for name in (name for name in self.options.engines if name not in LAYERS):
            self._attempt(name, self._measure)
        for goal in GOALS:
            self._in_turns(str(goal))
            self.save()
        for name in (name for name in self.options.engines if name in LAYERS):
            self._attempt(name, self._layer)

    def _attempt(self, name: str, measure: Callable[[str], None], what: str = "built and searched") -> None:
        try:
            measure(name)
            print(f"{name}: {what}", file=sys.stderr, flush=True)
        except EngineError as error:
            self.result["absent"][name] = str(error)
        self.save()

    def _measure(self, name: str) -> None:
        with start(name, self.folder) as asked:
            about, builds = asked.call("about"), asked.call("builds", self.options.full)
        about |= {"builds": [], "best": {}, "measured": {}, "figures": {}}
        for number, parameters in enumerate(builds):
            built = self._built(name, parameters, self.work / f"{name}-{number}")
            with start(name, self.folder) as searcher:
                opened = searcher.call("open", Path(built["out"]), parameters)
                swept = searcher.call("sweep", parameters)
                built |= {"opened": opened, "swept": swept, "searching": searcher.call("peak")}
                about["builds"].append(built | {"chosen": searcher.call("chosen")})
            about["best"] = {str(goal): _fastest(about["builds"], goal) for goal in GOALS}
            self.engines[name] = about
            self.save()

    def _built(self, name: str, parameters: dict[str, Any], out: Path) -> dict[str, Any]:
        with start(name, self.folder, self.options.threads) as builder:  # of its own, for its peak of memory
            built: dict[str, Any] = builder.call("build", out, parameters)
        return built | {"parameters": parameters, "out": str(out)}

    def _in_turns(self, goal: str) -> None:
        chosen = {name: about["best"][goal] for name, about in self.engines.items() if about["best"].get(goal)}
        if not chosen:
            return
        candidates = [name for name in chosen if name in OURS] or [name for name in chosen if name.startswith("faiss")]
        reference = min(candidates or chosen, key=lambda name: chosen[name]["seconds"])
        self.result["reference"][goal] = reference
        parameters = chosen[reference]["parameters"]
        with self._opened(reference, chosen[reference]) as ours:
            times = _rounds([(ours, parameters)], self.options.rounds)[0]
            single = ours.call("single", parameters, _SINGLE_SECONDS)
            self.engines[reference]["measured"][goal] = {"times": times, "reference": times, "single": single}
            for name in (name for name in chosen if name != reference):
                beside = partial(self._beside, goal, chosen[name], ours, parameters)
                self._attempt(name, beside, f"measured at {goal}")

    def _beside(self, goal: str, best: dict[str, Any], ours: Worker, parameters: dict[str, Any], name: str) -> None:
        with self._opened(name, best) as theirs:
            own, times = _rounds([(ours, parameters), (theirs, best["parameters"])], self.options.rounds)
            single = theirs.call("single", best["parameters"], _SINGLE_SECONDS)
        self.engines[name]["measured"][goal] = {"times": times, "reference": own, "single": single}

    def _opened(self, name: str, best: dict[str, Any]) -> Worker:
        worker = start(name, self.folder)
        worker.call("open", Path(best["out"]), best["build"])
        return worker

    def _layer(self, name: str) -> None:
        plain = LAYERS[name]
        if plain not in self.engines:
            raise EngineError(f"it is held to {plain}, which is not in this run")
        best = self.engines[plain]["best"]
        taken = best[str(GOALS[-1])] or best[str(GOALS[0])]
        if not taken:
            raise EngineError(f"{plain} reaches no recall of {GOALS[0]}")
        built = self._built(name, taken["build"], self.work / name)
        with (
            self._opened(plain, taken) as theirs,
            self._opened(name, taken | {"out": built["out"]}) as ours,
        ):
            parameters = taken["parameters"]
            recall = ours.call("tried", parameters)["recall"]
            own, other = _rounds([(ours, parameters), (theirs, parameters)], self.options.rounds)
            single = [worker.call("single", parameters, _SINGLE_SECONDS) for worker in (ours, theirs)]
        shown = {"plain": plain, "parameters": parameters, "recall": recall, "plain recall": taken["recall"]}
        shown |= {"ours": own, "theirs": other, "ratio": vars(Spread.of_ratios(own, other))}
        self.result["layer"][name] = built | shown | {"single": [_percentiles(one) for one in single]}


def _rounds(pair: list[tuple[Worker, dict[str, Any]]], rounds: int) -> list[list[float]]:
    """Seconds of each round of each, in turns; the first round is to become warm, and tells whether few are enough."""
    times = [[worker.call("batch", parameters)] for worker, parameters in pair]
    few = max(one[0] for one in times) > _LONG
    for _ in range(min(rounds, _FEW_ROUNDS) if few else rounds):
        for one, (worker, parameters) in zip(times, pair, strict=True):
            one.append(worker.call("batch", parameters))
    return [one[1:] for one in times]


def _fastest(builds: list[dict[str, Any]], recall: float) -> dict[str, Any] | None:
    """The fastest parameters of all indexes that reach a recall; an index that was asked for another is left out.

    Of a series, in which cost rises, that is the first: timings of neighbours differ less than they vary.
    """
    first: dict[tuple[int, int], dict[str, Any]] = {}
    for number, build in enumerate(builds):
        for swept in build["swept"]:
            if swept["recall"] >= recall and build["parameters"].get("recall", recall) == recall:
                of_index = {"out": build["out"], "build": build["parameters"], "size": build["size"]}
                first.setdefault((number, swept["series"]), swept | of_index)
    return min(first.values(), key=lambda one: one["seconds"]) if first else None


def add_figures(result: Result) -> None:
    """What is shown: of each engine and recall queries a second, the ratio and single queries."""
    for about in result["engines"].values():
        for goal, measured in about["measured"].items():
            rate = result["queries"] / statistics.median(measured["times"])
            ratio = vars(Spread.of_ratios(measured["times"], measured["reference"]))
            about["figures"][goal] = {"queries/s": rate, "ratio": ratio} | _percentiles(measured["single"])


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{part}": float(np.percentile(seconds, part)) for part in (50, 99)}


def main() -> int:
    """Measure and print."""
    options = parse()
    report: dict[str, Any] = {"machine": machine(), "command": sys.argv, "results": []}

    def save() -> None:
        for result in report["results"]:
            add_figures(result)
        if options.json:
            options.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))

    for documents in map(int, options.documents.split(",")):
        given = {"source": options.source, "seed": options.seed, "made": options.made, "threads": options.threads}
        folder = make(documents, **given)
        work = Path(tempfile.mkdtemp(prefix="dense-", dir=options.work))
        bench = Bench(folder, work, options, save)
        report["results"].append(bench.result)
        try:
            bench.run()
        finally:
            shutil.rmtree(work, ignore_errors=True)
        save()
        show(bench.result, GOALS)
    print(f"\n{summary(report['machine'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

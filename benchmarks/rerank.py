"""Scoring pairs by each runtime and precision of this machine, beside CrossEncoder.rank, as ratios.

    python benchmarks/rerank.py [--data ../shared/data/trec-dl-v1-pool] [--split dl19] [--run FILE] [--model FOLDER]
                                [--sets FOLDER] [--queries 4] [--depth 100] [--engines NAME,...] [--rounds 5]
                                [--threads N] [--quality]

- What is scored are the first `--depth` passages of a run for some of a split's queries, drawn by a seed. Without a
  model it is a cross-encoder made of minilm with a head at random: as fast as a trained one, and of no other use.
- Engines called set- run a set-encoder: that of `--sets`, or one made of the cross-encoder, of as many layers. What it
  takes is compared with what the cross-encoder takes in the same runtime and precision.
- Each engine works in a process of its own, and is warm before the clock starts. All score the same pairs in turns,
  once in each round; a ratio is the median over rounds of sentence-transformers' time over an engine's, with the least
  and the most. Sentence-transformers runs `CrossEncoder.rank` with its defaults: one query at a time, batches of 32,
  float32, on the same threads; ours is given all queries at once.
- int8 is calibrated before the clock starts, by other queries of the split with their passages; the time of that
  stands by itself.
- `--cpu-time` counts the processor's seconds in place of the wall's, for a machine that does other work meanwhile.
- `--quality` reranks the run for all of the split's queries with each engine and measures nDCG@10, of a model that was
  trained: `--model`.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from measuring import Spread, machine, summary
from reading import texts_of
from rerank_engines import ENGINES, PEER, SET, missing
from tables import mb, spread
from workers import Worker

from retrieval.beir_eval.datasets import Collection, load_collection
from retrieval.beir_eval.measures import measure, parse_measures
from retrieval.beir_eval.runs import Run, ranked
from retrieval.cli.console import print_table
from retrieval.errors import ModelError
from retrieval.training.negatives import read_run

SHARED = Path(__file__).parents[2] / "shared" / "data" / "trec-dl-v1-pool"
# Queries that calibrate int8, of those that are not timed.
_CALIBRATING = 24


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, metavar="FOLDER", help="in BEIR's layout")
    parser.add_argument("--split", default="dl19")
    parser.add_argument("--run", type=Path, metavar="FILE", help="TREC run; without it runs/SPLIT.BM25.trec")
    parser.add_argument("--model", metavar="FOLDER", help="a cross-encoder; without it minilm with a new head")
    parser.add_argument("--sets", metavar="FOLDER", help="a set-encoder; without it one made of the cross-encoder")
    parser.add_argument("--queries", type=int, default=4, metavar="N", help="that are timed")
    parser.add_argument("--depth", type=int, default=100, metavar="N", help="passages of each")
    parser.add_argument("--engines", help="of " + ",".join(ENGINES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--cpu-time", action="store_true", help="count the processor's seconds, not the wall's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quality", action="store_true", help="nDCG@10 of each engine, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and versions")
    options = parser.parse_args()
    options.run = options.run or options.data / "runs" / f"{options.split}.BM25.trec"
    options.engines = list(dict.fromkeys([PEER, *(options.engines.split(",") if options.engines else ENGINES)]))
    if unknown := set(options.engines) - {PEER, *ENGINES}:
        parser.error(f"{', '.join(sorted(unknown))}: not of {', '.join(ENGINES)}")
    if not options.run.is_file():
        parser.error(f"{options.run}: no such run")
    return options


def candidates(options: argparse.Namespace, collection: Collection) -> Run:
    """The first hits of each of the split's queries."""
    run = read_run(options.run, collection.qrels)
    return {query: dict(list(hits.items())[: options.depth]) for query, hits in run.items()}


def prepared_model(options: argparse.Namespace, work: Path) -> str:
    """The folder of the cross-encoder."""
    if options.model:
        return str(options.model)
    from retrieval.rerank.neural.cross_encoder import CrossEncoder

    CrossEncoder.from_encoder("minilm", seed=options.seed).save(work / "model")
    return str(work / "model")


def prepared_sets(options: argparse.Namespace, work: Path, model: str) -> tuple[str, str | None]:
    """The folder of the set-encoder, and why there is none, if the cross-encoder is of another shape."""
    folder = str(options.sets or work / "sets")
    if options.sets or not any(name.startswith(SET) for name in options.engines):
        return folder, None
    from retrieval.rerank.neural.set_encoder import SetEncoder

    try:
        SetEncoder.from_encoder(model, seed=options.seed).save(folder)
    except ModelError as error:
        return folder, str(error)
    return folder, None


def drawn(options: argparse.Namespace, collection: Collection, run: Run, texts: Mapping[str, str]) -> dict[str, Any]:
    """Queries with passages that are timed, and others that calibrate."""
    asked = {query.text: [texts[id_] for id_ in run[query.id]] for query in collection.queries if run.get(query.id)}
    order = [list(asked)[place] for place in np.random.default_rng(options.seed).permutation(len(asked))]
    timed, rest = order[: options.queries], order[options.queries :] or order
    return {
        "queries": timed,
        "lists": [asked[query] for query in timed],
        "calibrating": {query: asked[query] for query in rest[:_CALIBRATING]},
    }


def time_engines(workers: dict[str, Worker], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """All engines, in turns."""
    found: dict[str, dict[str, Any]] = {name: {"times": []} for name in workers}
    for number in range(options.rounds):
        for name, worker in workers.items():
            done = worker.call("score")
            found[name]["times"].append(done["seconds"])
            found[name]["peak"] = done["peak"]
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    return found


def quality(
    workers: dict[str, Worker], collection: Collection, run: Run, texts: Mapping[str, str], work: Path
) -> dict[str, float]:
    """nDCG@10 of the run as each engine orders it, and as it is."""
    queries = {query.id: query.text for query in collection.queries if run.get(query.id)}
    path = work / "all.json"
    path.write_bytes(
        orjson.dumps({"queries": [*queries.values()], "lists": [[texts[id_] for id_ in run[one]] for one in queries]})
    )
    parsed = parse_measures(["nDCG@10"])
    found = {"the run": measure(collection.qrels, run, parsed)[0]["nDCG@10"]}
    for name, worker in workers.items():
        scores = worker.call("rank", asked=str(path))["scores"]
        scored = {query: dict(zip(run[query], own, strict=True)) for query, own in zip(queries, scores, strict=True)}
        made = {query: ranked(hits, k=len(hits)) for query, hits in scored.items()}
        found[name] = measure(collection.qrels, made, parsed)[0]["nDCG@10"]
        print(f"{name}: nDCG@10 {found[name]:.4f}", file=sys.stderr, flush=True)
    return found


def run_all(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Time, and quality where it is asked for."""
    collection = load_collection(options.data, options.split, on_error="skip")
    run = candidates(options, collection)
    texts = texts_of(options.data, run)
    asked, path = drawn(options, collection, run, texts), work / "asked.json"
    path.write_bytes(orjson.dumps(asked))
    report: dict[str, Any] = {"pairs": sum(map(len, asked["lists"])), "engines": {}, "absent": {}}
    model = prepared_model(options, work)
    sets, no_sets = prepared_sets(options, work, model)
    given = {"model": model, "sets": sets, "threads": options.threads, "cpu_time": options.cpu_time}
    workers: dict[str, Worker] = {}
    try:
        for name in options.engines:
            if reason := missing(name) or (no_sets if name.startswith(SET) else None):
                report["absent"][name] = reason
                continue
            workers[name] = Worker("rerank_engines.py", options.threads, work, {"engine": name, **given})
            report["engines"][name] = {**workers[name].about, **workers[name].call("prepare", asked=str(path))}
            print(f"{name}: ready", file=sys.stderr, flush=True)
        for name, times in time_engines(workers, options).items():
            report["engines"][name] |= times
        if options.quality:
            report["ndcg"] = quality(workers, collection, run, texts, work)
    finally:
        for worker in workers.values():
            worker.close()
    return report


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """Rates and ratios of each engine."""
    peer = report["engines"][PEER]["times"]
    for about in report["engines"].values():
        about["pairs/s"] = report["pairs"] / Spread.of(about["times"]).median
        about["ratio"] = vars(Spread.of_ratios(peer, about["times"]))
    for name, about in report["engines"].items():
        pointwise = report["engines"].get(name.removeprefix(SET))
        if name.startswith(SET) and pointwise:
            about["cost"] = vars(Spread.of_ratios(about["times"], pointwise["times"]))
    return report


def show(report: dict[str, Any]) -> None:
    """The table, then quality where it was measured."""
    print(f"\n{report['pairs']} pairs, {report['threads']} threads")
    if report["cpu_time"]:
        print("seconds are the processor's, not the wall's")
    print("a ratio is the time of sentence-transformers' CrossEncoder.rank over the engine's: median (least-most)\n")
    rows = [
        [name, f"{one['pairs/s']:,.1f}", spread(one["ratio"]), mb(one["peak"]), f"{one['load']:.1f}"]
        for name, one in report["engines"].items()
    ]
    print_table(["engine", "pairs/s", "ratio", "peak, MB", "load, s"], rows)
    if "ndcg" in report:
        print_table(["nDCG@10", ""], [[name, f"{value:.4f}"] for name, value in report["ndcg"].items()])
    for name, about in report["engines"].items():
        if "cost" in about:
            print(f"{name} takes {spread(about['cost'])} of the time of {name.removeprefix(SET)}")
        if "calibration" in about:
            print(f"{name}: calibrated in {about['calibration']:.0f} s")
    for name, reason in report["absent"].items():
        print(f"{name} could not run: {reason}")
    print(f"\n{summary(report['machine'])}")


def main() -> int:
    """Measure and print."""
    options = parse()
    report: dict[str, Any] = {"machine": machine(), "command": sys.argv}
    report |= {"threads": options.threads, "cpu_time": options.cpu_time}
    with tempfile.TemporaryDirectory(prefix="rerank-") as work:
        report |= run_all(options, Path(work))
    figures(report)
    if options.json:
        options.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How long it takes to evaluate a finished run, beside ir-measures itself.

    python benchmarks/evaluating.py [--queries 1000] [--hits 1000] [--rounds 5]

Both sides measure one run in memory, and read and measure the same TREC file, in turns: by our default measures
without Judged@10, which are five, and with it. The values of both are compared first. Seconds are of CPU time, of one
thread and without imports, so that other work on the machine does not count.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ir_measures
import numpy as np
from measuring import Spread, machine, summary
from tables import spread

from retrieval.beir_eval.measures import DEFAULT_MEASURES, measure, parse_measures
from retrieval.beir_eval.runs import format_run, ranked, read_run
from retrieval.cli.console import print_table

Qrels = dict[str, dict[str, int]]
Run = dict[str, dict[str, float]]

# Judgements of a query, of which half are among its hits.
JUDGED = 100


def made(queries: int, hits: int, seed: int = 0) -> tuple[Qrels, Run]:
    """Judgements and a run, drawn."""
    rng = np.random.default_rng(seed)
    qrels: Qrels = {}
    run: Run = {}
    for number in range(queries):
        found = [f"doc{i}" for i in rng.choice(20 * hits, size=hits, replace=False)]
        scores = np.sort(rng.random(hits, dtype=np.float32))[::-1].tolist()
        judged = [
            *rng.choice(found, size=min(JUDGED // 2, hits), replace=False),
            *(f"x{i}" for i in range(JUDGED // 2)),
        ]
        grades = rng.integers(0, 4, size=len(judged)).tolist()
        qrels[f"q{number}"] = dict(zip(judged, grades, strict=True))
        run[f"q{number}"] = dict(ranked(dict(zip(found, scores, strict=True)), k=hits))
    return qrels, run


def seconds(work: Callable[[], object]) -> float:
    """The CPU time that it takes once."""
    began = time.process_time()
    work()
    return time.process_time() - began


def check(qrels: Qrels, run: Run, names: tuple[str, ...]) -> None:
    """The same means on both sides."""
    parsed = parse_measures(names)
    ours, _ = measure(qrels, run, parsed)
    theirs = ir_measures.calc_aggregate(parsed, qrels, run)
    assert all(abs(ours[str(name)] - value) < 1e-9 for name, value in theirs.items()), (ours, theirs)


def compared(qrels: Qrels, run: Run, path: Path, names: tuple[str, ...], rounds: int) -> list[list[str]]:
    """Rows of the table: work, our seconds, theirs, and the ratio."""
    parsed = parse_measures(names)
    kinds: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "in memory": (lambda: measure(qrels, run, parsed), lambda: ir_measures.calc(parsed, qrels, run)),
        "TREC file": (
            lambda: measure(qrels, {query: ranked(found, k=1000) for query, found in read_run(path).items()}, parsed),
            lambda: ir_measures.calc(parsed, qrels, ir_measures.read_trec_run(str(path))),
        ),
    }
    rows = []
    for kind, (ours, theirs) in kinds.items():
        times = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
        mine, other = zip(*times, strict=True)
        ratio = Spread.of_ratios(mine, other)
        both = [f"{Spread.of(mine).median:.2f}", f"{Spread.of(other).median:.2f}", spread(vars(ratio))]
        rows.append([f"{kind}, {len(names)} measures", *both])
    return rows


def main() -> None:
    """Print both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--hits", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(summary(machine()))
    qrels, run = made(options.queries, options.hits)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.trec"
        path.write_text(format_run(run, "made"))
        for names in (DEFAULT_MEASURES[:5], DEFAULT_MEASURES):
            check(qrels, run, names)
            rows += compared(qrels, run, path, names, options.rounds)
    print_table(
        [f"{options.queries} queries x {options.hits} hits", "ours, CPU s", "ir-measures, CPU s", "ratio"], rows
    )


if __name__ == "__main__":
    main()

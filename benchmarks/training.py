"""Training a dense encoder beside sentence-transformers' trainer, on the same batches of the same texts, as ratios.

    python benchmarks/training.py [--data ../shared/data] [--negatives FILE] [--model minilm] [--batch 32] [--tokens 64]
                                  [--more 128] [--cached 1024] [--only batch,more,cached] [--rounds 3] [--threads N]
                                  [--device cpu] [--precision no|bf16] [--cpu-time] [--json FILE]

- What is learned from are SciFact's training pairs with one hard negative each: of a mined file (`--negatives`), or
  documents drawn by a seed. No document stands in two pairs, so that no batch holds a false negative that one side
  knows of and the other does not; batches of more pairs than there are go around.
- Ours is the method `dense` under `retrieval.training.trainer`. Theirs is SentenceTransformerTrainer with
  MultipleNegativesRankingLoss, which is the same loss. Both learn from the same texts in the same order, cut at the
  same tokens, with AdamW, the same rate, its fall in a straight line, weight decay and clipping, dropout on, no
  evaluation, no checkpoint within the time and no progress bar. Which of torch's AdamWs runs, and which texts go
  through the model together, is each trainer's own: ours takes `--at-once`, the longest first.
- Before anything is timed, both say the loss of the first pairs and the norm of its gradient, in float32 and without
  dropout. The benchmark fails where they differ by more than a ten-thousandth.
- Each case of each side works in a process of its own, held to as many cores as it has threads; the two train in turns,
  once in each round. A step's seconds are those of all steps of a round, from before the first batch is drawn to after
  the last step, over their number; a ratio is the median over rounds of theirs over ours, with the least and the most.
- The peak of memory is the process' (of a GPU, what torch has allocated), taken in the first round when its last step
  is done. What it was when the model was loaded stands beside.
- `--more` are larger batches, of which one step shows how memory grows. `--cached` is the batch of cached gradients,
  ours against CachedMultipleNegativesRankingLoss, both with `--mini-batch` texts at a time.
- `--cpu-time` counts the processor's seconds in place of the wall's, for a machine that does other work meanwhile.

On a GPU (`--device cuda`) let the processes see one alone (CUDA_VISIBLE_DEVICES).
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from measuring import Spread, machine
from processes import EngineError, Worker
from training_engines import ENGINES, OURS, Case, Work
from training_report import show
from training_task import agree, write_task

SHARED = Path(__file__).parents[2] / "shared" / "data"
PARTS = ("batch", "more", "cached")


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, metavar="FOLDER", help="with scifact in it")
    parser.add_argument("--negatives", type=Path, metavar="FILE", help="mined, or a run; without it drawn at random")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--more", default="128", help="larger batches, numbers between commas")
    parser.add_argument("--cached", type=int, default=1024, help="the batch of cached gradients")
    parser.add_argument("--only", default=",".join(PARTS), help="of " + ",".join(PARTS))
    parser.add_argument("--mini-batch", type=int, default=32, help="texts at a time, with cached gradients")
    parser.add_argument("--at-once", type=int, default=32, help="texts at a time of ours, without")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--steps", type=int, default=4, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large-steps", type=int, default=1, help="of the one round of larger and of cached batches")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["no", "bf16"], default="no")
    parser.add_argument("--cpu-time", action="store_true", help="count the processor's seconds, not the wall's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and versions")
    options = parser.parse_args()
    options.more, options.only = [int(batch) for batch in options.more.split(",")], options.only.split(",")
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: not of {', '.join(PARTS)}")
    if not (options.data / "scifact" / "corpus.jsonl").is_file():
        parser.error(f"no scifact in {options.data}")
    return options


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """The batch that is timed, larger ones, and the one with cached gradients."""
    same = {name: getattr(options, name) for name in ("model", "tokens", "lr", "seed", "device", "precision")}
    plain = {**same, "cached": False, "together": options.at_once}
    if "batch" in options.only:
        yield Case(batch=options.batch, steps=options.steps, rounds=options.rounds, **plain)
    for batch in options.more if "more" in options.only else ():
        yield Case(batch=batch, steps=options.large_steps, rounds=1, **plain)
    if "cached" in options.only:
        cached = {**same, "cached": True, "together": options.mini_batch}
        yield Case(batch=options.cached, steps=options.large_steps, rounds=1, **cached)


def measure(case: Case, task: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Both sides, in turns."""
    result: dict[str, Any] = {"case": vars(case), "engines": {}, "absent": {}}
    workers: dict[str, Worker] = {}
    try:
        for name in ENGINES:
            try:
                workers[name] = Worker(
                    name, options.threads, make=Work, task=task, case=case, cpu_time=options.cpu_time
                )
                about = workers[name].call("about") | {"first": workers[name].call("check")}
            except EngineError as error:
                if name == OURS:
                    raise
                workers.pop(name, None)
                result["absent"][name] = str(error)
                continue
            result["engines"][name] = about | {"times": [], "peaks": []}
        agree({name: about["first"] for name, about in result["engines"].items()})
        for _ in range(case.rounds):
            for name, worker in workers.items():
                done = worker.call("train")
                result["engines"][name]["times"].append(done["seconds"])
                result["engines"][name]["peaks"].append(done["peak"])
        print(f"batch {case.batch}{', cached' * case.cached}: done", file=sys.stderr, flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    return result


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """Seconds and steps a second, ratios and peaks, of each side."""
    engines = result["engines"]
    for about in engines.values():
        about["seconds"] = Spread.of(about["times"]).median
        about["steps/s"] = 1 / about["seconds"]
        about["ratio"] = vars(Spread.of_ratios(about["times"], engines[OURS]["times"]))
        about["peak"] = about["peaks"][0]
    return result


def main() -> int:
    """Measure and print."""
    options = parse()
    report: dict[str, Any] = {
        "machine": machine(),
        "command": sys.argv,
        "threads": options.threads,
        "cpu_time": options.cpu_time,
        "results": [],
    }
    with tempfile.TemporaryDirectory(prefix="training-") as work:
        task = Path(work) / "task.jsonl"
        report["pairs"] = write_task(task, options.data / "scifact", negatives=options.negatives, seed=options.seed)
        for case in cases(options):
            report["results"].append(figures(measure(case, task, options)))
            if options.json:  # what has been measured is kept, whatever becomes of the rest
                options.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Encoding documents by each runtime and precision of this machine, beside SentenceTransformer.encode, as ratios.

    python benchmarks/encode.py [--data ../shared/data] [--model minilm] [--documents N] [--engines NAME,...]
                                [--rounds 5] [--threads N] [--device cpu] [--quality] [--json FILE]

- What is encoded are SciFact's documents, title and text, or N of them drawn by a seed.
- Each engine works in a process of its own, and is warm before the clock starts. The engines encode all documents in
  turns, once in each round; a ratio is the median over rounds of sentence-transformers' time over an engine's, with the
  least and the most. Sentence-transformers runs with its defaults: batches of 32, float32, on the same threads.
- int8 is calibrated on a sample of the documents before it starts; the time of that stands by itself. The models that
  it makes are kept in a folder of the run.
- Tokens are those of the texts, without padding, cut as the model cuts them. The peak of memory is the process'.
- The share of the arithmetic peak is useful operations a second over what a product of two large matrices (of 2,048
  rows and columns, the best of ten on the same threads and device) reaches in the engine's precision: by torch, in
  float32 also by NumPy, whichever is faster; int8 is held to bf16's. Useful are, for each token, 2 for each weight of a
  linear map that all tokens go through, and for the attention of each layer 4 for each dimension and each token of its
  text; softmax, norms and padding count nothing. The theoretical peak is float32's: threads times the clock that the
  system tells, which a core may exceed, times the operations of two fused multiply-adds as wide as the CPU has.
- `--cpu-time` counts the processor's seconds in place of the wall's, for a machine that does other work meanwhile: on
  one thread they say nearly the same, on several nothing of how well these work together.
- `--quality` builds an index of SciFact and of NFCorpus with each of our engines and measures nDCG@10 of dense search.

On a GPU (`--device cuda`) the engines are fp32, bf16, and bf16 without padding, where such attention is installed.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from encode_engines import ENGINES, OURS, PEER, missing
from encode_report import show
from measuring import Spread, machine
from workers import Worker

SHARED = Path(__file__).parents[2] / "shared" / "data"
COLLECTIONS = ("scifact", "nfcorpus")


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, metavar="FOLDER", help="with scifact and nfcorpus in it")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--documents", type=int, metavar="N", help="so many of SciFact's; all without it")
    parser.add_argument("--engines", help="of " + ",".join(ENGINES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--cpu-time", action="store_true", help="count the processor's seconds, not the wall's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quality", action="store_true", help="nDCG@10 of each precision, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and versions")
    options = parser.parse_args()
    known = [name for name, engine in ENGINES.items() if engine["device"] == options.device.split(":")[0]]
    options.engines = [PEER, *(options.engines.split(",") if options.engines else known)]
    options.engines = list(dict.fromkeys(options.engines))
    if unknown := set(options.engines) - {PEER, *known}:
        parser.error(f"{', '.join(sorted(unknown))}: not of {', '.join(known)}")
    if not (options.data / "scifact" / "corpus.jsonl").is_file():
        parser.error(f"no scifact in {options.data}")
    return options


def documents(options: argparse.Namespace) -> list[str]:
    """What is encoded."""
    lines = (options.data / "scifact" / "corpus.jsonl").read_bytes().splitlines()
    texts = [f"{one['title']} {one['text']}".strip() for one in map(orjson.loads, lines)]
    if options.documents is None:
        return texts
    drawn = np.random.default_rng(options.seed).permutation(len(texts))[: options.documents]
    return [texts[place] for place in sorted(drawn.tolist())]


def measure(texts: list[str], options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All engines, in turns."""
    result: dict[str, Any] = {"documents": len(texts), "engines": {}, "absent": {}}
    path = work / "texts.json"
    path.write_bytes(orjson.dumps(texts))
    workers: dict[str, Worker] = {}
    given = {name: getattr(options, name) for name in ("model", "device", "threads", "batch_tokens", "cpu_time")}
    try:
        for name in options.engines:
            if reason := missing(name):
                result["absent"][name] = reason
                continue
            workers[name] = Worker("encode_engines.py", options.threads, work, {"engine": name, **given})
            ready = workers[name].call("prepare", texts=str(path))
            result["engines"][name] = {**workers[name].about, **ready, "times": []}
            print(f"{name}: ready", file=sys.stderr, flush=True)
        result |= workers[PEER].call("count", texts=str(path)) | workers[PEER].call("gemm")
        for number in range(options.rounds):
            for name, worker in workers.items():
                done = worker.call("encode")
                result["engines"][name]["times"].append(done["seconds"])
                result["engines"][name] |= {"peak": done["peak"], "cosine": done.get("cosine")}
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        if options.quality:
            _measure_quality(workers, result, options, work)
    finally:
        for worker in workers.values():
            worker.close()
    return result


def _measure_quality(
    workers: dict[str, Worker], result: dict[str, Any], options: argparse.Namespace, work: Path
) -> None:
    for name, worker in workers.items():
        if name in OURS:
            found = {
                one: worker.call("quality", data=str(options.data / one), out=str(work / f"{one}-{name}"))["ndcg"]
                for one in COLLECTIONS
            }
            result["engines"][name]["ndcg"] = found
            print(f"{name}: {found}", file=sys.stderr, flush=True)


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """Rates, ratios and shares of the peak, of each engine."""
    peer = result["engines"][PEER]["times"]
    for name, about in result["engines"].items():
        times = about["times"]
        seconds = Spread.of(times).median
        about["documents/s"] = result["documents"] / seconds
        about["tokens/s"] = result["tokens"] / seconds
        about["ratio"] = vars(Spread.of_ratios(peer, times))
        about["flops"] = result["operations"] / seconds
        is_half = ENGINES.get(name, {}).get("precision", "fp32") != "fp32"
        about["share"] = about["flops"] / result["gemm"]["bf16" if is_half else "fp32"]
        about["share of theory"] = about["flops"] / result["theory"] if result["theory"] else None
    return result


def main() -> int:
    """Measure and print."""
    options = parse()
    report: dict[str, Any] = {
        "machine": machine(),
        "command": sys.argv,
        "threads": options.threads,
        "cpu_time": options.cpu_time,
    }
    with tempfile.TemporaryDirectory(prefix="encode-") as work:
        report |= figures(measure(documents(options), options, Path(work)))
    if options.json:
        options.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())

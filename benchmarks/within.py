"""The first hits of a TREC run in the order of dense search: what a dense encoder makes of another system's candidates.

    python benchmarks/within.py --index INDEX --queries queries.jsonl --run bm25.trec --out dense.trec [--depth 100]

A hit that the index lacks is left out.
"""

import argparse
import sys
from pathlib import Path

import orjson

import retrieval
from retrieval.beir_eval.runs import Run, format_run, read_run
from retrieval.cli.console import say


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, or other words, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, metavar="DIR", help="dense, of the run's documents")
    parser.add_argument("--queries", type=Path, required=True, metavar="FILE", help="as BEIR's")
    parser.add_argument("--run", type=Path, required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="must not exist")
    parser.add_argument("--depth", type=int, default=100, metavar="N", help="hits of each query")
    options = parser.parse_args(words)
    if options.out.exists():
        parser.error(f"{options.out} stands there already")
    return options


def ordered(options: argparse.Namespace) -> Run:
    """Query id → document id → score, best first."""
    retriever = retrieval.Retriever(retrieval.Index.open(options.index), using="dense")
    asked = {one["_id"]: one["text"] for one in map(orjson.loads, options.queries.read_bytes().splitlines())}
    made = {}
    for query, hits in read_run(options.run).items():
        first = list(hits)[: options.depth]
        documents, scores = retriever.search_batch([asked[query]], len(first), among=first).row(0)
        made[query] = dict(zip(retriever.ids(documents), scores.tolist(), strict=True))
    return made


def main() -> int:
    """Write the file."""
    options = parse()
    made = ordered(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(format_run(made, "dense"), encoding="utf-8")
    say(f"{options.out}: {len(made)} queries, {sum(map(len, made.values()))} hits")
    return 0


if __name__ == "__main__":
    sys.exit(main())

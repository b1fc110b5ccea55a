"""A domain for a router's experts of two tracks over one pool: the queries of one train, those of the other test.

    python benchmarks/routing.py --data ../shared/data/trec-dl-v1-pool --train dl19 --test dl20 --out dl

TREC's judgements of passages are graded, and a passage of grade 1 does not answer. So what trains is what has grade 2
at least, and less is judged not relevant; the test keeps its grades. The commands that use it are in docs/routing.md.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from retrieval.beir_eval.datasets import read_qrels
from retrieval.cli.console import say


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="in BEIR's layout")
    parser.add_argument("--train", default="dl19", metavar="SPLIT", help="whose queries train")
    parser.add_argument("--test", default="dl20", metavar="SPLIT", help="whose queries test")
    parser.add_argument("--least", type=int, default=2, metavar="GRADE", help="of what is relevant in training")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the same layout; must not exist")
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} stands there already")
    return options


def at_least(qrels: Mapping[str, Mapping[str, int]], least: int) -> dict[str, dict[str, int]]:
    """The same judgements, with a grade of 0 for what has a lower one than `least`."""
    return {
        query: {id_: grade if grade >= least else 0 for id_, grade in grades.items()} for query, grades in qrels.items()
    }


def write_qrels(path: Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """In BEIR's layout."""
    lines = [f"{query}\t{id_}\t{grade}\n" for query, grades in qrels.items() for id_, grade in grades.items()]
    path.write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), encoding="utf-8")


def main() -> int:
    """Write the folder."""
    options = parse()
    train, test = (read_qrels(options.data / "qrels" / f"{split}.tsv") for split in (options.train, options.test))
    (options.out / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl"):
        shutil.copyfile(options.data / name, options.out / name)
    write_qrels(options.out / "qrels" / "train.tsv", at_least(train, options.least))
    write_qrels(options.out / "qrels" / "test.tsv", test)
    say(f"{options.out}: {len(train)} queries train, {len(test)} test")
    return 0


if __name__ == "__main__":
    sys.exit(main())

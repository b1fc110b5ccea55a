"""A collection whose training judgements are those of a shallow pool: what was hard to find was never judged.

    python benchmarks/pooling.py --data ../shared/data/nfcorpus --out nfcorpus-pooled [--hidden 0.7]

A densely judged collection shows what training on sparse judgements costs. Of the relevant documents of each training
query, ranked by BM25, the last are hidden, so that a share of all remains and of each query at least one. A document
that is hidden is not judged at all, as one that no pool held; what is judged not relevant stays. Other splits stay
whole, and are what models are measured on. The training commands are in docs/results.md.
"""

import argparse
import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import retrieval
from retrieval.beir_eval.datasets import load_collection
from retrieval.cli.console import say

_HEADER = "query-id\tcorpus-id\tscore\n"


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="in BEIR's layout, with a train split"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the same layout; must not exist")
    parser.add_argument("--hidden", type=float, default=0.7, metavar="SHARE", help="of the relevant documents")
    options = parser.parse_args()
    if not 0 <= options.hidden < 1:
        parser.error("--hidden is a share from 0 to below 1")
    if options.out.exists():
        parser.error(f"{options.out} stands there already")
    return options


def kept(ranked: Mapping[str, int], grades: Mapping[str, int], share: float) -> dict[str, int]:
    """The judgements that a pool would have made.

    Args:
        ranked: document id → rank; those that are not in it come last.
        grades: document id → grade.
        share: of the relevant ones that stay.
    """
    relevant = sorted((id_ for id_, grade in grades.items() if grade > 0), key=lambda id_: ranked.get(id_, math.inf))
    count = max(1, round(share * len(relevant)))
    return {id_: grade for id_, grade in grades.items() if grade <= 0 or id_ in relevant[:count]}


def main() -> int:
    """Write the folder."""
    options = parse()
    collection = load_collection(options.data, "train", on_error="skip")
    index_folder = options.out.with_name(f"{options.out.name}-index")
    index = retrieval.Index.build(options.data, index_folder, on_error="skip", overwrite=True)
    retriever = retrieval.Retriever(index, using="lexical")
    options.out.mkdir(parents=True)
    before = after = 0
    lines = [_HEADER]
    for query in collection.queries:
        hits = retriever.search_batch([query.text], len(index.documents))
        ids = retriever.ids(np.asarray(hits.row(0)[0]))
        grades = collection.qrels[query.id]
        left = kept({id_: rank for rank, id_ in enumerate(ids)}, grades, 1 - options.hidden)
        before, after = before + len(grades), after + len(left)
        lines += [f"{query.id}\t{id_}\t{grade}\n" for id_, grade in left.items()]
    for name in ("corpus.jsonl", "queries.jsonl"):
        shutil.copy(options.data / name, options.out / name)
    shutil.copytree(options.data / "qrels", options.out / "qrels")
    (options.out / "qrels" / "train.tsv").write_text("".join(lines), encoding="utf-8")
    shutil.rmtree(index_folder)
    say(f"{options.out}: {after} of {before} training judgements, of {len(collection.queries)} queries")
    return 0


if __name__ == "__main__":
    sys.exit(main())

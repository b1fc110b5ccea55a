"""What chunking does to the recall of gold character spans.

    python benchmarks/chunking.py [--data FOLDER] [--chunks words:200:40 ...] [--dense minilm]

The collection's queries carry `metadata.doc` and `metadata.spans`, the characters that answer them. Recall is the share
of those characters that the first k passages cover; beside it stands how many characters the k passages hold in all, as
larger passages cover more by their size alone.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import orjson

from retrieval.chunking import parse_chunking
from retrieval.cli.console import print_table
from retrieval.index_models import load_query_encoder
from retrieval.indexing import Index
from retrieval.pipeline import Retriever
from retrieval.types import Hit

DEPTHS = (5, 10)


def characters(spans: list[tuple[int, int]]) -> set[int]:
    """Every position within the spans."""
    return {i for start, end in spans for i in range(start, end)}


def recall(hits: list[Hit], document: str, gold: set[int]) -> float:
    """The share of the gold characters that the passages cover."""
    found = [(hit.passage.start, hit.passage.end) for hit in hits if hit.passage and hit.passage.document == document]
    return len(gold & characters(found)) / len(gold)


def main() -> None:
    """Measure every chunking with every mode of search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).parents[2] / "shared" / "data" / "chunking-eval"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--chunks", nargs="+", default=["words:100:0", "words:200:40", "words:400:80", "sentences:5:1"])
    parser.add_argument("--dense", metavar="MODEL", help="measure dense and hybrid search as well")
    options = parser.parse_args()
    queries = [orjson.loads(line) for line in (options.data / "queries.jsonl").read_bytes().splitlines()]
    columns = ["chunks", "system", "passages", *(f"recall@{k}" for k in DEPTHS), *(f"characters@{k}" for k in DEPTHS)]
    rows = []
    for chunk in options.chunks:
        with tempfile.TemporaryDirectory() as folder:
            index = Index.build(options.data, f"{folder}/index", dense=options.dense, chunking=parse_chunking(chunk))
            encoder = load_query_encoder(index) if options.dense else None
            for using in ("lexical", "dense", "hybrid") if options.dense else ("lexical",):
                retriever = Retriever(index, using=using, encoder=encoder)
                rows.append([chunk, using, f"{len(index):,}", *figures(retriever, queries)])
    print_table(columns, rows)


def figures(retriever: Retriever, queries: list[dict]) -> list[str]:
    """Mean recall, then mean characters, at each depth."""
    batch = retriever.search_batch([query["text"] for query in queries], max(DEPTHS))
    recalls, sizes = [], []
    for i, query in enumerate(queries):
        hits = retriever.resolve(batch, i)
        gold = characters(query["metadata"]["spans"])
        recalls.append([recall(hits[:k], query["metadata"]["doc"], gold) for k in DEPTHS])
        sizes.append([sum(len(hit.text) for hit in hits[:k]) for k in DEPTHS])
    return [*(f"{x:.3f}" for x in np.mean(recalls, axis=0)), *(f"{x:,.0f}" for x in np.mean(sizes, axis=0))]


if __name__ == "__main__":
    main()

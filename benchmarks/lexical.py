"""Lexical build and search beside bm25s on the same texts, in one run, as ratios.

    python benchmarks/lexical.py [--data FOLDER] [--rounds 5]

Both sides use one thread and the same analysis (English stop words and Snowball, method lucene, k1 1.5, b .75). A build
is texts in memory → index on disk; a search is query texts → ids and scores. The sides take turns, and the ratio is
the median over rounds of their time over ours.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bm25s
import Stemmer

from retrieval.cli.console import print_table
from retrieval.corpus import read_documents, read_queries
from retrieval.index.artifact import Artifact
from retrieval.indexing import Index
from retrieval.pipeline import Retriever
from retrieval.types import Document

DEPTHS = (10, 1000)


class Theirs:
    """bm25s with its numba backend."""

    def __init__(self, documents: list[Document], folder: Path) -> None:
        self.stemmer = Stemmer.Stemmer("english")
        tokens = bm25s.tokenize(
            [document.contents for document in documents], stopwords="en", stemmer=self.stemmer, show_progress=False
        )
        self.engine = bm25s.BM25(backend="numba")
        self.engine.index(tokens, show_progress=False)
        self.engine.save(folder)
        self.bytes = sum(file.stat().st_size for file in folder.iterdir())

    def search(self, queries: list[str], k: int) -> None:
        """Texts in, ordinals and scores out."""
        tokens = bm25s.tokenize(queries, stopwords="en", stemmer=self.stemmer, return_ids=False, show_progress=False)
        self.engine.retrieve(tokens, k=k, show_progress=False, n_threads=1)


def lexical_bytes(index: Artifact) -> int:
    """Size of the lexical part, without the document store that bm25s does not have."""
    return sum(entry.bytes for name, entry in index.manifest.files.items() if "/lexical/" in name)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, once."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).parents[2] / "shared" / "data" / "scifact"
    parser.add_argument("--data", type=Path, default=default, help="a folder in BEIR's layout")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not (options.data / "queries.jsonl").is_file():
        parser.error(f"no collection in BEIR's layout at {options.data}; name one with --data")
    documents = list(read_documents(options.data))
    queries = [query.text for query in read_queries(options.data / "queries.jsonl")]
    with tempfile.TemporaryDirectory() as folder:
        measure(options.data.name, documents, queries, options.rounds, Path(folder))


def measure(name: str, documents: list[Document], queries: list[str], rounds: int, folder: Path) -> None:
    """One untimed round to compile and to fill caches, then the rounds that count."""
    index = Index.build(documents, folder / "ours")
    theirs = Theirs(documents, folder / "theirs")
    retriever = Retriever(index, using="lexical", threads=1)
    pairs: dict[str, tuple[int, Callable[[], object], Callable[[], object]]] = {
        "build, documents/s": (
            len(documents),
            lambda: Index.build(documents, folder / "ours", overwrite=True),
            lambda: Theirs(documents, folder / "theirs"),
        )
    }
    for k in DEPTHS:
        k = min(k, len(documents))
        pairs[f"search k = {k}, queries/s"] = (
            len(queries),
            lambda k=k: retriever.search_batch(queries, k),  # type: ignore[misc]
            lambda k=k: theirs.search(queries, k),  # type: ignore[misc]
        )
    rows = []
    for figure, (amount, ours, peer) in pairs.items():
        ours(), peer()
        times = [(seconds(ours), seconds(peer)) for _ in range(rounds)]
        rates = [amount / statistics.median(side) for side in zip(*times, strict=True)]
        ratio = statistics.median(their / our for our, their in times)
        rows.append([figure, *(f"{rate:,.0f}" for rate in rates), f"{ratio:.2f} ×"])
    rows.append(["lexical part, MB", f"{lexical_bytes(index) / 1e6:.1f}", f"{theirs.bytes / 1e6:.1f}", ""])
    title = f"{name}: {len(documents):,} documents, one thread"
    print_table(["figure", "retrieval", "bm25s", "ratio"], rows, title=title)
    print(f"bm25s {bm25s.__version__}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()

"""What an artifact costs to open, to change, to filter and to build, at several sizes.

    python benchmarks/artifact.py [--documents 500000] [--data FOLDER] [--only open change filter memory] [--rounds 3]

The corpus is made on the spot: texts of about 60 words whose vocabulary grows as in real text, or runs of words of a
collection's documents. The encoder makes vectors of 384 dimensions from checksums of texts, so that figures are the
engine's; as a part of a change each document costs it --encoding microseconds. What is compared takes turns, and a
ratio is the median over rounds. Memory is the peak of a process of its own that does nothing but the build.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.beir_eval.cost import peak_bytes
from retrieval.cli.console import print_table
from retrieval.corpus import read_documents
from retrieval.encoders.dense import load_encoder
from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.indexing import Index
from retrieval.pipeline import Retriever
from retrieval.protocols import Encoder
from retrieval.types import EncoderCard

T = TypeVar("T")

SHORTEST, LONGEST = 30, 90  # words of a text
BUCKETS = 100
SHARES = (1, 10, 50)  # percent of documents that a filter allows
# Each segment more than twice the next, so that none are merged.
SEGMENTS = (0.7, 0.2, 0.07, 0.03)
KINDS = ("lexical", "lexical + dense")
OPENINGS = 200
QUERIES = 100
QUERY_WORDS = 4
K = 10
FEW = 10  # documents of a build that does little but import what it needs

# Of a Zipf-Mandelbrot law: P(rank >= r) = (1 + r / HEAD) ** -TAIL. A vocabulary grows with the tokens to the power of
# 1 / (1 + TAIL): 55 thousand words in a million tokens, half a million in 30 millions.
HEAD, TAIL = 15.0, 0.5
_DRAWN_AT_ONCE = 1000
_LARGEST_RANK = 1 << 40


class ChecksumEncoder:
    """Vectors that depend on nothing but the checksum of a text, at a fixed time for each document."""

    card = EncoderCard(model="checksum", dimensions=384, similarity="cosine", weights="seed 0")

    def __init__(self, microseconds: float = 0.0) -> None:
        self._seconds = microseconds / 1e6

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        shape = (1 << 11, self.card.dimensions)
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> NDArray[np.float32]:
        """(n, d) vectors in the order of the texts."""
        time.sleep(self._seconds * len(texts))
        on_batch(len(texts))
        return self.encode_queries(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) vectors in the order of the texts, at no further cost."""
        sums = np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.int64)
        vectors = self._table[sums & 2047] + self._table[sums >> 11 & 2047] + self._table[sums >> 21]
        normalised: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return normalised


def zipf_texts(rng: np.random.Generator) -> Iterator[str]:
    """Texts without end; the most frequent words are English stop words, as they are in English."""
    stop_words = AnalyzerSettings.for_language("english").stopwords
    while True:
        lengths = rng.integers(SHORTEST, LONGEST + 1, size=_DRAWN_AT_ONCE)
        ranks = HEAD * (rng.random(lengths.sum()) ** (-1 / TAIL) - 1)
        for part in np.split(np.minimum(ranks, _LARGEST_RANK).astype(np.int64), np.cumsum(lengths)[:-1]):
            yield " ".join(stop_words[rank] if rank < len(stop_words) else f"w{rank}" for rank in part.tolist())


def resampled_texts(rng: np.random.Generator, data: Path) -> Iterator[str]:
    """Texts without end: runs of words of a collection's documents; the vocabulary stops growing at theirs."""
    contents = [document.contents for document in read_documents(data) if document.contents]
    while True:
        words, length = contents[int(rng.integers(len(contents)))].split(), int(rng.integers(SHORTEST, LONGEST + 1))
        start = int(rng.integers(max(len(words) - length, 0) + 1))
        yield " ".join(words[start : start + length])


def write_corpus(path: Path, texts: Iterable[str], rng: np.random.Generator, prefix: str) -> None:
    """JSONL, one document for each text; `bucket` is a whole number below BUCKETS."""
    with path.open("wb") as file:
        for number, text in enumerate(texts):
            record = {"_id": f"{prefix}{number}", "text": text, "bucket": int(rng.integers(BUCKETS))}
            file.write(orjson.dumps(record) + b"\n")


@dataclass(frozen=True)
class Bench:
    """The corpora and indexes that figures are taken on; each is made once, when it is first needed."""

    folder: Path
    documents: int
    data: Path | None
    rounds: int
    encoder: Encoder

    @property
    def sizes(self) -> list[int]:
        """A hundredth of the documents, a tenth, and all."""
        return [max(self.documents // part, FEW) for part in (100, 10, 1)]

    def corpus(self, n: int, prefix: str = "d") -> Path:
        """A file of n documents; those of another prefix have other texts."""
        path = self.folder / f"{prefix}-{n}.jsonl"
        if not path.exists():
            rng = np.random.default_rng(zlib.crc32(prefix.encode()))
            texts = resampled_texts(rng, self.data) if self.data else zipf_texts(rng)
            write_corpus(path, islice(texts, n), rng, prefix)
        return path

    def queries(self) -> list[str]:
        """A few words of documents that are not indexed, as they stand there."""
        texts = (orjson.loads(line)["text"] for line in self.corpus(QUERIES, "q").read_bytes().splitlines())
        return [" ".join(text.split()[:QUERY_WORDS]) for text in texts]

    def index(self, n: int) -> Path:
        """One segment with both parts."""
        path = self.folder / f"index-{n}"
        if not path.exists():
            Index.build(self.corpus(n), path, dense=ChecksumEncoder())
        return path

    def segmented(self, n: int) -> Path:
        """The same documents in several segments."""
        path = self.folder / f"segmented-{n}"
        if not path.exists():
            corpus = read_documents(self.corpus(n))
            first, *rest = (round(n * share) for share in SEGMENTS)
            index = Index.build(islice(corpus, first), path, dense=ChecksumEncoder())
            for share in rest:
                index = index.add(islice(corpus, share), encoder=ChecksumEncoder())
        return path

    def partly_deleted(self, n: int) -> Path:
        """The same segments, and 1 % of the documents deleted."""
        path = self.folder / f"deleted-{n}"
        if not path.exists():
            shutil.copytree(self.segmented(n), path)
            Index.open(path).delete(every_hundredth(n))
        return path


def every_hundredth(n: int) -> list[str]:
    """The ids of 1 % of the documents."""
    return [f"d{number}" for number in range(0, n, 100)]


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, once."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_process(function: Callable[..., T], *arguments: Any) -> T:
    """What a function gives in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def show_opening(bench: Bench) -> None:
    """How long `Index.open` takes in a warm process, with the files in the page cache."""
    rows = []
    for n in bench.sizes:
        for make in (bench.index, bench.segmented, bench.partly_deleted):
            path = make(n)
            index = Index.open(path)
            layout = f"{len(index.manifest.segments)}{', 1 % deleted' if index.manifest.deleted else ''}"
            times = np.array([seconds(lambda path=path: Index.open(path)) for _ in range(OPENINGS)])  # type: ignore[misc]
            p50, p95 = np.percentile(times, (50, 95)) * 1e3
            rows.append([f"{n:,}", layout, f"{index.bytes / 1e6:,.0f}", f"{p50:.2f}", f"{p95:.2f}"])
    columns = ["documents", "segments", "MB", "p50, ms", "p95, ms"]
    print_table(columns, rows, title=f"Opening, lexical + dense, {OPENINGS} times")


def show_changes(bench: Bench) -> None:
    """How long a change of 1 % takes beside a build of all."""
    rows = []
    for n in bench.sizes[1:]:
        for kind in KINDS:
            encoder = bench.encoder if "dense" in kind else None
            times = [change_times(bench, n, encoder, bench.folder / "change") for _ in range(bench.rounds)]
            for figure in ("add 1 %", "delete 1 %", "compact"):
                whole, own = (statistics.median(one[name] for one in times) for name in ("build", figure))
                ratio = statistics.median(one["build"] / one[figure] for one in times)
                rows.append([f"{n:,}", kind, figure, f"{own:.2f}", f"{whole:.2f}", f"{ratio:.1f} ×"])
    columns = ["documents", "parts", "change", "s", "build of all, s", "build / change"]
    print_table(columns, rows, title=f"Changing, encoder {bench.encoder.card.model}")


def change_times(bench: Bench, n: int, encoder: Encoder | None, path: Path) -> dict[str, float]:
    """Seconds of a build of n documents, then of adding 1 %, deleting 1 % and compacting."""
    base, more = bench.corpus(n), bench.corpus(max(n // 100, 1), "m")
    times = {"build": seconds(lambda: Index.build(base, path, dense=encoder))}
    index = Index.open(path)
    times["add 1 %"] = seconds(lambda: index.add(more, encoder=encoder))
    times["delete 1 %"] = seconds(lambda: index.delete(every_hundredth(n)))
    times["compact"] = seconds(index.compact)
    shutil.rmtree(path)
    return times


def show_filters(bench: Bench) -> None:
    """What a filter does to the time of a search."""
    rows, firsts = [], []
    for n in bench.sizes[1:]:
        queries, path = bench.queries(), bench.index(n)
        for using in ("lexical", "dense"):
            retriever = Retriever(path, using=using, encoder=ChecksumEncoder(), threads=1)
            for mode, parts in (("one at a time", [[query] for query in queries]), ("one batch", [queries])):
                for share, (own, whole, ratio) in filter_times(retriever, parts, bench.rounds).items():
                    per_query = [f"{1e6 * one / len(queries):,.0f}" for one in (own, whole)]
                    rows.append([f"{n:,}", using, mode, f"{share} %", *per_query, f"{ratio:.2f} ×"])
        first, later = (1e3 * one for one in in_process(first_filter_times, path, queries))
        firsts.append([f"{n:,}", f"{first:.1f}", f"{later:.2f}"])
    columns = ["documents", "using", "mode", "allowed", "filtered, µs/query", "unfiltered, µs/query", "ratio"]
    print_table(columns, rows, title=f"Filtering, k = {K}, one thread, {len(bench.queries())} queries")
    print_table(["documents", "first, ms", "later, ms"], firsts, title="A filtered lexical search in a new process")


def allowing(share: int) -> dict[str, Any]:
    """A filter that allows this percentage of the documents."""
    return {"bucket": {"$lt": share * BUCKETS // 100}}


def filter_times(retriever: Retriever, parts: list[list[str]], rounds: int) -> dict[int, tuple[float, float, float]]:
    """For each share the seconds of a filtered search, of an unfiltered one, and their ratio."""

    def search(share: int | None) -> float:
        filter_ = allowing(share) if share else None
        return seconds(lambda: [retriever.search_batch(part, K, filter=filter_) for part in parts])

    for share in (None, *SHARES):
        search(share)  # to compile, and to fill caches
    found = {}
    times = [{share: (search(share), search(None)) for share in SHARES} for _ in range(rounds)]
    for share in SHARES:
        own, whole = (statistics.median(side) for side in zip(*(one[share] for one in times), strict=True))
        found[share] = own, whole, statistics.median(one[share][0] / one[share][1] for one in times)
    return found


def first_filter_times(path: Path, queries: list[str]) -> tuple[float, float]:
    """Seconds of the first filtered search of a process that has searched before, and of later ones."""
    retriever = Retriever(path, using="lexical", threads=1)
    for query in queries:
        retriever.search_batch([query], K)
    times = [seconds(lambda query=query: retriever.search_batch([query], K, filter=allowing(1))) for query in queries]  # type: ignore[misc]
    return times[0], statistics.median(times[1:])


def show_memory(bench: Bench) -> None:
    """The peak memory of a build, and of one that is so small that all it needs is what it imports."""
    rows = []
    for kind in KINDS:
        least = 0
        for n in (FEW, *bench.sizes[1:]):
            corpus = bench.corpus(n)
            peak = in_process(peak_of_build, corpus, bench.folder / "built", "dense" in kind)
            least = least or peak
            size = corpus.stat().st_size
            held = [f"{one / 1e6:,.0f}" for one in (peak, peak - least)]
            rows.append([kind, f"{n:,}", f"{size / 1e6:,.1f}", *held, f"{peak / least:.2f} ×"])
    columns = ["parts", "documents", "corpus, MB", "peak, MB", "above the first, MB", "ratio to the first"]
    print_table(columns, rows, title="Memory of a build")


def peak_of_build(corpus: Path, path: Path, dense: bool) -> int:
    """Build an index, and give the bytes that this process held at most."""
    Index.build(corpus, path, dense=ChecksumEncoder() if dense else None)
    shutil.rmtree(path)
    return peak_bytes()


SECTIONS = {"open": show_opening, "change": show_changes, "filter": show_filters, "memory": show_memory}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=500_000, help="of the largest index")
    parser.add_argument("--data", type=Path, help="a folder in BEIR's layout to take texts from")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoding", type=float, default=50.0, metavar="US", help="microseconds for each document")
    parser.add_argument("--dense", metavar="MODEL", help="an encoder to change indexes with, as minilm; slow")
    options = parser.parse_args()
    encoder = load_encoder(options.dense) if options.dense else ChecksumEncoder(options.encoding)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.documents, options.data, options.rounds, encoder)
        for section in options.only:
            SECTIONS[section](bench)
    print(f"{os.cpu_count()} cores")


if __name__ == "__main__":
    main()

"""PISA through PyTerrier's package."""

import warnings
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import pyterrier_pisa

from lexical_engines.base import K1, B, Engine, Rows, read_texts

_ALGORITHMS = ("maxscore", "block_max_maxscore", "wand", "block_max_wand")
_TRIED = 200  # queries that each algorithm is tried with

# Documents inverted at a time: all. With several batches its builder needs a core more than the threads it is given,
# and on as many cores as threads it waits for ever.
_BATCH = 2_000_000_000


class Pisa(Engine):
    """Block-compressed postings, and for each k the algorithm that is fastest on the first queries.

    Scores are computed from frequencies or read as impacts of 8 bits, whichever is faster.
    """

    packages = ("pyterrier_pisa", "python-terrier", "pandas")
    note = "own tokenizer, Lucene's stop words, Porter 2; size with what building leaves; hits with ids, in a DataFrame"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._chosen: dict[int, Any] = {}

    def _index(self, out: Path) -> Any:
        words = {"stemmer": "porter2", "stops": "lucene"}
        return pyterrier_pisa.PisaIndex(str(out), text_field="text", batch_size=_BATCH, threads=self.threads, **words)

    def _retriever(self, k: int, algorithm: str = _ALGORITHMS[0], quantized: bool = False) -> Any:
        return self._opened.bm25(
            k1=K1, b=B, num_results=k, threads=self.threads, query_algorithm=algorithm, precompute_impact=quantized
        )

    def build(self, corpus: Path, out: Path) -> None:
        """Parsing and inverting; then compression and upper bounds, which PyTerrier puts off until the first search."""
        self._index(out).index({"docno": id_, "text": text} for id_, text in read_texts(corpus))
        self.open(out)
        self._retriever(10)

    def open(self, out: Path) -> None:
        """What is chosen for a k is chosen anew."""
        self._opened = self._index(out)
        self._chosen.clear()

    def prepare(self, queries: list[str], k: int) -> str:
        """Try every algorithm with and without impacts of 8 bits."""
        times = {}
        for algorithm, quantized in product(_ALGORITHMS, (False, True)):
            retriever = self._retriever(k, algorithm, quantized)
            frame = _frame(queries[:_TRIED])
            retriever(frame)
            began = perf_counter()
            retriever(frame)
            times[algorithm, quantized] = perf_counter() - began, retriever
        best = min(times, key=lambda name: times[name][0])
        self._chosen[k] = times[best][1]
        return f"{best[0]}, {'impacts of 8 bits' if best[1] else 'scores from frequencies'}"

    def search(self, queries: list[str], k: int) -> Any:
        """A DataFrame with a row for each hit; a k is prepared first."""
        return self._chosen[k](_frame(queries))

    def rows(self, found: Any, queries: int) -> Rows:
        """A query without hits has no rows in the frame."""
        rows: Rows = [([], []) for _ in range(queries)]
        for query, hits in found.groupby("qid"):
            rows[int(query)] = hits["docno"].tolist(), hits["score"].tolist()
        return rows


def _frame(queries: list[str]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pd.DataFrame({"qid": [str(number) for number in range(len(queries))], "query": queries})

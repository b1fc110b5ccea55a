"""PISA through PyTerrier's package, on impacts that are there already; exact."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyterrier_pisa
from sparse_synthetic import Vectors

from sparse_engines.base import Engine, Parameters, Rows


class Pisa(Engine):
    """Weights indexed as they are, in block-compressed lists; queries weighted."""

    packages = ("pyterrier_pisa", "python-terrier", "pandas")
    note = "exact; queries and hits in DataFrames"

    def searches(self) -> list[Parameters]:
        """Its algorithms for weighted disjunctions."""
        return [{"algorithm": name} for name in ("maxscore", "block_max_wand", "block_max_maxscore")]

    def build(self, vectors: Vectors, out: Path, parameters: Parameters) -> None:
        """Tokens with weights; then compression and upper bounds, which PyTerrier puts off until the first search."""
        del parameters
        names = [f"t{number}" for number in range(len(vectors.terms))]

        def documents() -> Any:
            for row in range(len(vectors)):
                part = slice(vectors.offsets[row], vectors.offsets[row + 1])
                pairs = zip(vectors.entries[part].tolist(), vectors.weights[part].tolist(), strict=True)
                yield {"docno": str(row), "toks": {names[term]: weight for term, weight in pairs}}

        pyterrier_pisa.PisaIndex(str(out), stemmer="none").toks_indexer(scale=1.0).index(documents())
        self.open(vectors, out)

    def open(self, vectors: Vectors, out: Path) -> None:
        """One retriever for each algorithm and number of hits, when it is first needed."""
        del vectors
        self._index = pyterrier_pisa.PisaIndex(str(out), stemmer="none", stops="none")
        self._retrievers: dict[tuple[str, int], Any] = {}
        self._retriever("maxscore", 10)

    def _retriever(self, algorithm: str, k: int) -> Any:
        if (algorithm, k) not in self._retrievers:
            self._retrievers[algorithm, k] = self._index.quantized(
                num_results=k, threads=1, query_algorithm=algorithm, toks_scale=1.0
            )
        return self._retrievers[algorithm, k]

    def prepare(self, vectors: Vectors, queries: list[int], k: int) -> Any:
        """A frame with tokens and weights."""
        tokens = []
        for query in queries:
            part = slice(vectors.query_offsets[query], vectors.query_offsets[query + 1])
            pairs = zip(vectors.query_terms[part].tolist(), vectors.query_weights[part].tolist(), strict=True)
            tokens.append({f"t{term}": float(weight) for term, weight in pairs})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            numbers = [str(number) for number in range(len(queries))]
            return pd.DataFrame({"qid": numbers, "query": "", "query_toks": tokens}), k

    def search(self, prepared: Any, parameters: Parameters) -> Any:
        """A frame with a row for each hit."""
        frame, k = prepared
        return len(frame), self._retriever(parameters["algorithm"], k)(frame)

    def rows(self, found: Any) -> Rows:
        """A query without hits has no rows in the frame."""
        n, frame = found
        rows: Rows = [([], []) for _ in range(n)]
        for query, hits in frame.groupby("qid"):
            rows[int(query)] = hits["docno"].astype(np.int64).tolist(), hits["score"].tolist()
        return rows

"""bm25s with its numba backend, in the way its documentation shows."""

from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer

from lexical_engines.base import K1, B, Engine, Rows, read_texts


class Bm25s(Engine):
    """Texts into a list, `tokenize`, `index`, `save`; and `tokenize`, `retrieve`."""

    packages = ("bm25s", "PyStemmer", "numba", "numpy")
    note = "same analysis and scores; keeps neither texts nor ids"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._stemmer = Stemmer.Stemmer("english")

    def _tokens(self, texts: list[str]) -> Any:
        return bm25s.tokenize(texts, stopwords="en", stemmer=self._stemmer, show_progress=False)

    def build(self, corpus: Path, out: Path) -> None:
        """Ids go into a file of their own beside the index, which bm25s leaves to its user."""
        ids, texts = zip(*read_texts(corpus), strict=True)
        engine = bm25s.BM25(method="lucene", k1=K1, b=B, backend="numba")
        engine.index(self._tokens(list(texts)), show_progress=False)
        engine.save(out, show_progress=False)
        np.save(out.with_suffix(".ids.npy"), np.array(ids))

    def open(self, out: Path) -> None:
        """Into memory, as `load` does by default."""
        self._engine = bm25s.BM25.load(out, show_progress=False)
        self._engine.backend = "numba"
        self._engine.activate_numba_scorer()
        self._ids = np.load(out.with_suffix(".ids.npy"))

    def search(self, queries: list[str], k: int) -> tuple[Any, Any]:
        """Document numbers and scores, as arrays."""
        found = self._engine.retrieve(
            self._tokens(queries),
            k=min(k, len(self._ids)),
            show_progress=False,
            n_threads=self.threads,
            backend_selection="numba",
        )
        return found.documents, found.scores

    def rows(self, found: tuple[Any, Any], queries: int) -> Rows:
        """Without the documents of score 0 that fill a row where fewer than k match."""
        kept = [scores > 0 for scores in found[1]]
        return [
            (self._ids[numbers[keep]].tolist(), scores[keep].tolist())
            for numbers, scores, keep in zip(*found, kept, strict=True)
        ]

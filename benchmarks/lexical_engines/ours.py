"""Ours, through its public API with the defaults of a build."""

from pathlib import Path
from typing import Any

from measuring import folder_bytes

from lexical_engines.base import Engine, Rows
from retrieval.indexing import Index, LexicalOptions
from retrieval.pipeline import Retriever
from retrieval.types import Hits


class Ours(Engine):
    """`Index.build` and `Retriever.search_batch`.

    Args:
        threads: of a batch.
        options: of `Index.build`; `impacts` goes into `LexicalOptions`.
    """

    packages = ("retrieval-engine", "numba", "numpy", "pyarrow", "PyStemmer")

    def __init__(self, threads: int, **options: Any) -> None:
        super().__init__(threads)
        impacts = options.pop("impacts", None)
        lexical = {"lexical": LexicalOptions(impacts=impacts)} if impacts else {}
        self._options = {**options, **lexical}

    def build(self, corpus: Path, out: Path) -> None:
        """Everything that a build does: the documents are stored, files synced, checksums taken, the index opened."""
        Index.build(corpus, out, **self._options)

    def open(self, out: Path) -> None:
        """As a user does."""
        self._index = Index.open(out)
        self.use_threads(self.threads)

    def use_threads(self, threads: int) -> None:
        """Search with so many from now on."""
        self._retriever = Retriever(self._index, using="lexical", threads=threads)

    def search(self, queries: list[str], k: int) -> Hits:
        """Ordinals and scores, as arrays."""
        return self._retriever.search_batch(queries, k)

    def rows(self, found: Hits, queries: int) -> Rows:
        """With the documents' own ids."""
        return [(self._retriever.ids(ordinals), scores.tolist()) for ordinals, scores in found.rows()]

    def ndcg(self, data: Path) -> float:
        """nDCG@10 on the test split of a folder in BEIR's layout."""
        from retrieval.beir_eval.datasets import load_collection
        from retrieval.evaluating.running import evaluate

        results = evaluate(load_collection(data), [self._retriever], measures=["nDCG@10"])
        return results[0].measures["nDCG@10"]

    def sizes(self, out: Path) -> dict[str, int]:
        """The lexical part, which is all that the peers have, and the artifact with the documents' texts and ids."""
        files = Index.open(out).manifest.files
        lexical = sum(entry.bytes for name, entry in files.items() if "/lexical/" in name)
        return {"index": lexical, "with documents": folder_bytes(out)}

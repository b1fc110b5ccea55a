"""Tantivy through its Python package."""

from pathlib import Path
from typing import Any

import tantivy

from lexical_engines.base import Engine, Rows, read_texts

_ANALYZER = "bench"
_HEAP = 512_000_000  # bytes, for all threads of a writer


class Tantivy(Engine):
    """A writer with as many threads as are allowed; queries are disjunctions of the terms that its analyzer finds."""

    packages = ("tantivy",)
    note = "own tokenizer, stop words and fixed k1 1.2; no positions, no texts kept; a hit is its document's number"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        schema = tantivy.SchemaBuilder()
        schema.add_text_field("text", tokenizer_name=_ANALYZER, index_option="freq")
        schema.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
        self._schema = schema.build()
        words = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
        words = words.filter(tantivy.Filter.stopword("english")).filter(tantivy.Filter.stemmer("english"))
        self._analyzer = words.build()

    def _index(self, out: Path) -> Any:
        index = tantivy.Index(self._schema, path=str(out))
        index.register_tokenizer(_ANALYZER, self._analyzer)
        return index

    def build(self, corpus: Path, out: Path) -> None:
        """Add, commit, and wait for merges."""
        out.mkdir()
        writer = self._index(out).writer(heap_size=_HEAP, num_threads=self.threads)
        for id_, text in read_texts(corpus):
            document = tantivy.Document()
            document.add_text("id", id_)
            document.add_text("text", text)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()

    def open(self, out: Path) -> None:
        """Mapped into memory."""
        index = self._index(out)
        index.reload()
        self._searcher = index.searcher()

    def _query(self, text: str) -> Any:
        terms = [
            (tantivy.Occur.Should, tantivy.Query.term_query(self._schema, "text", term, "freq"))
            for term in self._analyzer.analyze(text)
        ]
        return tantivy.Query.boolean_query(terms)

    def search(self, queries: list[str], k: int) -> list[Any]:
        """Scores and addresses of documents, one query after another: there is no call for several."""
        return [self._searcher.search(self._query(text), k, count=False).hits for text in queries]

    def rows(self, found: list[Any], queries: int) -> Rows:
        """Ids are read from stored fields."""
        ids = [[self._searcher.doc(address).get_first("id") for _, address in hits] for hits in found]
        return [(names, [score for score, _ in hits]) for names, hits in zip(ids, found, strict=True)]

"""Searches Lucene's index of an artifact: query texts in, hits out."""

import mmap
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import RetrievalError
from retrieval.index.lucene.builder import CONTENTS, NUMBER, analyzer, directory, only_segment, similarity
from retrieval.index.lucene.options import LuceneOptions
from retrieval.index.lucene.runtime import attached, cast, java_class, java_error, said
from retrieval.index.storage.files import Ledger, altered_files, damaged
from retrieval.types import Hits, ScoreKind

__all__ = ["LuceneSearcher"]

_QUERY = "org.apache.lucene.search.Query"


class LuceneSearcher:
    """Lucene's BM25; one instance serves any number of threads.

    Java is started, and every file compared with its digest, when the first search needs it.

    Args:
        ledger: of the artifact.
        folder: the index' below it.
        options: how scores are made.
        live: (rows,) which rows are documents, and so Lucene's, in this order; None for all.
        rows: of the artifact.
        counts: of terms and of postings.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: str,
        options: LuceneOptions,
        live: NDArray[np.bool_] | None,
        rows: int,
        counts: tuple[int, int],
    ) -> None:
        self._root, self._folder = ledger.root, folder
        self._entries = {name: entry for name, entry in ledger.entries.items() if name.startswith(f"{folder}/")}
        self._files = [ledger.file(name) for name in self._entries]
        self._options = options
        self._ordinals = np.arange(rows) if live is None else np.flatnonzero(live)
        self._rows = rows
        self.n_terms, self.n_postings = counts
        self._opening = threading.Lock()
        self._java: _Java | None = None

    @property
    def _path(self) -> Path:
        return self._root / self._folder

    def search(
        self, queries: Sequence[str], k: int, threads: int = 1, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The best k documents of each query text, fewer where fewer hold one of its terms.

        A query is analysed as documents are, and is no expression: what is syntax elsewhere is punctuation here.

        Args:
            queries: n texts.
            k: hits per query.
            threads: how many search at once.
            allowed: (rows,) which of them may be hits; None allows all.
        """
        hits = Hits.empty(len(queries), min(k, self._rows), ScoreKind.BM25)
        numbers = None if allowed is None else allowed[self._ordinals]
        if hits.scores.size == 0 or len(self._ordinals) == 0 or (numbers is not None and not numbers.any()):
            return hits
        with attached(), self._errors():
            java = self._opened()
            java.check_lengths(self._path)
            filter_ = None if numbers is None else java.filter(numbers)

        def search_some(first: int) -> None:
            with attached(), self._errors():
                for i in range(first, len(queries), threads):
                    found, scores = java.search(queries[i], hits.scores.shape[1], filter_)
                    hits.counts[i] = len(found)
                    hits.ordinals[i, : len(found)] = self._ordinals[found]
                    hits.scores[i, : len(found)] = scores

        threads = min(threads, len(queries))
        if threads == 1:
            search_some(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(search_some, range(threads)))
        return hits

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of Java's as ours: every byte was as it was written, so what cannot be read has changed since."""
        try:
            yield
        except java_error() as error:
            if getattr(error, "classname", "").endswith("OutOfMemoryError"):
                raise RetrievalError(
                    f"{self._path}: Java has too little memory ({said(error)})",
                    hint="give it more: JAVA_TOOL_OPTIONS=-Xmx8g",
                ) from error
            raise damaged(self._path, f"Lucene cannot read it ({said(error)})") from error

    def _opened(self) -> "_Java":
        with self._opening:
            if self._java is None:
                java = self._open()
                if java.documents != len(self._ordinals):
                    raise damaged(self._path, f"holds {java.documents} documents, expected {len(self._ordinals)}")
                self._java = java
            return self._java

    def _open(self) -> "_Java":
        with self._place() as place:
            try:
                return _Java(place, self._options)
            except java_error():
                if place != self._path or self._is_there():
                    raise
        return self._open()  # a later writer removed the files at this moment

    def _is_there(self) -> bool:
        """Whether every file is on disk as it was written, and no other: Lucene would read the latest of its lists."""
        with suppress(FileNotFoundError, NotADirectoryError):  # a later writer has removed them
            names = {path.name for path in self._path.iterdir()}
            return names == {file.path.name for file in self._files} and not altered_files(self._root, self._entries)
        return False

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """Where the files are that were opened with the artifact; what Lucene has mapped may be removed afterwards."""
        if self._is_there():
            yield self._path
            return
        # A later writer has removed them, or they are altered, of which reading what was opened tells.
        with TemporaryDirectory(prefix="retrieval-") as copy:
            for file in self._files:
                Path(copy, file.path.name).write_bytes(file.read(0, file.size))
            yield Path(copy)

    def problems(self) -> list[str]:
        """Read all of it, and name what is wrong."""
        with attached(), self._errors(), self._place() as place:
            status = java_class("org.apache.lucene.index.CheckIndex")(directory(place)).checkIndex()
            if not status.clean:
                return [f"{self._path}: Lucene finds its index broken"]
            java = _Java(place, self._options)
        found = {"documents": java.documents, "terms": java.terms, "postings": java.postings}
        expected = {"documents": len(self._ordinals), "terms": self.n_terms, "postings": self.n_postings}
        return [
            f"{self._path}: holds {found[name]} {name}, not {count}"
            for name, count in expected.items()
            if found[name] != count
        ]


class _Java:
    """An open index, and what searches it."""

    def __init__(self, folder: Path, options: LuceneOptions) -> None:
        reader = java_class("org.apache.lucene.index.DirectoryReader").open(directory(folder))
        searcher = java_class("org.apache.lucene.search.IndexSearcher")
        self._searcher = searcher(cast("org.apache.lucene.index.IndexReader", reader))
        self._searcher.setSimilarity(similarity(options))
        self._analyzer = analyzer()
        self._terms = java_class("io.anserini.search.query.BagOfWordsQueryGenerator")()
        self._arrays = java_class("io.anserini.search.ScoredDocs")
        self._query = java_class("org.apache.lucene.search.BooleanQuery$Builder")
        self._occur = java_class("org.apache.lucene.search.BooleanClause$Occur")
        self._numbers = java_class("org.apache.lucene.document.NumericDocValuesField")
        self._maps = [_mapped(path) for path in folder.iterdir()]
        segment = only_segment(reader)
        field = segment.terms(CONTENTS) if segment else None
        self.documents: int = reader.maxDoc()
        self.terms: int = field.size() if field else 0
        self.postings: int = field.getSumDocFreq() if field else 0

    def check_lengths(self, folder: Path) -> None:
        """An error if a file has been cut since it was opened: what is mapped behind its end would read as zeros."""
        if any(file.size() != len(file) for file in self._maps):
            raise damaged(folder, "a file has been cut")

    def filter(self, allowed: NDArray[np.bool_]) -> tuple[Any, Any] | None:
        """A clause for these of Lucene's documents; names those that are left out where they are fewer."""
        if allowed.all():
            return None
        leave_out = 2 * np.count_nonzero(allowed) > len(allowed)
        numbers = np.flatnonzero(allowed != leave_out)
        clause = cast(_QUERY, self._numbers.newSlowSetQuery(NUMBER, *numbers.tolist()))
        return clause, self._occur.MUST_NOT if leave_out else self._occur.FILTER

    def search(self, text: str, k: int, filter_: tuple[Any, Any] | None) -> tuple[list[int], list[float]]:
        """Numbers and scores of the best k documents."""
        unicode = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        query = self._terms.buildQuery(CONTENTS, self._analyzer, unicode)
        if filter_:
            builder = self._query()
            builder.add(query, self._occur.MUST)
            builder.add(*filter_)
            query = builder.build()
        # Two calls for all hits, where a ScoreDoc each would take several for every one of them.
        found = self._arrays.fromTopDocs(self._searcher.search(query, k), self._searcher)
        return found.lucene_docids, found.scores


def _mapped(path: Path) -> mmap.mmap:
    """A file, of which it can be told whether it has been cut, also after it has been removed."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

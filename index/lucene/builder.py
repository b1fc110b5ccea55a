"""Texts become Lucene's index: one segment, whose documents are numbered in the order of the texts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from retrieval.errors import ArtifactError
from retrieval.index.lucene.options import LuceneOptions
from retrieval.index.lucene.runtime import attached, cast, java_class, java_error, said

__all__ = ["CONTENTS", "NUMBER", "analyzer", "directory", "only_segment", "similarity", "write_index"]

CONTENTS = "contents"
"""The field that is searched: terms and frequencies."""

NUMBER = "number"
"""The field by which a filter knows documents: 0, 1, …"""


def write_index(folder: Path, texts: Iterable[str], options: LuceneOptions) -> dict[str, Any]:
    """Write the index of some texts into an empty folder; says what it holds: `version`, `terms`, `postings`.

    One thread adds the texts, and only neighbouring segments are merged, so that documents keep their order, and equal
    scores the order of the documents.

    Raises:
        ArtifactError: it cannot be written.
    """
    with attached():
        try:
            place = directory(folder)
            writer = java_class("org.apache.lucene.index.IndexWriter")(place, _config(options))
            try:
                _add(writer, texts)
                writer.forceMerge(1)
                writer.close()
            finally:
                writer.rollback()  # of what is not closed: an error led here
            return _content(place)
        except java_error() as error:
            raise ArtifactError(f"{folder}: Lucene's index cannot be written ({said(error)})") from error


def directory(folder: Path) -> Any:
    """A folder as Lucene sees it. It takes no lock: who writes here holds that of the artifact."""
    path = java_class("java.io.File")(str(folder.resolve())).toPath()
    no_locks = java_class("org.apache.lucene.store.NoLockFactory").INSTANCE
    return java_class("org.apache.lucene.store.MMapDirectory")(path, no_locks)


def analyzer() -> Any:
    """Anserini's for English; threads may share it."""
    return java_class("io.anserini.analysis.DefaultEnglishAnalyzer").newDefaultInstance()


def similarity(options: LuceneOptions) -> Any:
    """Lucene's BM25."""
    return java_class("org.apache.lucene.search.similarities.BM25Similarity")(float(options.k1), float(options.b))


def only_segment(reader: Any) -> Any | None:
    """The one segment of an index, or None if it has no document."""
    leaves = reader.leaves()
    return leaves.get(0).reader() if leaves.size() == 1 else None


def _config(options: LuceneOptions) -> Any:
    policy = java_class("org.apache.lucene.index.LogDocMergePolicy")()
    policy.setNoCFSRatio(1.0)
    config = java_class("org.apache.lucene.index.IndexWriterConfig")(analyzer())
    config.setSimilarity(similarity(options))
    config.setMergePolicy(policy)
    config.setMergeScheduler(java_class("org.apache.lucene.index.SerialMergeScheduler")())
    return config


def _add(writer: Any, texts: Iterable[str]) -> None:
    """Add all texts, by one document that takes each of them in turn."""
    kind = java_class("org.apache.lucene.document.FieldType")()
    kind.setIndexOptions(java_class("org.apache.lucene.index.IndexOptions").DOCS_AND_FREQS)
    nothing = cast("java.lang.CharSequence", java_class("java.lang.String")(""))
    contents = java_class("org.apache.lucene.document.Field")(CONTENTS, nothing, kind)
    number = java_class("org.apache.lucene.document.NumericDocValuesField")(NUMBER, 0)
    document = java_class("org.apache.lucene.document.Document")()
    document.add(contents)
    document.add(number)
    for place, text in enumerate(texts):
        contents.setStringValue(text)
        number.setLongValue(place)
        writer.addDocument(document)


def _content(place: Any) -> dict[str, Any]:
    reader = java_class("org.apache.lucene.index.DirectoryReader").open(place)
    try:
        segment = only_segment(reader)
        terms = segment.terms(CONTENTS) if segment else None
        return {
            "version": java_class("org.apache.lucene.util.Version").LATEST.toString(),
            "terms": terms.size() if terms else 0,
            "postings": terms.getSumDocFreq() if terms else 0,
        }
    finally:
        reader.close()

"""Build: a corpus becomes an artifact. Here documents, analyzers and encoders meet the index."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from retrieval.chunking import Chunking, passages_of
from retrieval.corpus import Columns, OnError, ReadReport, read_documents
from retrieval.encoders.dense import load_encoder
from retrieval.errors import InputError
from retrieval.index.artifact import Artifact, ArtifactWriter
from retrieval.index.dense.builder import DenseBuilder
from retrieval.index.documents import DocumentReader, DocumentWriter
from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.index.lexical.bm25 import BM25
from retrieval.index.manifest import DensePart, LexicalPart, Provenance
from retrieval.protocols import Encoder, Progress, silent
from retrieval.types import Document, ScoreKind

__all__ = ["Index", "LexicalOptions", "versions"]

# Documents and characters handled at a time: bounds memory, and is the window in which texts are sorted by length.
_WINDOW = 8192
_WINDOW_CHARACTERS = 1 << 24

T = TypeVar("T")


def _english() -> AnalyzerSettings:
    return AnalyzerSettings.for_language("english")


@dataclass(frozen=True, kw_only=True)
class LexicalOptions:
    """How texts are analysed and scored."""

    analyzer: AnalyzerSettings = field(default_factory=_english)
    bm25: BM25 = field(default_factory=BM25)


class Index(Artifact):
    """An index opened for reading, and the way to build one."""

    @classmethod
    def build(
        cls,
        corpus: Iterable[str | Path | Document | Mapping[str, Any]] | str | Path,
        path: str | Path,
        *,
        lexical: LexicalOptions | bool = True,
        dense: str | Encoder | None = None,
        device: str | None = None,
        overwrite: bool = False,
        columns: Columns | None = None,
        chunking: Chunking | None = None,
        on_error: OnError = "stop",
        report: ReadReport | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Build an index of `corpus` at `path` and open it; after a failure nothing is there, or the index that was.

        The whole corpus is read and checked before the first document is encoded.

        Args:
            corpus: paths, `-` for standard input, or documents in memory; see `read_documents`.
            path: a new or empty folder; one that holds an index is replaced if `overwrite` is set.
            lexical: how to build the lexical part; False leaves it out.
            dense: the encoder of the dense part or its model's name; None leaves it out.
            device: torch's device for a model given by name.
            overwrite: replace the index at `path`. Readers that have it open keep the old one.
            columns: names of the fields that hold id, title and text.
            chunking: how to take documents apart into passages; None indexes them whole.
            on_error: what to do with a record that cannot be read; see `read_documents`.
            report: filled with what was read and skipped.
            progress: told of documents read and encoded.

        Raises:
            CorpusError: a record cannot be read.
            ArtifactExistsError: something stands at `path`.
            ModelError, MissingExtraError: the encoder cannot be had.
        """
        options = LexicalOptions() if lexical is True else lexical or None
        if options is None and dense is None:
            raise InputError("an index needs a lexical or a dense part", hint="name an encoder: --dense minilm")
        with ArtifactWriter(Path(path), overwrite=overwrite) as writer:
            encoder = _encoder(dense, device)
            documents = read_documents(corpus, columns=columns, on_error=on_error, report=report)
            if chunking:
                documents = passages_of(documents, chunking)
            count, fingerprint = _write_texts(documents, writer.folder, options, progress)
            writer.commit(
                documents=count,
                fingerprint=fingerprint,
                chunking={"kind": type(chunking).__name__, **asdict(chunking)} if chunking else None,
                lexical=LexicalPart(analyzer=options.analyzer, bm25=options.bm25) if options else None,
                dense=_write_vectors(writer.folder, encoder, count, progress) if encoder else None,
                provenance=_provenance(corpus),
            )
        return cls.open(path)


def _encoder(dense: str | Encoder | None, device: str | None) -> Encoder | None:
    if not isinstance(dense, str):
        return dense
    return load_encoder(dense, device=device)


def _write_texts(
    documents: Iterator[Document], folder: Path, options: LexicalOptions | None, progress: Progress
) -> tuple[int, str]:
    """Store and tokenise every document; how many there are, and their fingerprint."""
    from retrieval.index.lexical.builder import LexicalBuilder

    builder = LexicalBuilder(options.analyzer, options.bm25) if options else None
    progress("read", 0, None)
    with DocumentWriter(folder) as writer:
        for batch in _windows(documents, lambda document: len(document.text)):
            writer.add(batch)
            if builder:
                builder.add(document.contents for document in batch)
            progress("read", writer.count, None)
    progress("read", writer.count, writer.count)
    if builder:
        (folder / "lexical").mkdir()
        builder.write(folder / "lexical")
    return writer.count, writer.fingerprint


def _write_vectors(folder: Path, encoder: Encoder, count: int, progress: Progress) -> DensePart:
    """Encode every document that is not empty, from the store that was just written."""
    card = encoder.card
    (folder / "dense").mkdir()
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        progress("encode", done, count)

    tell(0)
    with DenseBuilder(folder / "dense", card.dimensions) as builder:
        texts = enumerate(DocumentReader(folder).contents())
        for window in _windows(texts, lambda item: len(item[1])):
            filled = [(ordinal, text) for ordinal, text in window if text]
            tell(len(window) - len(filled))
            ordinals = np.array([ordinal for ordinal, _ in filled], dtype=np.int64)
            builder.add(ordinals, encoder.encode_documents([text for _, text in filled], tell))
    return DensePart(
        similarity=ScoreKind(card.similarity),
        vectors=builder.count,
        dimensions=card.dimensions,
        largest_norm=builder.largest_norm,
        encoder=card,
    )


def _windows(items: Iterable[T], length: Callable[[T], int]) -> Iterator[list[T]]:
    """Runs of items, bounded in number and in the sum of their lengths."""
    window: list[T] = []
    characters = 0
    for item in items:
        window.append(item)
        characters += length(item)
        if len(window) == _WINDOW or characters >= _WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def _provenance(corpus: object) -> Provenance:
    sources = [corpus] if isinstance(corpus, str | Path) else corpus if isinstance(corpus, list | tuple) else []
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=sys.argv,
        corpus=[str(source) for source in sources if isinstance(source, str | Path)],
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that can change a result; absent ones are left out."""
    names = ("retrieval-engine", "bm25s", "PyStemmer", "numba", "numpy", "scipy", "faiss-cpu", "faiss-gpu", "torch")
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in (*names, "transformers", "sentence-transformers", "ir-measures", "pyarrow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

"""A corpus becomes a segment, shard by shard, under a journal: a build that is interrupted goes on where it was.

First every document is read, checked, stored and analysed, one shard after the other; then the stored texts are
encoded, one block after the other. After each shard and each block all of it is made durable and the journal says so.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson

from retrieval.chunking import Chunking, chunking_settings
from retrieval.corpus import Columns, OnError
from retrieval.encoding import encode_dense, encode_sparse
from retrieval.errors import ArtifactDamagedError, DocumentExistsError, InputError, UnfinishedBuildError
from retrieval.files import sync_folder, sync_tree
from retrieval.index.dense.kinds import check_kind, check_memory
from retrieval.index.dense.options import DenseOptions
from retrieval.index.documents.fingerprint import digest_of, metadata_json
from retrieval.index.documents.metadata import FieldCounts
from retrieval.index.documents.store import StoreWriter, finish_store, stored_digests
from retrieval.index.generation import Staged
from retrieval.index.journal import Journal
from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.index.lexical.bm25 import BM25
from retrieval.index.lucene.options import LuceneOptions
from retrieval.index.lucene.runtime import start_java
from retrieval.index.postings.reader import IMPACT_TYPES, Impacts
from retrieval.index.sparse.builder import write_shards
from retrieval.index.sparse.options import SparseOptions
from retrieval.index.storage.marks import Mark, check_marks, mark_of
from retrieval.index.writer import ArtifactWriter
from retrieval.protocols import Encoder, Progress, SparseEncoder
from retrieval.streams import windows
from retrieval.types import Document
from retrieval.vectors import VectorFile

__all__ = ["SHARD_DOCUMENTS", "Job", "LexicalOptions", "differences", "stage"]

SHARD_DOCUMENTS = 65_536
"""Documents that are read before their work is made durable, if not _SHARD_CHARACTERS are reached sooner."""

_SHARD_CHARACTERS = 1 << 25

_TELL_EVERY = 1000

# Objects made before the next look for cyclic garbage.
_COLLECT_EVERY = 100_000

_DISCARD = "discard it: --restart"

Check = Callable[[list[Document]], None]

# Less work than this of an addition is not worth keeping if the next one is of other documents.
_WORTH_KEEPING = 1024


def _english() -> AnalyzerSettings:
    return AnalyzerSettings.for_language("english")


@dataclass(frozen=True, kw_only=True)
class LexicalOptions:
    """How texts are analysed and scored, and how that is stored.

    Attributes:
        analyzer: makes terms of texts.
        bm25: makes scores of frequencies.
        impacts: how scores are stored: `exact`, or in steps of 16 or 8 bits as `u16` or `u8`.
        reorder: put similar documents side by side, which sharpens the maxima of buckets; hits stay the same.
    """

    analyzer: AnalyzerSettings = field(default_factory=_english)
    bm25: BM25 = field(default_factory=BM25)
    impacts: Impacts = "exact"
    reorder: bool = False

    def __post_init__(self) -> None:
        if self.impacts not in IMPACT_TYPES:
            raise InputError(f"impacts must be one of {', '.join(IMPACT_TYPES)}; got {self.impacts!r}")


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that decides a segment, beside its documents.

    Attributes:
        kind: `build` or `add`.
        lexical: how texts are analysed and scored, and by which engine; None for no lexical part.
        encoder: makes the vectors; None for no dense part.
        dense: what searches them.
        sparse: how sparse vectors are stored; None for no sparse part.
        sparse_source: makes them, or has them.
        chunking: how documents are taken apart; None leaves them whole.
        columns: names of the fields that hold id, title and text.
        on_error: what happens to a record that cannot be read.
        store_text: whether the texts are kept.
        replace: whether documents that are in the index give way.
        shard_documents: how many documents are handled at a time.
    """

    kind: str
    lexical: LexicalOptions | LuceneOptions | None
    encoder: Encoder | None
    dense: DenseOptions
    sparse: SparseOptions | None
    sparse_source: SparseEncoder | VectorFile | None
    chunking: Chunking | None
    columns: Columns | None
    on_error: OnError
    store_text: bool
    replace: bool = False
    shard_documents: int = SHARD_DOCUMENTS

    def __post_init__(self) -> None:
        if self.shard_documents < 1:
            raise InputError(f"a shard needs at least 1 document; got {self.shard_documents}")
        if self.encoder:
            check_kind(self.dense, self.encoder.card.dimensions)
        if isinstance(self.lexical, LuceneOptions) and not self.store_text:
            raise InputError(
                "Lucene's index is made again of the stored texts in each change, so they must be kept",
                hint="keep them, or take the other engine: --lexical-engine native",
            )

    def settings(self) -> dict[str, Any]:
        """All of it that decides what is staged, as JSON gives it back: what searches vectors is made of them later."""
        content = {
            "job": self.kind,
            "lexical": asdict(self.lexical) if self.lexical else None,
            "encoder": asdict(self.encoder.card) if self.encoder else None,
            "sparse": {**asdict(self.sparse), **_source_settings(self.sparse_source)} if self.sparse else None,
            "chunking": chunking_settings(self.chunking),
            "columns": asdict(self.columns) if self.columns else None,
            "on_error": self.on_error,
            "store_text": self.store_text,
            "replace": self.replace,
            "shard_documents": self.shard_documents,
        }
        settings: dict[str, Any] = orjson.loads(orjson.dumps(content))
        return settings


def stage(
    writer: ArtifactWriter,
    job: Job,
    documents: Iterator[Document],
    check: Check,
    *,
    restart: bool,
    progress: Progress,
) -> tuple[Staged, float]:
    """Write the segment of some documents; and the largest norm of its vectors.

    Args:
        writer: at work on the artifact.
        job: how.
        documents: which; read to the end before the first is encoded.
        check: told of every shard's documents before they are stored; an error ends the work.
        restart: discard what an interrupted build left, and do not go on with it.
        progress: told of documents read and encoded.

    Raises:
        UnfinishedBuildError: another build was interrupted here.
    """
    if isinstance(job.lexical, LuceneOptions):
        start_java()  # which may not be there: better known before the corpus is read
    stager = _Stager(writer, job, restart=restart, progress=progress)
    try:
        stager.read(documents, check)
    except (InputError, DocumentExistsError):
        if not stager.journal.shards:
            writer.discard()  # nothing has been done that could be gone on with
        raise
    stager.encode()
    return stager.staged(), stager.journal.largest_norm


class _Stager:
    def __init__(self, writer: ArtifactWriter, job: Job, *, restart: bool, progress: Progress) -> None:
        self._writer = writer
        self._job = job
        self._progress = progress
        self._fields = FieldCounts()
        self.journal = _journal(writer, job, restart=restart)
        self._check_work()

    @property
    def _folder(self) -> Path:
        return self._writer.path / self.journal.segment

    @property
    def _keeps_text(self) -> bool:
        # Texts are encoded from the store; those that are not to be kept are dropped when the segment is committed.
        encodes = self._job.encoder is not None or not isinstance(self._job.sparse_source, VectorFile | None)
        return self._job.store_text or encodes

    def _check_work(self) -> None:
        """An error if what an interrupted build left is not as it was; what it had not made durable is cut off."""
        journal = self.journal
        try:
            check_marks(self._folder, {**journal.store, **journal.vectors})
            check_marks(self._writer.work, {**journal.postings, **journal.entries})
        except ArtifactDamagedError as error:
            raise UnfinishedBuildError(str(error), hint=_DISCARD) from error
        if journal.store:
            StoreWriter(self._folder, journal.store).close()

    def read(self, documents: Iterator[Document], check: Check) -> None:
        """Store and analyse all documents, but for those that an interrupted build did."""
        documents = self._pass_over(self._counted(documents), check)
        if self.journal.complete:
            if next(documents, None) is not None:
                raise self._other_documents(f"it read {self.journal.rows:,} documents, and there are more")
        else:
            self._read_shards(documents, check)
        self._progress("read", self.journal.rows, self.journal.rows)
        finish_store(self._folder, self._fields)

    def _counted(self, documents: Iterator[Document]) -> Iterator[Document]:
        for number, document in enumerate(documents):
            if number % _TELL_EVERY == 0:
                self._progress("read", number, None)
            yield document

    def _read_shards(self, documents: Iterator[Document], check: Check) -> None:
        with _rare_collections(), StoreWriter(self._folder, self.journal.store) as store:
            for shard in self._shards(documents):
                check(shard)
                store.add(shard, keep_text=self._keeps_text)
                self._count(shard)
                number, postings = self.journal.shards, self.journal.postings
                if isinstance(self._job.lexical, LexicalOptions):
                    postings = {**postings, **self._write_postings(number, shard, self._job.lexical)}
                self._note(store=store.sync(), rows=store.rows, shards=number + 1, postings=postings)
            self._note(store=store.sync(), complete=True)

    def _shards(self, documents: Iterator[Document]) -> Iterator[list[Document]]:
        return windows(documents, lambda document: document.size, self._job.shard_documents, _SHARD_CHARACTERS)

    def _count(self, shard: list[Document]) -> None:
        for document in shard:
            if document.metadata:
                self._fields.add(orjson.loads(metadata_json(document)))  # as it will be read: dates are strings

    def _write_postings(self, number: int, shard: list[Document], options: LexicalOptions) -> dict[str, Mark]:
        from retrieval.index.lexical.builder import PostingsBuilder

        builder = PostingsBuilder(options.analyzer)
        builder.add(document.contents for document in shard)
        folder = self._writer.new_work_folder(_shard(number))
        builder.write(folder)
        sync_tree(folder)
        return {f"{folder.name}/{path.name}": mark_of(path) for path in folder.iterdir()}

    def _pass_over(self, documents: Iterator[Document], check: Check) -> Iterator[Document]:
        """Read the documents that an interrupted build stored; an error if they are others."""
        rows = self.journal.rows
        little = self._job.kind == "add" and rows < _WORTH_KEEPING
        seen: list[Document] = []
        digests = stored_digests(self._folder) if rows else iter(())
        passed = 0
        for shard in self._shards(islice(documents, rows)):
            if little:
                seen += shard
            for document, digest in zip(shard, digests, strict=False):
                passed += 1
                if digest != digest_of(document):
                    return self._other(
                        f"document {passed}, {document.id!r}, is not the one it read", seen, documents, little=little
                    )
            check(shard)
            self._count(shard)
        if passed < rows:
            return self._other(f"it read {rows:,} documents, and there are {passed:,}", seen, documents, little=little)
        return documents

    def _other(
        self, reason: str, seen: list[Document], rest: Iterator[Document], *, little: bool
    ) -> Iterator[Document]:
        """These are other documents: an error, unless so little had been done that it is discarded."""
        if not little:
            raise self._other_documents(reason)
        self.journal = _journal(self._writer, self._job, restart=True)
        self._fields = FieldCounts()
        return chain(seen, rest)

    def encode(self) -> None:
        """Make the vectors of every document, but for those that an interrupted build made."""
        job, journal = self._job, self.journal
        if job.encoder:
            check_memory(job.dense, journal.rows, job.encoder.card.dimensions)
            encode_dense(job.encoder, self._folder, journal, self._note, self._progress)
        if job.sparse_source is not None:
            encode_sparse(job.sparse_source, self._folder, self._writer.work, journal, self._note, self._progress)

    def _note(self, **progress: Any) -> None:
        sync_folder(self._folder)
        self.journal = self.journal.model_copy(update=progress)
        self.journal.write(self._writer.path)

    def staged(self) -> Staged:
        """What has been written."""
        shards = range(self.journal.shards) if isinstance(self._job.lexical, LexicalOptions) else ()
        return Staged(
            name=self.journal.segment,
            fields=self._fields,
            work=self.journal.work,
            shards=[self._writer.work / _shard(number) for number in shards],
            sparse_shards=write_shards(self._writer.work, "sparse-shard") if self._job.sparse else (),
            keeps_text=self._keeps_text,
        )

    def _other_documents(self, reason: str) -> UnfinishedBuildError:
        return _unfinished(self._writer, f"of other documents: {reason}")


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for cyclic garbage less often: documents make none, and looking at all of them took a sixth of a build."""
    usual = gc.get_threshold()
    gc.set_threshold(_COLLECT_EVERY, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _source_settings(source: SparseEncoder | VectorFile | None) -> dict[str, Any]:
    if isinstance(source, VectorFile):
        return {"file": source.digest}
    return {} if source is None else {"encoder": asdict(source.card)}


def _shard(number: int) -> str:
    return f"shard-{number}"


def _journal(writer: ArtifactWriter, job: Job, *, restart: bool) -> Journal:
    """The journal of the interrupted build that this one goes on with, or a new one."""
    settings = job.settings()
    journal = None if restart else Journal.read(writer.path)
    if journal:
        if journal.settings == settings:
            return journal
        if journal.settings["job"] == "build" or journal.rows >= _WORTH_KEEPING:
            raise _unfinished(writer, f"with other settings: {'; '.join(differences(journal.settings, settings))}")
    writer.discard()
    writer.sweep()
    journal = Journal(settings=settings, segment=writer.new_segment())
    writer.work.mkdir()
    journal.write(writer.path)
    sync_folder(writer.path)
    sync_folder(writer.path.parent)
    return journal


def _unfinished(writer: ArtifactWriter, reason: str) -> UnfinishedBuildError:
    return UnfinishedBuildError(
        f"{writer.path}: work was interrupted here, {reason}",
        hint=f"give the same corpus and settings to go on with it, or {_DISCARD}",
    )


def differences(there: Any, here: Any, place: str = "") -> Iterator[str]:
    """Where two settings differ, in words."""
    if isinstance(there, dict) and isinstance(here, dict):
        for name in sorted({*there, *here}):
            yield from differences(there.get(name), here.get(name), f"{place}.{name}" if place else name)
    elif there != here:
        yield f"{place} was {_shown(there)}, is {_shown(here)}"


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."

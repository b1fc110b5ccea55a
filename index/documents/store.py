"""The documents of one segment: how they are written, in the order they come, and read again by row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import chain, islice, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrieval.index.documents.fingerprint import DIGEST_BYTES, digest_of, digests_of, metadata_json
from retrieval.index.documents.ids import IdIndex, write_id_index
from retrieval.index.documents.metadata import FieldCounts, read_columns, write_columns
from retrieval.index.storage.arrays import ArrayAppender, DiskArray
from retrieval.index.storage.batches import BatchReader, BatchWriter
from retrieval.index.storage.files import Folder, PlainFolder, damaged
from retrieval.index.storage.marks import Mark
from retrieval.types import Document, Passage

__all__ = ["StoreReader", "StoreWriter", "finish_store", "stored_digests"]

# Ids are read many at a time and are not compressed; texts are read one at a time, and unpacked batch by batch.
_ID_ROWS = 8192
_TEXT_ROWS = 256
_TEXT_BYTES = 1 << 15

_IDS = pa.schema(
    [
        pa.field("id", pa.large_string(), nullable=False),
        # Of a passage: the document it is from, and which characters of its text it is.
        pa.field("document", pa.large_string()),
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
    ]
)
_TEXTS = pa.schema(
    [
        pa.field("title", pa.large_string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("metadata", pa.large_string(), nullable=False),  # JSON: every corpus has its own fields
    ]
)
_WHOLE = (None, None, None)  # no passage
_DIGESTS, _COLUMNS = "digests.npy", "metadata.arrow"
_TITLE, _TEXT, _METADATA = range(3)


class StoreWriter:
    """Writes documents into a folder, from its beginning or from the marks that were synced."""

    def __init__(self, folder: Path, marks: Mapping[str, Mark] | None = None) -> None:
        self._ids = BatchWriter(folder, "ids", _IDS, marks=marks)
        self._texts = BatchWriter(folder, "texts", _TEXTS, compression="lz4", marks=marks)
        mark = marks[_DIGESTS] if marks else None
        self._digests = ArrayAppender(folder / _DIGESTS, np.uint8, (DIGEST_BYTES,), mark=mark)
        self.rows = self._ids.rows

    def add(self, documents: Sequence[Document], *, keep_text: bool = True) -> None:
        """Add documents, whose metadata must be JSON values; many at a time, as each call ends a batch."""
        for start in range(0, len(documents), _ID_ROWS):
            self._add(documents[start : start + _ID_ROWS], keep_text=keep_text)

    def _add(self, documents: Sequence[Document], *, keep_text: bool) -> None:
        metadata = [metadata_json(document) for document in documents]
        texts = [document.text for document in documents] if keep_text else [""] * len(documents)
        columns = ([document.title for document in documents], texts, metadata)
        rows = pa.record_batch([pa.array(column, pa.large_string()) for column in columns], schema=_TEXTS)
        for start, stop in pairwise(_batch_ends(rows)):
            self._texts.write(rows[start:stop])
        self._ids.write(_id_batch(documents))
        content = b"".join(digests_of(documents, metadata))
        self._digests.append(np.frombuffer(content, dtype=np.uint8).reshape(-1, DIGEST_BYTES))
        self.rows += len(documents)

    def take(self, parts: Sequence[tuple["StoreReader", NDArray[np.bool_]]], *, keep_text: bool = True) -> None:
        """Add the marked rows of other segments."""
        for ids in _gathered(((store.ids, live) for store, live in parts), _ID_ROWS, None):
            self._ids.write(ids)
            self.rows += ids.num_rows
        for texts in _gathered(((store.texts, live) for store, live in parts), _TEXT_ROWS, _TEXT_BYTES):
            empty = pa.array([""] * texts.num_rows, pa.large_string())
            self._texts.write(texts if keep_text else texts.set_column(_TEXT, _TEXTS.field(_TEXT), empty))
        for store, live in parts:
            self._digests.append(store.digests.all()[live])

    def sync(self) -> dict[str, Mark]:
        """Make what was added durable; the marks of the files."""
        return {**self._ids.sync(), **self._texts.sync(), _DIGESTS: self._digests.sync()}

    def close(self) -> None:
        """Leave the files as they are."""
        with self:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._digests, self._texts, self._ids:
            pass


def _gathered(
    parts: Iterable[tuple[BatchReader, NDArray[np.bool_]]], rows: int, characters: int | None
) -> Iterator[pa.RecordBatch]:
    """The marked rows, in batches of at least one of these sizes, but for the last."""
    pending: list[pa.RecordBatch] = []
    for reader, live in parts:
        for number, batch in enumerate(reader.batches()):
            pending.append(batch.filter(pa.array(live[reader.starts[number] : reader.starts[number + 1]])))
            size = sum(part.nbytes for part in pending)
            if sum(part.num_rows for part in pending) >= rows or (characters and size >= characters):
                yield pa.concat_batches(pending)
                pending = []
    if pending:
        yield pa.concat_batches(pending)


def finish_store(folder: Path, counts: FieldCounts | None = None) -> None:
    """Write what follows from all documents of a store: their metadata in typed columns, and the index of ids.

    `counts` are those of their fields, where they are known.
    """
    store = PlainFolder(folder)
    texts, ids = BatchReader(store, "texts", _TEXTS, compressed=True), BatchReader(store, "ids", _IDS)
    if counts is None:
        counts = FieldCounts()
        for metadata in chain.from_iterable(map(_metadata, texts.batches())):
            counts.add(metadata)
    rows = chain.from_iterable(map(_metadata, texts.batches()))
    # Few large batches: a filter pays for each.
    write_columns(folder / _COLUMNS, counts, iter(lambda: list(islice(rows, _ID_ROWS)), []))
    write_id_index(folder, (name for batch in ids.batches() for name in _document_ids(batch)))


def _metadata(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return [orjson.loads(text) for text in batch.column(_METADATA).to_pylist()]


def _document_ids(batch: pa.RecordBatch) -> list[str]:
    """The ids of the documents that rows are, or are passages of."""
    names: list[str] = pc.coalesce(batch.column("document"), batch.column("id")).to_pylist()
    return names


def stored_digests(folder: Path) -> Iterator[bytes]:
    """The digests of the documents of a store that is being written, in order."""
    digests = DiskArray(PlainFolder(folder), _DIGESTS, np.uint8, ndim=2)
    for start in range(0, len(digests), _ID_ROWS):
        yield from (row.tobytes() for row in digests.slice(start, min(start + _ID_ROWS, len(digests))))


def _batch_ends(rows: pa.RecordBatch) -> list[int]:
    """Where the batches end that rows are written in, behind a 0: each as soon as it has so many rows or bytes."""
    sizes = sum(np.asarray(pc.binary_length(column), dtype=np.int64) for column in rows.columns)
    totals = np.cumsum(sizes)
    ends = [0]
    while ends[-1] < rows.num_rows:
        before = totals[ends[-1] - 1] if ends[-1] else 0
        full = int(np.searchsorted(totals, before + _TEXT_BYTES)) + 1
        ends.append(min(full, ends[-1] + _TEXT_ROWS, rows.num_rows))
    return ends


def _id_batch(documents: Sequence[Document]) -> pa.RecordBatch:
    if any(document.passage for document in documents):
        places = [astuple(document.passage) if document.passage else _WHOLE for document in documents]
    else:
        places = []
    ids = pa.array([document.id for document in documents], pa.large_string())
    columns = list(zip(*places, strict=True)) or [(None,) * len(documents)] * len(_WHOLE)
    own = [pa.array(column, field.type) for column, field in zip(columns, list(_IDS)[1:], strict=True)]
    return pa.record_batch([ids, *own], schema=_IDS)


def _rows(reader: BatchReader) -> Iterator[tuple[Any, ...]]:
    """The values of every row."""
    for batch in reader.batches():
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _document(ids: Sequence[Any], texts: Sequence[Any]) -> Document:
    """A document, from its rows of the two streams."""
    (id_, *place), (title, text, metadata) = ids, texts
    passage = Passage(*place) if place[0] is not None else None
    return Document(id=id_, title=title, text=text, metadata=orjson.loads(metadata), passage=passage)


class StoreReader:
    """Reads the documents of one segment by row."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.ids = BatchReader(folder, "ids", _IDS)
        self.texts = BatchReader(folder, "texts", _TEXTS, compressed=True)
        self.digests = DiskArray(folder, _DIGESTS, np.uint8, ndim=2)
        self.id_index = IdIndex(folder)
        self.rows = self.ids.rows
        counts = {"texts.arrow": self.texts.rows, _DIGESTS: len(self.digests), "id_hashes.npy": len(self.id_index)}
        for name, have in counts.items():
            if have != self.rows:
                raise damaged(folder.path / name, f"holds {have} rows, expected {self.rows}")

    def document(self, row: int) -> Document:
        """One document."""
        return _document(self.ids.row(row), self.texts.row(row))

    def documents(self) -> Iterator[Document]:
        """Every document, in order, one batch in memory at a time."""
        return map(_document, _rows(self.ids), _rows(self.texts))

    def metadata_of(self, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Some rows' metadata."""
        return [orjson.loads(text) for text in self.texts.take("metadata", rows)]

    def contents(self, first: int = 0) -> Iterator[str]:
        """What is indexed of each document, from a row on, one batch in memory at a time."""
        number = int(np.searchsorted(self.texts.starts, first, side="right")) - 1
        skipped = first - int(self.texts.starts[number])
        for batch in self.texts.batches(number):
            titles, texts = batch.column(_TITLE).to_pylist(), batch.column(_TEXT).to_pylist()
            for title, text in islice(zip(titles, texts, strict=True), skipped, None):
                yield Document(id="", title=title, text=text).contents
            skipped = 0

    def metadata(self) -> Iterator[dict[str, Any]]:
        """Every row's metadata."""
        return chain.from_iterable(map(_metadata, self.texts.batches()))

    def document_ids(self) -> Iterator[str]:
        """For every row its id, or the id of the document it is a passage of."""
        return chain.from_iterable(map(_document_ids, self.ids.batches()))

    def find(self, names: Sequence[str], hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of documents, or of all their passages: pairs of a place in `names` and a row."""
        places, rows = self.id_index.candidates(hashes)
        documents, ids = self.ids.take("document", rows), self.ids.take("id", rows)
        same = np.array(
            [names[place] == (document or id_) for place, document, id_ in zip(places, documents, ids, strict=True)],
            dtype=bool,
        )
        return places[same], rows[same]

    def columns(self, schema: pa.Schema, live: NDArray[np.bool_]) -> pa.Table:
        """The metadata as columns of these types; what it says of rows that are not live means nothing."""

        def of_live() -> list[dict[str, Any]]:
            return [one if alive else {} for one, alive in zip(self.metadata(), live, strict=True)]

        return read_columns(self._folder, _COLUMNS, schema, self.rows, of_live)

    def problems(self, *, with_text: bool = True) -> list[str]:
        """Read all of it, and name what cannot be; with texts, also documents that are not those of their digests."""
        found = [*self.ids.problems(), *self.texts.problems()]
        found = found or self.id_index.problems(self.document_ids())
        if with_text and not found:
            digests = self.digests.all()
            pairs = enumerate(zip(self.documents(), digests, strict=True))
            altered = (row for row, (document, digest) in pairs if digest_of(document) != digest.tobytes())
            found = [f"{self._folder.path / 'texts.arrow'}: row {row} is not what its digest says" for row in altered]
        return found

"""The document store: ids, titles, texts and metadata in memory-mapped Arrow files, and the corpus' fingerprint."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from retrieval.errors import ArtifactDamagedError
from retrieval.index.arrays import damaged, load_array
from retrieval.index.filters import allowed_documents
from retrieval.index.metadata import MetadataTypes, read_columns, write_columns
from retrieval.types import Document, Passage

__all__ = ["DocumentReader", "DocumentWriter", "fingerprint_of"]

# A batch is written when it holds this many documents or characters, so that long documents do not fill the memory.
_ROWS = 8192
_CHARACTERS = 1 << 24

_STORE, _COLUMNS, _STARTS = "documents.arrow", "metadata.arrow", "batch_starts.npy"

_SCHEMA = pa.schema(
    [
        pa.field("id", pa.large_string(), nullable=False),
        pa.field("title", pa.large_string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("metadata", pa.large_string(), nullable=False),  # JSON: every corpus has its own fields
        # Of a passage: the document it is from, and which characters of its text it is.
        pa.field("document", pa.large_string()),
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
    ]
)


Row = tuple[str, str, str, str, str | None, int | None, int | None]


def fingerprint_of(documents: Iterable[Document]) -> str:
    """The fingerprint that an index of these documents would have."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(orjson.dumps(_row(document)))
    return _name(digest)


def _row(document: Document) -> Row:
    metadata = orjson.dumps(dict(document.metadata), option=orjson.OPT_SORT_KEYS).decode()
    passage = astuple(document.passage) if document.passage else (None, None, None)
    return document.id, document.title, document.text, metadata, *passage


def _name(digest: Any) -> str:
    return f"sha256:{digest.hexdigest()}"


class DocumentWriter:
    """Writes documents in the order they come: the first is ordinal 0."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._types = MetadataTypes()
        self._file = pa.OSFile(str(folder / _STORE), "wb")
        self._writer = pa.ipc.new_file(self._file, _SCHEMA)
        self._rows: list[Row] = []
        self._characters = 0
        self._starts = [0]
        self._hash = hashlib.sha256()
        self.count = 0

    def add(self, documents: Iterable[Document]) -> None:
        """Add documents, whose metadata must be JSON values."""
        for document in documents:
            row = _row(document)
            self._types.add(orjson.loads(row[3]))  # as it will be read: dates are strings, tuples are lists
            self._hash.update(orjson.dumps(row))
            self._rows.append(row)
            self._characters += len(document.text)
            self.count += 1
            if len(self._rows) == _ROWS or self._characters >= _CHARACTERS:
                self._flush()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
        self._starts.append(self.count)
        self._rows.clear()
        self._characters = 0

    @property
    def fingerprint(self) -> str:
        """Digest of every document so far, in order: ids, titles, texts and metadata."""
        return _name(self._hash)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._rows:
            self._flush()
        self._writer.close()
        self._file.close()
        if error is None:
            np.save(self._folder / _STARTS, np.array(self._starts, dtype=np.int64))
            # The types are known now that every document has been seen.
            store = pa.ipc.open_file(_map(self._folder / _STORE))
            batches = (store.get_batch(number) for number in range(store.num_record_batches))
            rows = ([orjson.loads(text) for text in batch.column("metadata").to_pylist()] for batch in batches)
            write_columns(self._folder / _COLUMNS, self._types.schema(), rows)


def _map(path: Path) -> pa.MemoryMappedFile:
    try:
        return pa.memory_map(str(path))
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, f"cannot be mapped ({error})") from error


class DocumentReader:
    """Reads documents by ordinal; opening costs the same for any number of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = path = folder / _STORE
        self._columns: tuple[pa.Table, dict[str, str]] | None = None
        # Read at the first filter; opened now, as a writer may have removed it by then.
        self._columns_file = _map(folder / _COLUMNS)
        try:
            self._file = pa.ipc.open_file(_map(path))
        except (OSError, pa.ArrowException) as error:
            raise damaged(path, f"not a readable Arrow file ({error})") from error
        if self._file.schema != _SCHEMA:
            raise damaged(path, f"has other columns than {', '.join(_SCHEMA.names)}")
        # Where each batch begins, and at the end the number of documents.
        self._starts = load_array(folder / _STARTS, np.int64)
        if len(self._starts) != self._file.num_record_batches + 1:
            raise damaged(folder / _STARTS, f"does not fit {_STORE}")
        self._count = int(self._starts[-1])

    def _batch(self, number: int) -> Any:
        try:
            return self._file.get_batch(number)
        except (OSError, pa.ArrowException) as error:
            raise damaged(self._path, f"record batch {number} cannot be read ({error})") from error

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, ordinal: int) -> Document:
        """One document; IndexError outside 0 ≤ ordinal < len."""
        if not 0 <= ordinal < self._count:
            raise IndexError(ordinal)
        number = int(np.searchsorted(self._starts, ordinal, side="right")) - 1
        row = int(ordinal - self._starts[number])
        id_, title, text, metadata, *place = (column[row].as_py() for column in self._batch(number).columns)
        passage = Passage(*place) if place[0] is not None else None
        return Document(id=id_, title=title, text=text, metadata=orjson.loads(metadata), passage=passage)

    def __iter__(self) -> Iterator[Document]:
        return (self[ordinal] for ordinal in range(self._count))

    def ids(self, ordinals: NDArray[np.int64] | Sequence[int]) -> list[str]:
        """The external ids of many documents, in the order of the ordinals."""
        return self._strings("id", ordinals)

    def document_ids(self, ordinals: NDArray[np.int64] | Sequence[int]) -> list[str]:
        """The ids of the documents that passages are from, in the order of the ordinals."""
        return self._strings("document", ordinals)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """For each passage the number of its document, (n,); passages of one document stand side by side."""
        documents = pa.chunked_array(
            [self._batch(number).column("document") for number in range(self._file.num_record_batches)],
            pa.large_string(),
        )
        groups = documents.combine_chunks().dictionary_encode().indices
        return np.asarray(groups.to_numpy(zero_copy_only=False), dtype=np.int64)

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        found = []
        ids: set[str] = set()
        for number in range(self._file.num_record_batches):
            batch = self._batch(number)
            if batch.num_rows != self._starts[number + 1] - self._starts[number]:
                found.append(f"{self._path}: record batch {number} does not fit {_STARTS}")
            try:
                batch.validate(full=True)
                ids.update(batch.column("id").to_pylist())
            except (pa.ArrowException, UnicodeDecodeError) as error:
                return [*found, f"{self._path}: record batch {number} cannot be read ({error})"]
        if len(ids) != self._count:
            found.append(f"{self._path}: holds {len(ids)} different ids of {self._count} documents")
        try:
            self._typed_columns()
        except ArtifactDamagedError as error:
            found.append(str(error))
        return found

    def _typed_columns(self) -> tuple[pa.Table, dict[str, str]]:
        """The metadata as typed columns, read once."""
        if self._columns is None:
            columns, untyped = read_columns(self._folder / _COLUMNS, self._columns_file)
            if columns.num_columns and columns.num_rows != self._count:
                raise damaged(self._folder / _COLUMNS, f"holds {columns.num_rows} rows, expected {self._count}")
            self._columns = columns, untyped
        return self._columns

    def _strings(self, column: str, ordinals: NDArray[np.int64] | Sequence[int]) -> list[str]:
        wanted = np.asarray(ordinals, dtype=np.int64)
        if wanted.ndim != 1 or (len(wanted) and not 0 <= wanted.min() <= wanted.max() < self._count):
            raise IndexError(f"ordinals must be one row of numbers from 0 to below {self._count}; see Hits.row")
        numbers = np.searchsorted(self._starts, wanted, side="right") - 1
        ids = np.empty(len(wanted), dtype=object)
        for number in np.unique(numbers):
            here = numbers == number
            rows = pa.array(wanted[here] - self._starts[number])
            ids[here] = self._batch(int(number)).column(column).take(rows).to_pylist()
        return list(ids)

    def all_document_ids(self) -> Iterator[str]:
        """Every document's external id, in order, one batch in memory at a time; of passages, the documents' ids."""
        for number in range(self._file.num_record_batches):
            batch = self._batch(number)
            pairs = zip(batch.column("id").to_pylist(), batch.column("document").to_pylist(), strict=True)
            yield from (document or id_ for id_, document in pairs)

    def allowed(self, filter_: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which documents a metadata filter allows, (n,); see `retrieval.index.filters`.

        Raises:
            FilterError: the filter cannot be understood; it names the place.
        """
        return allowed_documents(filter_, *self._typed_columns(), self._count)

    def contents(self) -> Iterator[str]:
        """What is indexed of each document, in order, one batch in memory at a time."""
        for number in range(self._file.num_record_batches):
            batch = self._batch(number)
            titles, texts = batch.column("title").to_pylist(), batch.column("text").to_pylist()
            for title, text in zip(titles, texts, strict=True):
                yield Document(id="", title=title, text=text).contents

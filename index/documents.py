"""The document store: ids, titles, texts and metadata in memory-mapped Arrow files, and the corpus' fingerprint."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from retrieval.index.files import damaged
from retrieval.index.filters import allowed_documents
from retrieval.index.metadata import MetadataTypes, read_columns, write_columns
from retrieval.types import Document

__all__ = ["DocumentReader", "DocumentWriter", "fingerprint_of"]

# Every batch but the last holds this many rows, so that a row is found by division.
_ROWS = 8192

_STORE, _COLUMNS = "documents.arrow", "metadata.arrow"

_SCHEMA = pa.schema(
    [
        pa.field("id", pa.large_string(), nullable=False),
        pa.field("title", pa.large_string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("metadata", pa.large_string(), nullable=False),  # JSON: every corpus has its own fields
    ]
)


Row = tuple[str, str, str, str]


def fingerprint_of(documents: Iterable[Document]) -> str:
    """The fingerprint that an index of these documents would have."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(orjson.dumps(_row(document)))
    return _name(digest)


def _row(document: Document) -> Row:
    metadata = orjson.dumps(dict(document.metadata), option=orjson.OPT_SORT_KEYS).decode()
    return document.id, document.title, document.text, metadata


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
        self._hash = hashlib.sha256()
        self.count = 0

    def add(self, documents: Iterable[Document]) -> None:
        """Add documents, whose metadata must be JSON values."""
        for document in documents:
            row = _row(document)
            self._types.add(document.metadata)
            self._hash.update(orjson.dumps(row))
            self._rows.append(row)
            self.count += 1
            if len(self._rows) == _ROWS:
                self._flush()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else ([], [], [], [])
        arrays = [pa.array(column, pa.large_string()) for column in columns]
        self._writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
        self._rows.clear()

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
            # The types are known now that every document has been seen.
            rows = DocumentReader(self._folder).metadata()
            write_columns(self._folder / _COLUMNS, self._types.schema(), rows)


class DocumentReader:
    """Reads documents by ordinal; opening costs the same for any number of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = path = folder / _STORE
        self._columns: tuple[pa.Table, dict[str, str]] | None = None
        try:
            self._file = pa.ipc.open_file(pa.memory_map(str(path)))
        except (OSError, pa.ArrowException) as error:
            raise damaged(path, f"not a readable Arrow file ({error})") from error
        if self._file.schema != _SCHEMA:
            raise damaged(path, "has other columns than id, title, text and metadata")
        batches = self._file.num_record_batches
        self._count = (batches - 1) * _ROWS + self._batch(batches - 1).num_rows if batches else 0

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
        number, row = divmod(int(ordinal), _ROWS)
        id_, title, text, metadata = (column[row].as_py() for column in self._batch(number).columns)
        return Document(id=id_, title=title, text=text, metadata=orjson.loads(metadata))

    def __iter__(self) -> Iterator[Document]:
        return (self[ordinal] for ordinal in range(self._count))

    def ids(self, ordinals: NDArray[np.int64] | Sequence[int]) -> list[str]:
        """The external ids of many documents, in the order of the ordinals."""
        numbers, rows = np.divmod(np.asarray(ordinals, dtype=np.int64), _ROWS)
        ids = np.empty(len(numbers), dtype=object)
        for number in np.unique(numbers):
            here = numbers == number
            ids[here] = self._batch(int(number)).column("id").take(pa.array(rows[here])).to_pylist()
        return list(ids)

    def all_ids(self) -> Iterator[str]:
        """Every external id, in order, one batch in memory at a time."""
        for number in range(self._file.num_record_batches):
            yield from self._batch(number).column("id").to_pylist()

    def metadata(self) -> Iterator[list[dict[str, Any]]]:
        """The metadata of every document, in order, in batches."""
        for number in range(self._file.num_record_batches):
            yield [orjson.loads(text) for text in self._batch(number).column("metadata").to_pylist()]

    def allowed(self, filter_: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which documents a metadata filter allows, (n,); see `retrieval.index.filters`.

        Raises:
            FilterError: the filter cannot be understood; it names the place.
        """
        if self._columns is None:
            self._columns = read_columns(self._folder / _COLUMNS)
        columns, untyped = self._columns
        if columns.num_columns and columns.num_rows != self._count:
            raise damaged(self._folder / _COLUMNS, f"holds {columns.num_rows} rows, expected {self._count}")
        return allowed_documents(filter_, columns, untyped, self._count)

    def contents(self) -> Iterator[str]:
        """What is indexed of each document, in order, one batch in memory at a time."""
        for number in range(self._file.num_record_batches):
            batch = self._batch(number)
            titles, texts = batch.column("title").to_pylist(), batch.column("text").to_pylist()
            for title, text in zip(titles, texts, strict=True):
                yield Document(id="", title=title, text=text).contents

"""Arrow record batches on disk, as an IPC stream that can be appended to and read at any row.

Beside `NAME.arrow` stands `NAME_batches.npy`: where each batch begins, as (row, byte), and at the end the totals.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrieval.index.storage.arrays import ArrayAppender, DiskArray
from retrieval.index.storage.files import Folder, damaged
from retrieval.index.storage.marks import Mark, RunningSum

__all__ = ["BatchReader", "BatchWriter"]

# Threads would cost more than they save on batches this small.
_READ = pa.ipc.IpcReadOptions(use_threads=False)
# Up to so many values of a batch are taken one by one.
_FEW = 64
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class BatchWriter:
    """Appends record batches; with the marks of what was synced earlier it goes on from that."""

    def __init__(
        self,
        folder: Path,
        name: str,
        schema: pa.Schema,
        *,
        compression: str | None = None,
        marks: Mapping[str, Mark] | None = None,
    ) -> None:
        self._schema = schema
        self._options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
        self._head = schema.serialize().to_pybytes()
        self._path, index = folder / f"{name}.arrow", folder / f"{name}_batches.npy"
        mark = marks[self._path.name] if marks else None
        self._sum = RunningSum(mark)
        self._starts = ArrayAppender(index, np.int64, (2,), mark=marks[index.name] if marks else None)
        self._file = self._path.open("r+b" if mark else "wb")
        if mark:
            self._file.truncate(mark.bytes)
            self._file.seek(mark.bytes)
            self.rows = int(np.load(index)[-1, 0])
        else:
            self.rows = 0
            self._append(self._head)

    def _append(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self._sum.add(content)
        self._starts.append(np.array([[self.rows, self._sum.mark.bytes]]))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append one batch; one without rows is left out."""
        if not batch.num_rows:
            return
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema, options=self._options) as writer:
            writer.write_batch(batch)
        # What a stream has before its first batch and after its last stands in the file once.
        message = memoryview(sink.getvalue())[len(self._head) : -len(_END)]
        self.rows += batch.num_rows
        self._append(message)

    def sync(self) -> dict[str, Mark]:
        """Make the batches so far durable; the marks of the two files."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {self._path.name: self._sum.mark, f"{self._path.stem}_batches.npy": self._starts.sync()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._starts, self._file:
            self._file.write(_END)


class BatchReader:
    """Reads batches, or the values of single rows."""

    def __init__(self, folder: Folder, name: str, schema: pa.Schema, *, compressed: bool = False) -> None:
        self._compressed = compressed
        self._file = folder.open(f"{name}.arrow")
        self._schema = schema
        self._head = schema.serialize().to_pybytes()
        self._index = DiskArray(folder, f"{name}_batches.npy", np.int64, ndim=2)
        if len(self._index) == 0 or self._index.shape[1:] != (2,):
            raise self._index.damaged("does not say where batches begin")
        self._table: NDArray[np.int64] | None = None
        # Columns of batches that are not compressed, which are but views of the file.
        self._columns: dict[tuple[str, int], Callable[[int], Any]] = {}
        if bytes(self._file.read(0, min(len(self._head), self._file.size))) != self._head:
            raise damaged(self._file.path, f"has other columns than {', '.join(schema.names)}")
        self.rows = int(self._index.slice(len(self._index) - 1, len(self._index))[0, 0])

    def __len__(self) -> int:
        """Batches."""
        return len(self._index) - 1

    @property
    def starts(self) -> NDArray[np.int64]:
        """The row at which each batch begins, and at the end the number of rows."""
        starts: NDArray[np.int64] = self._places()[0]
        return starts

    def _places(self) -> NDArray[np.int64]:
        """The rows, and the bytes, at which batches begin: read once, into memory."""
        if self._table is None:
            self._table = np.ascontiguousarray(self._index.all().T)
        return self._table

    def batch(self, number: int) -> pa.RecordBatch:
        """One batch; an error if it is damaged."""
        start, stop = (int(byte) for byte in self._places()[1, number : number + 2])
        content = self._file.read(start, stop)
        try:
            if self._compressed:
                stream = pa.BufferReader(self._head + content)
                return pa.ipc.open_stream(stream, options=_READ).read_next_batch()
            return pa.ipc.read_record_batch(pa.py_buffer(content), self._schema)
        except (OSError, pa.ArrowException, StopIteration) as error:
            raise damaged(self._file.path, f"record batch {number} cannot be read ({error})") from error

    def batches(self, first: int = 0) -> Iterator[pa.RecordBatch]:
        """Every batch from a number on, one in memory at a time."""
        return (self.batch(number) for number in range(first, len(self)))

    def row(self, row: int) -> list[Any]:
        """The values of one row."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        place = row - int(self.starts[number])
        return [column[place].as_py() for column in self.batch(number).columns]

    def take(self, column: str, rows: NDArray[np.int64]) -> list[Any]:
        """One column's values of many rows, in their order."""
        if len(rows) <= _FEW * len(self) and not self._compressed:
            numbers = (np.searchsorted(self.starts, rows, side="right") - 1).tolist()
            return [self._column(column, number)(row) for number, row in zip(numbers, rows.tolist(), strict=True)]
        numbers = np.searchsorted(self.starts, rows, side="right") - 1
        values = np.empty(len(rows), dtype=object)
        for number in np.unique(numbers):
            here = numbers == number
            wanted = pa.array(rows[here] - self.starts[number])
            values[here] = self.batch(int(number)).column(column).take(wanted).to_pylist()
        return list(values)

    def _column(self, column: str, number: int) -> Callable[[int], Any]:
        """What gives the value of a row of this batch."""
        if (column, number) not in self._columns:
            self._columns[column, number] = _reading(self.batch(number).column(column), int(self.starts[number]))
        return self._columns[column, number]

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        found = []
        for number in range(len(self)):
            batch = self.batch(number)
            if batch.num_rows != self.starts[number + 1] - self.starts[number]:
                found.append(f"{self._file.path}: record batch {number} does not fit {self._index.file.path.name}")
            try:
                batch.validate(full=True)
            except (pa.ArrowException, UnicodeDecodeError) as error:
                found.append(f"{self._file.path}: record batch {number} cannot be read ({error})")
        return found


def _reading(column: pa.Array, first: int) -> Callable[[int], Any]:
    """What gives the value of a row, where the column's rows begin at `first`."""
    if column.type != pa.large_string() or column.null_count:
        return lambda row: column[row - first].as_py()
    # Several times as fast as through Arrow's scalars.
    _, places, content = column.buffers()
    ends, text = memoryview(places).cast("q"), memoryview(content or b"")

    def read(row: int) -> str:
        return str(text[ends[row - first] : ends[row - first + 1]], "utf-8")

    return read

"""Arrays on disk, as .npy files: read in slices, appended to when written."""

import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from retrieval.index.storage.files import CheckedFile, File, Folder, damaged
from retrieval.index.storage.marks import NPY_HEADER, Mark, RunningSum

__all__ = ["ArrayAppender", "DiskArray", "load_array"]

# Format 1.0, padded to NPY_HEADER bytes, in C order.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00\x76\x00\{'descr': '(?P<dtype>[^']{2,6})', "
    rb"'fortran_order': False, 'shape': \((?P<shape>[\d, ]*)\), \} *\n"
)


class DiskArray:
    """A .npy file of known type, whose rows are read, and checked where it is checked, as they are needed."""

    def __init__(self, folder: Folder, name: str, dtype: DTypeLike | tuple[DTypeLike, ...], ndim: int = 1) -> None:
        """A damaged-artifact error if the file is not of (one of) the types and this number of dimensions."""
        self.file: File = folder.open(name)
        expected = [np.dtype(one) for one in (dtype if isinstance(dtype, tuple) else (dtype,))]
        # numpy's own reading of a header goes through Python's compiler, which is most of the time to open an index.
        header = _HEADER.match(self.file.read(0, min(NPY_HEADER, self.file.size)))
        if header is None:
            raise self.damaged("not a readable array")
        self.dtype = np.dtype(header["dtype"].decode())
        self.shape = tuple(int(number) for number in header["shape"].split(b",") if number.strip())
        if self.dtype not in expected or len(self.shape) != ndim:
            raise self.damaged(f"holds {len(self.shape)}-d {self.dtype}, expected {ndim}-d {expected[0]}")
        self._row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        if self.file.size != NPY_HEADER + len(self) * self._row_bytes:
            raise self.damaged(f"has {self.file.size} bytes, which is not {self.shape} of {self.dtype}")

    def damaged(self, reason: str) -> Exception:
        """The error that names this file."""
        return damaged(self.file.path, reason)

    def __len__(self) -> int:
        return self.shape[0]

    def slice(self, start: int, stop: int) -> NDArray[Any]:
        """The rows from `start` to before `stop`; a view where the file is mapped."""
        first = NPY_HEADER + start * self._row_bytes
        return self._rows(self.file.read(first, NPY_HEADER + stop * self._row_bytes))

    def all(self) -> NDArray[Any]:
        """Every row."""
        return self.slice(0, len(self))

    @property
    def unchecked(self) -> NDArray[Any]:
        """A view of every row, of which the caller checks those it looks at; of a mapped file only."""
        assert isinstance(self.file, CheckedFile)
        return self._rows(self.file.unchecked[NPY_HEADER:])

    def check(self, start: int, stop: int) -> None:
        """An error if these rows are not as they were written; of a mapped file only."""
        assert isinstance(self.file, CheckedFile)
        self.file.check(NPY_HEADER + start * self._row_bytes, NPY_HEADER + stop * self._row_bytes)

    def check_rows(self, rows: NDArray[np.int64]) -> None:
        """An error if one of these rows is not as it was written; of a mapped file only."""
        assert isinstance(self.file, CheckedFile)
        first = NPY_HEADER + rows * self._row_bytes
        self.file.check_pieces(first, first + self._row_bytes)

    def _rows(self, content: memoryview) -> NDArray[Any]:
        return np.frombuffer(content, dtype=self.dtype).reshape(-1, *self.shape[1:])


def load_array(folder: Folder, name: str, dtype: DTypeLike, ndim: int = 1) -> NDArray[Any]:
    """All of a .npy file."""
    return DiskArray(folder, name, dtype, ndim).all()


class ArrayAppender:
    """Writes a .npy file row by row, without knowing how many rows will come.

    With a mark of what was synced earlier, the file is there and goes on from that; what stood behind it is cut off.
    """

    def __init__(
        self, path: Path, dtype: DTypeLike, row_shape: tuple[int, ...] = (), *, mark: Mark | None = None
    ) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self._sum = RunningSum(mark)
        self._file: BinaryIO = path.open("r+b" if mark else "w+b")
        if mark:
            self._file.truncate(NPY_HEADER + mark.bytes)
        self._write_header()

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self._sum.mark.bytes // (self._dtype.itemsize * int(np.prod(self._row_shape)))

    def _write_header(self) -> None:
        # numpy pads the header so that the first dimension can grow without moving the data.
        description = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._row_shape),
        }
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, description)
        assert self._file.tell() == NPY_HEADER
        self._file.seek(0, os.SEEK_END)

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows, (n, *row_shape), converted to the file's type."""
        content = np.ascontiguousarray(rows, dtype=self._dtype).reshape(-1).view(np.uint8).data
        self._file.write(content)
        self._sum.add(content)

    def sync(self) -> Mark:
        """Make the rows so far durable, under a header that counts them."""
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._sum.mark

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._write_header()

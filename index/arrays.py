"""Arrays on disk: memory-mapped when read, appended to when written."""

import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from retrieval.errors import ArtifactDamagedError

__all__ = ["ArrayAppender", "damaged", "load_array"]


def damaged(path: Path, reason: str) -> ArtifactDamagedError:
    """The error for a file of an index that is not what was written."""
    return ArtifactDamagedError(f"{path}: {reason}", hint="restore the index from a copy, or build it again")


def load_array(path: Path, dtype: DTypeLike, ndim: int = 1) -> NDArray[Any]:
    """A .npy file as a read-only memory map; a damaged-artifact error if it is not of that type and shape."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, f"not a readable array ({error})") from error
    if array.dtype != np.dtype(dtype) or array.ndim != ndim:
        raise damaged(path, f"holds {array.ndim}-d {array.dtype}, expected {ndim}-d {np.dtype(dtype)}")
    # The plain view costs a third of np.memmap's own slicing.
    return np.asarray(array)


class ArrayAppender:
    """Writes a .npy file row by row, without knowing how many rows will come."""

    def __init__(self, path: Path, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self._file: BinaryIO = path.open("wb")
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self.rows = 0
        self._write_header()

    def _write_header(self) -> None:
        # numpy pads the header so that the first dimension can grow without moving the data.
        description = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._row_shape),
        }
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, description)
        self._file.seek(0, os.SEEK_END)

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows, (n, *row_shape), converted to the file's type."""
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
        self.rows += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._write_header()

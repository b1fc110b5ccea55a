"""Files of an artifact: arrays on disk, checksums, and writes that are there whole or not at all."""

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from retrieval.errors import ArtifactDamagedError

__all__ = ["ArrayAppender", "damaged", "load_array", "sha256_of", "sync_folder", "sync_tree", "write_whole"]


def damaged(path: Path, reason: str) -> ArtifactDamagedError:
    """The error for a file of an index that is not what was written."""
    return ArtifactDamagedError(f"{path}: {reason}", hint="restore the index from a copy, or build it again")


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; without it, a renamed file can vanish in a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make every file and name below a folder durable."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


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

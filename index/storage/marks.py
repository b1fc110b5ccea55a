"""How much of a growing file is durable, and its checksum: unfinished work is gone on with only if it is whole."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrieval.index.storage.files import damaged

__all__ = ["NPY_HEADER", "Mark", "RunningSum", "check_marks", "mark_of"]

NPY_HEADER = 128
"""Bytes to which numpy pads the header of an array, which leaves room for any number of rows."""

_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Mark:
    """The first bytes of a file, without the header of a .npy file, which changes: how many, and their CRC-32."""

    bytes: int
    crc32: int


class RunningSum:
    """The mark of all that has been written."""

    def __init__(self, mark: Mark | None = None) -> None:
        self.mark = mark or Mark(0, 0)

    def add(self, content: bytes | memoryview) -> None:
        """More has been written."""
        self.mark = Mark(self.mark.bytes + len(content), zlib.crc32(content, self.mark.crc32))


def mark_of(path: Path) -> Mark:
    """The mark of a whole file."""
    return _mark(path, path.stat().st_size)


def check_marks(folder: Path, marks: Mapping[str, Mark]) -> None:
    """An error if a file does not begin with what was there."""
    for name, mark in marks.items():
        path = folder / name
        if not path.is_file() or _mark(path, mark.bytes) != mark:
            raise damaged(path, "unfinished work is not as it was written")


def _mark(path: Path, size: int) -> Mark:
    total = RunningSum()
    with path.open("rb") as file:
        file.seek(NPY_HEADER if path.suffix == ".npy" else 0)
        while total.mark.bytes < size and (part := file.read(min(_AT_ONCE, size - total.mark.bytes))):
            total.add(part)
    return total.mark

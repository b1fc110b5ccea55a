"""How much of a growing file is durable, and its checksum: unfinished work is gone on with only if it is whole."""

import zlib
from dataclasses import dataclass
from pathlib import Path

from retrieval.index.storage.files import damaged

__all__ = ["Mark", "RunningSum", "mark_of"]

_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Mark:
    """The first bytes of a file, without a header that changes: how many, and their CRC-32."""

    bytes: int
    crc32: int

    def check(self, path: Path, header: int = 0) -> None:
        """An error if the file does not begin, after its header, with what was there."""
        if not path.is_file() or _sum_of(path, header, self.bytes) != self:
            raise damaged(path, "the work of an interrupted build is not as it was written")


class RunningSum:
    """The mark of all that has been written."""

    def __init__(self, mark: Mark | None = None) -> None:
        self.mark = mark or Mark(0, 0)

    def add(self, content: bytes | memoryview) -> None:
        """More has been written."""
        self.mark = Mark(self.mark.bytes + len(content), zlib.crc32(content, self.mark.crc32))


def mark_of(path: Path) -> Mark:
    """The mark of a whole file."""
    return _sum_of(path, 0, path.stat().st_size)


def _sum_of(path: Path, start: int, size: int) -> Mark:
    """The mark of a part of a file."""
    total = RunningSum()
    with path.open("rb") as file:
        file.seek(start)
        while total.mark.bytes < size and (part := file.read(min(_AT_ONCE, size - total.mark.bytes))):
            total.add(part)
    return total.mark

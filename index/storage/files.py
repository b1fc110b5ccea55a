"""Files of an artifact: mapped when it is opened, and each block compared with its checksum before it is first used.

A ledger holds every file's size and digest, as the manifest does, and a CRC-32 of each of its blocks. Opening looks at
sizes alone, and so costs the same for any size; a search that touches an altered block says so instead of answering.
"""

import hashlib
import mmap
import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ArtifactDamagedError, ArtifactError
from retrieval.files import sha256_of

__all__ = [
    "BLOCK",
    "CHECKSUMS",
    "CheckedFile",
    "File",
    "FileEntry",
    "Folder",
    "Ledger",
    "PlainFolder",
    "altered_files",
    "damaged",
]

BLOCK = 1 << 16
"""Bytes that one checksum stands for."""

CHECKSUMS = "checksums.crc32"
"""The blocks' CRC-32 of all files, in ascending order of their names: the one file that has none itself."""

_AT_ONCE = 16 * BLOCK

_LOOK_EVERY = 1e-3

# Files of at most this size are kept in memory.
_SMALL = 1 << 18

_ALTERED = "its checksum is not the manifest's"


def damaged(path: Path, reason: str) -> ArtifactDamagedError:
    """The error for a file of an index that is not what was written."""
    return ArtifactDamagedError(f"{path}: {reason}", hint="restore the index from a copy, or build it again")


@dataclass(frozen=True)
class FileEntry:
    """What a file must be."""

    bytes: int
    sha256: str


class File(Protocol):
    """Bytes that can be read from any place."""

    path: Path
    size: int

    def read(self, start: int, stop: int) -> memoryview:
        """The bytes from `start` to before `stop`."""


class Folder(Protocol):
    """Where files are opened by name."""

    path: Path

    def open(self, name: str) -> File:
        """One of its files."""


class CheckedFile:
    """A file mapped into memory; `read` compares the blocks it needs with their checksums, once.

    A small file is read at once instead, and so cannot change afterwards, nor keeps a descriptor.
    """

    def __init__(self, path: Path, name: str, size: int, sums: "_Checksums") -> None:
        self.path = path
        self.size = size
        self._name = name
        self._sums = sums
        try:
            with path.open("rb") as file:
                there = os.fstat(file.fileno()).st_size
                is_small = there <= _SMALL
                self._map = None if is_small else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self.unchecked = memoryview(file.read() if self._map is None else self._map)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise damaged(path, "is missing") from error
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
        if there != size:
            raise damaged(path, f"has {there} bytes, expected {size}")
        self._checked = np.zeros(_blocks(size), dtype=bool)
        self._whole = False

    @property
    def is_mapped(self) -> bool:
        """Whether it is read from the disk as it is needed."""
        return self._map is not None

    def read(self, start: int, stop: int) -> memoryview:
        """The bytes from `start` to before `stop`, without copying them."""
        self.check_length()
        self.check(start, stop)
        return self.unchecked[start:stop]

    def check(self, start: int, stop: int) -> None:
        """An error if a block of these bytes is not as it was written."""
        if self._whole or start >= stop:
            return
        first = start // BLOCK
        self._check_blocks(np.flatnonzero(~self._checked[first : _blocks(stop)]) + first)

    @property
    def is_checked(self) -> bool:
        """Whether all of it has been compared with its checksums."""
        return self._whole

    def check_pieces(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        """The same of many pieces, each from its start to before its stop."""
        if self._whole or len(starts) == 0:
            return
        first, last = starts // BLOCK, (stops - 1) // BLOCK
        for further in range(int((last - first).max()) + 1):
            blocks = np.minimum(first + further, last)
            self._check_blocks(np.unique(blocks[~self._checked[blocks]]))

    def _check_blocks(self, pending: NDArray[np.int64]) -> None:
        if len(pending) == 0:
            return
        sums = self._sums.of(self._name)
        for block in pending:
            if zlib.crc32(self.unchecked[block * BLOCK : (block + 1) * BLOCK]) != sums[block]:
                raise damaged(self.path, f"is not as it was written, from byte {block * BLOCK}")
            self._checked[block] = True
        self._whole = bool(self._checked.all())

    def is_whole(self, entries: Mapping[str, FileEntry]) -> bool:
        """Whether what was opened has its digest."""
        return hashlib.sha256(self.unchecked).hexdigest() == entries[self._name].sha256

    def check_length(self) -> None:
        """An error if the file has been cut since: reading the map where it was would end the process."""
        if self._map is not None and self._map.size() != self.size:
            raise damaged(self.path, f"has {self._map.size()} bytes, expected {self.size}")


class PlainFolder:
    """A folder of files that are being written: read as they are, with nothing kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, name: str) -> "_PlainFile":
        """One of its files."""
        return _PlainFile(self.path / name)


class _PlainFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size

    def read(self, start: int, stop: int) -> memoryview:
        with self.path.open("rb") as file:
            file.seek(start)
            return memoryview(file.read(stop - start))


class _CheckedFolder:
    def __init__(self, ledger: "Ledger", name: str) -> None:
        self.path = ledger.root / name
        self._ledger = ledger
        self._name = name

    def open(self, name: str) -> CheckedFile:
        return self._ledger.file(f"{self._name}/{name}")


class _Checksums:
    """The checksums of all files' blocks: those that were computed, or those of a table on disk, read when needed."""

    def __init__(self, root: Path, entries: Mapping[str, FileEntry]) -> None:
        self._root = root
        self._entries = entries
        self._sums: dict[str, NDArray[np.uint32]] = {}

    def of(self, name: str) -> NDArray[np.uint32]:
        """A file's."""
        if name not in self._sums:
            self._read()
        return self._sums[name]

    def put(self, name: str, sums: NDArray[np.uint32]) -> None:
        """Keep a file's."""
        self._sums[name] = sums

    def table(self) -> bytes:
        """All of them, files in ascending order of their names."""
        sums = [np.empty(0, dtype="<u4"), *(self._sums[name] for name in sorted(self._sums))]
        return np.concatenate(sums).astype("<u4").tobytes()

    def load(self, content: memoryview, path: Path) -> None:
        """Remember the table on disk, which is looked at when it is first needed."""
        self._content, self._path = content, path

    def _read(self) -> None:
        name = self._path.relative_to(self._root).as_posix()
        if hashlib.sha256(self._content).hexdigest() != self._entries[name].sha256:
            raise damaged(self._path, "is not as it was written")
        table = np.frombuffer(self._content, dtype="<u4")
        covered = sorted(other for other in self._entries if other != name)
        ends = np.cumsum([_blocks(self._entries[other].bytes) for other in covered], dtype=np.int64)
        if len(table) != (ends[-1] if len(ends) else 0):
            raise damaged(self._path, "does not fit the files")
        self._sums = dict(zip(covered, np.split(table, ends[:-1]), strict=True))


class Ledger:
    """What each file below `root` must be; names are relative to it, with the folder that they are in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: dict[str, FileEntry] = {}
        self._sums = _Checksums(root, self.entries)
        self._files: dict[str, CheckedFile] = {}
        self._mapped: list[CheckedFile] = []
        self._look_again = 0.0

    @classmethod
    def open(cls, root: Path, entries: Mapping[str, FileEntry]) -> Self:
        """Map every file of a committed artifact, checking their sizes."""
        ledger = cls(root)
        ledger.entries.update(entries)
        for name in entries:
            file = ledger.file(name)
            if name.endswith(f"/{CHECKSUMS}"):
                ledger._sums.load(file.unchecked, file.path)
        return ledger

    def file(self, name: str) -> CheckedFile:
        """One file; an error if it is not of the size that it had, or not part of the artifact."""
        if name not in self.entries:
            raise damaged(self.root / name, "is not part of this index")
        if name not in self._files:
            file = CheckedFile(self.root / name, name, self.entries[name].bytes, self._sums)
            self._files[name] = file
            self._mapped += [file] if file.is_mapped else []
        return self._files[name]

    def folder(self, name: str) -> Folder:
        """One of the folders."""
        return _CheckedFolder(self, name)

    def check_lengths(self) -> None:
        """An error if one of the mapped files has been cut since it was opened; looked at once in a millisecond."""
        now = time.monotonic()
        if now < self._look_again:
            return
        for file in self._mapped:
            file.check_length()
        self._look_again = now + _LOOK_EVERY

    def problems(self) -> list[str]:
        """Read every file, and name those that are not as they were written; of one that is gone, what was opened."""
        there = {name: entry for name, entry in self.entries.items() if (self.root / name).exists()}
        gone = (file for name, file in self._files.items() if name not in there)
        found = altered_files(self.root, there)
        return found + [f"{file.path}: {_ALTERED}" for file in gone if not file.is_whole(self.entries)]

    def add(self, folder: str) -> None:
        """Enter every file below a folder that is not entered yet, as it is now."""
        for path in sorted((self.root / folder).rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if path.is_file() and name not in self.entries:
                self.entries[name], sums = _measure(path)
                self._sums.put(name, sums)

    def take(self, other: "Ledger", folder: str) -> None:
        """Enter the files below a folder that another ledger has."""
        for name, entry in other.entries.items():
            if name.startswith(f"{folder}/"):
                self.entries[name] = entry
                self._sums.put(name, other._sums.of(name))

    def write(self, folder: str) -> None:
        """Write the checksums of all entries' blocks into a folder, and enter that file as well."""
        path = self.root / folder / CHECKSUMS
        path.write_bytes(self._sums.table())
        self.entries[f"{folder}/{CHECKSUMS}"] = _measure(path)[0]


def altered_files(root: Path, entries: Mapping[str, FileEntry]) -> list[str]:
    """Which files are missing, or not as they were written, where they cannot all be mapped."""
    found = []
    for name, entry in entries.items():
        path = root / name
        if not path.is_file():
            found.append(f"{path}: is missing")
        elif path.stat().st_size != entry.bytes:
            found.append(f"{path}: has {path.stat().st_size} bytes, expected {entry.bytes}")
        elif sha256_of(path) != entry.sha256:
            found.append(f"{path}: {_ALTERED}")
    return found


def _blocks(size: int) -> int:
    return -(-size // BLOCK)


def _measure(path: Path) -> tuple[FileEntry, NDArray[np.uint32]]:
    """A file's size and digest, and the checksums of its blocks."""
    digest, size, sums = hashlib.sha256(), 0, []
    with path.open("rb") as file:
        while part := file.read(_AT_ONCE):
            digest.update(part)
            size += len(part)
            view = memoryview(part)
            sums += [zlib.crc32(view[start : start + BLOCK]) for start in range(0, len(part), BLOCK)]
    return FileEntry(bytes=size, sha256=digest.hexdigest()), np.array(sums, dtype="<u4")

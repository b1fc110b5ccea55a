"""The terms of a lexical index, sorted and memory-mapped: a term's number is its place in that order."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.index.storage.arrays import ArrayAppender, DiskArray
from retrieval.index.storage.files import Folder

__all__ = ["Vocabulary", "write_vocabulary"]

_BYTES, _OFFSETS = "term_bytes.npy", "term_offsets.npy"
_TERMS_AT_ONCE = 1 << 16


def write_vocabulary(folder: Path, terms: pa.LargeBinaryArray) -> None:
    """Write terms, UTF-8 and in ascending order, as one blob of bytes and the (terms + 1,) offsets into it."""
    lengths = np.asarray(pc.binary_length(terms), dtype=np.int64)
    np.save(folder / _OFFSETS, np.concatenate([[0], np.cumsum(lengths)]))
    with ArrayAppender(folder / _BYTES, np.uint8) as file:
        for start in range(0, len(terms), _TERMS_AT_ONCE):
            part = b"".join(terms[start : start + _TERMS_AT_ONCE].to_pylist())
            file.append(np.frombuffer(part, dtype=np.uint8))


class Vocabulary(Sequence[bytes]):
    """Looks terms up by binary search, so that opening costs the same for any number of terms."""

    def __init__(self, folder: Folder) -> None:
        self._bytes = DiskArray(folder, _BYTES, np.uint8)
        self._offsets = DiskArray(folder, _OFFSETS, np.int64)
        if len(self._offsets) == 0 or self._offsets.slice(len(self), len(self) + 1)[0] != len(self._bytes):
            raise self._offsets.damaged(f"does not fit {_BYTES}")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, number: int) -> bytes: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[bytes]: ...
    def __getitem__(self, number: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        start, stop = self._offsets.slice(number, number + 2)
        return self._bytes.slice(start, stop).tobytes()

    def as_arrow(self) -> pa.LargeBinaryArray:
        """All of the terms."""
        buffers = [None, pa.py_buffer(self._offsets.all()), pa.py_buffer(self._bytes.all())]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(self), buffers)

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        offsets = self._offsets.all()
        if np.any(np.diff(offsets) < 1) or (len(self) and offsets[0] != 0):
            return [f"{self._offsets.file.path}: a term without a letter"]
        if any(one >= next_ for one, next_ in pairwise(self)):
            return [f"{self._bytes.file.path}: the terms are not in order"]
        return []

    def number(self, term: str) -> int:
        """A term's number, or -1 if no document holds it."""
        encoded = term.encode()
        place = bisect_left(self, encoded)
        return place if place < len(self) and self[place] == encoded else -1

"""The terms of a lexical index, sorted and memory-mapped: a term's number is its place in that order."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np

from retrieval.index.arrays import damaged, load_array

__all__ = ["Vocabulary", "write_vocabulary"]

_BYTES, _OFFSETS = "term_bytes.npy", "term_offsets.npy"


def write_vocabulary(folder: Path, terms: Sequence[bytes]) -> None:
    """Write terms, UTF-8 and in ascending order, as one blob of bytes and the (terms + 1,) offsets into it."""
    offsets = np.zeros(len(terms) + 1, dtype=np.int64)
    np.cumsum([len(term) for term in terms], out=offsets[1:])
    np.save(folder / _BYTES, np.frombuffer(b"".join(terms), dtype=np.uint8))
    np.save(folder / _OFFSETS, offsets)


class Vocabulary(Sequence[bytes]):
    """Looks terms up by binary search, so that opening costs the same for any number of terms."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes = memoryview(load_array(folder / _BYTES, np.uint8).data)
        self._offsets = load_array(folder / _OFFSETS, np.int64)
        if len(self._offsets) == 0 or self._offsets[-1] != len(self._bytes):
            raise damaged(folder / _OFFSETS, f"does not fit {_BYTES}")
        # Users ask with the same words again and again; bounded, as a server runs for months.
        self.number = lru_cache(maxsize=1 << 16)(self._number)

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
        return bytes(self._bytes[self._offsets[number] : self._offsets[number + 1]])

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        if np.any(np.diff(self._offsets) < 1) or (len(self) and self._offsets[0] != 0):
            return [f"{self._folder / _OFFSETS}: a term without a letter"]
        if any(one >= next_ for one, next_ in pairwise(self)):
            return [f"{self._folder / _BYTES}: the terms are not in order"]
        return []

    def _number(self, term: str) -> int | None:
        """A term's number, or None if no document holds it."""
        encoded = term.encode()
        number = bisect_left(self, encoded)
        return number if number < len(self) and self[number] == encoded else None

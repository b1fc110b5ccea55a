"""Finds documents by id: 64-bit hashes in order, and the row of each."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.index.storage.arrays import DiskArray
from retrieval.index.storage.files import Folder

__all__ = ["IdIndex", "hashes_of", "write_id_index"]

_HASHES, _ROWS = "id_hashes.npy", "id_rows.npy"


def hashes_of(ids: Iterable[str]) -> NDArray[np.uint64]:
    """A 64-bit hash of each id; different ids may, very rarely, share one."""
    blake2b = hashlib.blake2b
    digests = bytearray()
    for id_ in ids:
        digests += blake2b(id_.encode(errors="surrogatepass"), digest_size=8).digest()
    return np.frombuffer(digests, dtype="<u8")


def write_id_index(folder: Path, ids: Iterable[str]) -> None:
    """Write the index of the ids of rows 0, 1, ...; an id may stand in several rows."""
    hashes = hashes_of(ids)
    rows = np.argsort(hashes, kind="stable")
    np.save(folder / _HASHES, hashes[rows])
    np.save(folder / _ROWS, rows.astype(np.int64))


class IdIndex:
    """Looks ids up by their hashes."""

    def __init__(self, folder: Folder) -> None:
        self._hashes = DiskArray(folder, _HASHES, "<u8")
        self._rows = DiskArray(folder, _ROWS, np.int64)
        if len(self._hashes) != len(self._rows):
            raise self._rows.damaged(f"holds {len(self._rows)} rows, expected {len(self._hashes)}")

    def __len__(self) -> int:
        return len(self._hashes)

    def candidates(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where ids of these hashes may stand: pairs of a place in `hashes` and a row."""
        known = self._hashes.all()
        first, last = (np.searchsorted(known, hashes, side=side) for side in ("left", "right"))
        counts = last - first
        places = np.repeat(np.arange(len(hashes)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return places, self._rows.all()[first[places] + within]

    def problems(self, ids: Iterable[str]) -> list[str]:
        """What is wrong, given the ids of all rows, in order."""
        hashes, rows = self._hashes.all(), self._rows.all()
        expected = hashes_of(ids)
        fits = len(expected) == len(rows) and np.array_equal(np.sort(rows), np.arange(len(rows)))
        if fits and np.all(hashes[:-1] <= hashes[1:]) and np.array_equal(expected[rows], hashes):
            return []
        return [f"{self._hashes.file.path}: does not fit the documents' ids"]

"""Blocks of equal impact on disk: made from the vectors of all documents, read by the approximate search."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.index.kernels.block_layout import LEVELS, Blocks, Rows
from retrieval.index.kernels.layout import WINDOW_BITS
from retrieval.index.storage.arrays import DiskArray
from retrieval.index.storage.files import Folder

__all__ = ["BlockOptions", "BlocksReader", "build_blocks", "problems_of_rows"]

OFFSETS, POSTING_OFFSETS = "block_offsets.npy", "block_posting_offsets.npy"
TOPS, FLOORS, WEIGHT = "block_tops.npy", "block_floors.npy", "block_weight.npy"
WINDOWS, LEVELS_, LASTS, ORDINALS = "block_windows.npy", "block_levels.npy", "block_lasts.npy", "block_ordinals.npy"


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """How blocks are made.

    Attributes:
        levels: into which impacts are divided, 1 to 255.
        longest: postings that a term keeps at most, those of its highest levels, and its highest level in any case;
            None keeps all.
    """

    levels: int = 32
    longest: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= LEVELS:
            raise InputError(f"levels is {self.levels}", hint=f"give 1 to {LEVELS}")
        if self.longest is not None and self.longest < 1:
            raise InputError(f"longest is {self.longest}", hint="give at least 1, or None to keep all postings")


def build_blocks(folder: Path, rows: Rows, n_terms: int, options: BlockOptions | None = None) -> None:
    """Write the blocks of all documents into a folder, the same files for the same vectors.

    Three passes over the vectors; in memory are the terms' counts of levels, and the ordinals of postings are mapped.

    Args:
        folder: exists.
        rows: the vectors; weights are finite, and entries of weight 0 are none.
        n_terms: the number of terms.
        options: `BlockOptions()` if None.
    """
    from retrieval.index.kernels.block_building import count_blocks, count_levels, write_blocks

    options = options or BlockOptions()
    offsets, terms, weights = rows
    most = float(weights.max()) if len(weights) else 0.0
    per_level = most / options.levels if most > 0 else 1.0
    levels = np.zeros((n_terms, options.levels + 1), dtype=np.int64)
    count_levels(terms, weights, per_level, levels)
    floors = _floors(levels, options.longest)
    levels[np.arange(options.levels + 1) <= floors[:, None]] = 0
    posting_offsets = _starts(levels.sum(axis=1))
    counts, n_blocks = np.zeros(levels.shape, dtype=np.uint32), np.zeros(n_terms, dtype=np.int64)
    count_blocks(offsets, terms, weights, per_level, floors, counts, n_blocks)
    block_offsets = _starts(n_blocks)
    n = int(block_offsets[-1])
    columns = np.empty(n, np.uint16), np.empty(n, np.uint8), np.empty(n, np.uint16)
    total = int(posting_offsets[-1])
    ordinals = _mapped(folder / ORDINALS, total)
    write_blocks(
        *(offsets, terms, weights, per_level, floors, counts),
        *(block_offsets, posting_offsets, *columns, ordinals),
    )
    if isinstance(ordinals, np.memmap):
        ordinals.flush()
    tops = _highest(levels)
    names = (OFFSETS, POSTING_OFFSETS, TOPS, FLOORS, WINDOWS, LEVELS_, LASTS, WEIGHT)
    arrays: tuple[NDArray[Any], ...] = (block_offsets, posting_offsets, tops, floors, *columns, np.array([per_level]))
    for name, array in zip(names, arrays, strict=True):
        np.save(folder / name, array)


def _mapped(path: Path, total: int) -> NDArray[np.uint16]:
    """An array on disk to be written to; one without values cannot be mapped."""
    if total == 0:
        np.save(path, np.empty(0, dtype=np.uint16))
        return np.empty(0, dtype=np.uint16)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(total,))


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _highest(levels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The highest level that each term has, 0 where it has none."""
    reversed_ = levels[:, ::-1] > 0
    highest = np.where(reversed_.any(axis=1), levels.shape[1] - 1 - reversed_.argmax(axis=1), 0).astype(np.uint8)
    return np.asarray(highest, dtype=np.uint8)


def _floors(levels: NDArray[np.int64], longest: int | None) -> NDArray[np.uint8]:
    """The highest level of each term that is left out, 0 where none is."""
    if longest is None:
        return np.zeros(len(levels), dtype=np.uint8)
    # Postings of at least each level; the first column, which is empty, stands for all.
    kept = levels[:, ::-1].cumsum(axis=1)[:, ::-1]
    floors: NDArray[np.int64] = (kept > longest).sum(axis=1) - 1
    # Levels are left out downwards from the highest that holds a posting and does not fit.
    floors = np.clip(floors, 0, np.maximum(_highest(levels).astype(np.int64) - 1, 0))
    return floors.astype(np.uint8)


class BlocksReader:
    """The blocks of an index, mapped; what belongs to a term is checked before it is first used.

    Args:
        folder: where `build_blocks` wrote.
        rows: documents, the deleted included.
        n_terms: the number of terms.
    """

    def __init__(self, folder: Folder, rows: int, n_terms: int) -> None:
        self._rows, self._n_terms = rows, n_terms
        self.offsets = DiskArray(folder, OFFSETS, np.int64)
        self.posting_offsets = DiskArray(folder, POSTING_OFFSETS, np.int64)
        self.tops = DiskArray(folder, TOPS, np.uint8)
        self.floors = DiskArray(folder, FLOORS, np.uint8)
        self.windows = DiskArray(folder, WINDOWS, np.uint16)
        self.levels = DiskArray(folder, LEVELS_, np.uint8)
        self.lasts = DiskArray(folder, LASTS, np.uint16)
        self.ordinals = DiskArray(folder, ORDINALS, np.uint16)
        self.weight = DiskArray(folder, WEIGHT, np.float64)
        self._checked = np.zeros(n_terms, dtype=bool)
        self._check_sizes()

    def _check_sizes(self) -> None:
        n = self._n_terms
        _expect(n + 1, self.offsets, self.posting_offsets)
        _expect(n, self.tops, self.floors)
        _expect(int(self.offsets.slice(n, n + 1)[0]), self.windows, self.levels, self.lasts)
        _expect(int(self.posting_offsets.slice(n, n + 1)[0]), self.ordinals)
        _expect(1, self.weight)
        if not (np.isfinite(self._weight) and self._weight > 0):
            raise self.weight.damaged("is no weight")

    @property
    def _weight(self) -> float:
        return float(self.weight.all()[0])

    @property
    def arrays(self) -> Blocks:
        """What the kernel reads; it may be asked for those terms alone that `check` has let pass."""
        return Blocks(
            block_offsets=self.offsets.unchecked,
            posting_offsets=self.posting_offsets.unchecked,
            tops=self.tops.unchecked,
            floors=self.floors.unchecked,
            windows=self.windows.unchecked,
            levels=self.levels.unchecked,
            lasts=self.lasts.unchecked,
            postings=self.ordinals.unchecked,
            level_weight=self._weight,
        )

    def check(self, terms: Iterable[int]) -> None:
        """An error if what belongs to a term is not as it was written, or would lead a kernel astray; once for each."""
        for term in terms:
            if not self._checked[term]:
                self._check_term(int(term))
                self._checked[term] = True

    def _check_term(self, term: int) -> None:
        first, last = self._range(self.offsets, term, len(self.windows))
        start, stop = self._range(self.posting_offsets, term, len(self.ordinals))
        columns = self.windows, self.levels, self.lasts
        windows, levels, lasts = (array.slice(first, last).astype(np.int64) for array in columns)
        self.ordinals.check(start, stop)
        top, floor = (int(array.slice(term, term + 1)[0]) for array in (self.tops, self.floors))
        order = (windows << 8) - levels
        if np.any(np.diff(order) <= 0) or np.any(windows << WINDOW_BITS >= self._rows):
            raise self.windows.damaged("names a window that does not exist, or blocks are not in order")
        if lasts.sum() + len(lasts) != stop - start:
            raise self.lasts.damaged("does not fit the postings")
        if levels.max(initial=0) != top or (len(levels) > 0 and levels.min() <= floor):
            raise self.levels.damaged("does not fit the highest and lowest levels of the terms")

    def _range(self, array: DiskArray, term: int, most: int) -> tuple[int, int]:
        start, stop = (int(place) for place in array.slice(term, term + 2))
        if not 0 <= start <= stop <= most:
            raise array.damaged("what belongs to a term lies outside the file")
        return start, stop

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        for array in (self.offsets, self.posting_offsets):
            values = array.all()
            if values[0] != 0 or np.any(np.diff(values) < 0):
                return [f"{array.file.path}: what belongs to a term lies outside the file"]
        counts = self.lasts.all().astype(np.int64) + 1
        begins = np.concatenate([[0], np.cumsum(counts)])
        if begins[-1] != len(self.ordinals) or np.any(begins[self.offsets.all()] != self.posting_offsets.all()):
            return [f"{self.lasts.file.path}: does not fit the postings"]
        return [*self._problems_of_order(), *self._problems_of_ordinals(begins, counts)]

    def _problems_of_order(self) -> list[str]:
        """Blocks ascend by window and descend by level, within what is said of the term."""
        levels, sizes = self.levels.all(), np.diff(self.offsets.all())
        order = (self.windows.all().astype(np.int64) << 8) - levels
        starts = np.zeros(len(order) + 1, dtype=bool)
        starts[self.offsets.all()] = True
        found = []
        if np.any((np.diff(order) <= 0) & ~starts[1:-1]) or np.any(levels == 0):
            found.append(f"{self.levels.file.path}: blocks are not in order")
        tops = np.zeros(self._n_terms, dtype=np.uint8)
        np.maximum.at(tops, np.repeat(np.arange(self._n_terms), sizes), levels)
        if not np.array_equal(tops, self.tops.all()):
            found.append(f"{self.tops.file.path}: does not fit the blocks")
        if np.any(levels <= np.repeat(self.floors.all(), sizes)):
            found.append(f"{self.floors.file.path}: does not fit the blocks")
        return found

    def _problems_of_ordinals(self, begins: NDArray[np.int64], counts: NDArray[np.int64]) -> list[str]:
        """Documents exist, and ascend within a block."""
        ordinals, windows = self.ordinals.all(), self.windows.all().astype(np.int64)
        found = []
        if len(counts) and np.any((windows << WINDOW_BITS) + ordinals[begins[1:] - 1] >= self._rows):
            found.append(f"{self.ordinals.file.path}: names a document that does not exist")
        falls = np.zeros(len(ordinals) + 1, dtype=bool)
        falls[1:-1] = ordinals[1:] <= ordinals[:-1]
        falls[begins] = False
        if falls.any():
            found.append(f"{self.ordinals.file.path}: the postings of a block are not in order")
        return found


def problems_of_rows(rows: Rows, n_terms: int) -> list[str]:
    """What in the documents' vectors would lead the kernel astray."""
    offsets, terms = rows.offsets, rows.terms
    if len(offsets) == 0 or offsets[0] != 0 or np.any(np.diff(offsets) < 0):
        return ["where the documents begin is not in order"]
    if not offsets[-1] == len(terms) == len(rows.weights):
        return ["where the documents begin does not fit their entries"]
    if len(terms) and not 0 <= int(terms.min()) <= int(terms.max()) < n_terms:
        return ["a document names a term that does not exist"]
    return []


def _expect(rows: int, *arrays: DiskArray) -> None:
    for array in arrays:
        if len(array) != rows:
            raise array.damaged(f"holds {len(array)} values, expected {rows}")

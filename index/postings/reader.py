"""Postings on disk: for each term, in the vocabulary's order, the documents that hold it, and a value for each.

The value is what the posting's impact is derived from: how often the document holds the term, or, where weights are
learned, the impact itself.

Those of a shard are plain columns, written once and read once, when they are merged. Those of an index lie in runs, as
the search kernels read them; see `retrieval.index.kernels.layout`.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from retrieval.index.kernels.layout import BUCKETS, WINDOW_BITS, Postings
from retrieval.index.postings.vocabulary import Vocabulary, write_vocabulary
from retrieval.index.storage.arrays import DiskArray
from retrieval.index.storage.files import Folder

__all__ = [
    "FREQUENCIES",
    "IMPACT_TYPES",
    "LENGTHS",
    "ORDER",
    "STEPS",
    "Impacts",
    "PostingsReader",
    "ShardReader",
    "StoredPostings",
    "postings_of_window",
    "smallest_type",
    "sorted_within",
    "write_shard",
]

_FREQUENCY_TYPES = (np.uint8, np.uint16, np.int32)

Impacts = Literal["exact", "u16", "u8"]
"""How impacts are stored: as they are, or in steps of 16 or 8 bits."""

IMPACT_TYPES: dict[Impacts, type[np.number]] = {"exact": np.float32, "u16": np.uint16, "u8": np.uint8}
"""Of each kind of impacts."""

STEPS: dict[Impacts, int] = {"u16": 65_535, "u8": 255}
"""The largest impact of those that are stored in steps."""

LENGTHS, ORDER, FREQUENCIES = "lengths.npy", "order.npy", "frequencies.npy"

# Not to be written to, as what is mapped: for arrays of another kind the kernels would be compiled once more.
_IN_ORDER = np.frombuffer(b"", dtype=np.int32)


def smallest_type(largest: int) -> DTypeLike:
    """The first of the types that holds a frequency."""
    return next(type_ for type_ in _FREQUENCY_TYPES if largest <= np.iinfo(type_).max)


def write_shard(
    folder: Path, terms: pa.LargeBinaryArray, starts: NDArray[Any], ordinals: NDArray[Any], values: NDArray[Any]
) -> None:
    """Write a shard's postings: (terms + 1,) starts, and of each posting document and value."""
    write_vocabulary(folder, terms)
    np.save(folder / "starts.npy", starts.astype(np.int64))
    np.save(folder / "ordinals.npy", ordinals.astype(np.int32))
    np.save(folder / "values.npy", values)


def sorted_within(starts: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.int64]:
    """The order of postings in which each term's values ascend, given where the terms begin, (terms + 1,)."""
    order: NDArray[np.int64] = np.lexsort((values, np.repeat(np.arange(len(starts) - 1), np.diff(starts))))
    return order


class StoredPostings(Protocol):
    """Postings that can be merged."""

    vocabulary: Vocabulary
    starts: DiskArray
    lengths: DiskArray

    @property
    def value_type(self) -> np.dtype[Any]:
        """Of the values."""

    def block(self, first: int, last: int) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Ordinals, ascending within a term, and values of the postings of terms `first` to before `last`."""


class ShardReader:
    """Reads a shard's postings, slice by slice."""

    def __init__(self, folder: Folder) -> None:
        self.vocabulary = Vocabulary(folder)
        self.starts = DiskArray(folder, "starts.npy", np.int64)
        self.lengths = DiskArray(folder, LENGTHS, np.int32)
        self._values = DiskArray(folder, "values.npy", (*_FREQUENCY_TYPES, np.float32))
        self._ordinals = DiskArray(folder, "ordinals.npy", np.int32)

    @property
    def value_type(self) -> np.dtype[Any]:
        """Of the values."""
        return self._values.dtype

    def block(self, first: int, last: int) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Ordinals, ascending within a term, and values of the postings of terms `first` to before `last`."""
        starts = self.starts.slice(first, last + 1)
        start, stop = int(starts[0]), int(starts[-1])
        return self._ordinals.slice(start, stop), self._values.slice(start, stop)


def postings_of_window(
    number: int,
    run_starts: NDArray[np.uint32],
    windows: NDArray[np.uint16],
    lasts: NDArray[np.uint16],
    ordinals: NDArray[np.uint16],
    impacts: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """The postings of one window: places of documents, terms and impacts, by document and then by term."""
    runs = np.flatnonzero(windows == number)
    begins = np.concatenate([[0], np.cumsum(lasts.astype(np.int64) + 1)])[runs]
    sizes = lasts[runs].astype(np.int64) + 1
    postings = np.arange(sizes.sum()) + np.repeat(begins - (np.cumsum(sizes) - sizes), sizes)
    terms = np.repeat(np.searchsorted(run_starts, runs, side="right") - 1, sizes)
    places = ordinals[postings]
    by_place = np.argsort(places, kind="stable")  # which sorts 16 bits by counting
    found = (number << WINDOW_BITS) + places.astype(np.int64), terms, impacts[postings]
    return found[0][by_place], found[1][by_place], found[2][by_place]


class PostingsReader:
    """The postings of an index, mapped; what belongs to a term is checked before it is first used.

    Args:
        folder: where they lie.
        rows: ordinals are below it.
        impacts: how they are stored, a name of IMPACT_TYPES.
        reorder: whether documents were put into another order than that of their ordinals.
        scale: where impacts are themselves the values, what a stored impact of 1 stands for; None where frequencies are
            stored beside them.
    """

    def __init__(
        self, folder: Folder, rows: int, impacts: Impacts, *, reorder: bool = False, scale: float | None = None
    ) -> None:
        self._rows = rows
        self._scale = scale
        self.vocabulary = Vocabulary(folder)
        self.starts = DiskArray(folder, "starts.npy", np.int64)
        self.lengths = DiskArray(folder, LENGTHS, np.int32)
        self.run_starts = DiskArray(folder, "run_starts.npy", np.uint32)
        self.windows = DiskArray(folder, "run_windows.npy", np.uint16)
        self.lasts = DiskArray(folder, "run_lasts.npy", np.uint16)
        self.maxima = DiskArray(folder, "run_maxima.npy", np.float32)
        self.buckets = DiskArray(folder, "run_buckets.npy", np.int32)
        self.bucket_starts = DiskArray(folder, "bucket_starts.npy", np.uint16, ndim=2)
        self.bucket_maxima = DiskArray(folder, "bucket_maxima.npy", np.uint8, ndim=2)
        self.ordinals = DiskArray(folder, "ordinals.npy", np.uint16)
        self.impacts = DiskArray(folder, "impacts.npy", IMPACT_TYPES[impacts])
        self._order = DiskArray(folder, ORDER, np.int32) if reorder else None
        self._frequencies = DiskArray(folder, FREQUENCIES, _FREQUENCY_TYPES) if scale is None else None
        self._check_sizes()
        # The kernels read these as they are, so what belongs to a term is checked before they first see it.
        self.arrays = Postings(
            starts=self.starts.unchecked,
            run_starts=self.run_starts.unchecked,
            windows=self.windows.unchecked,
            lasts=self.lasts.unchecked,
            maxima=self.maxima.unchecked,
            buckets=self.buckets.unchecked,
            bucket_starts=self.bucket_starts.unchecked,
            bucket_maxima=self.bucket_maxima.unchecked,
            ordinals=self.ordinals.unchecked,
            impacts=self.impacts.unchecked,
            order=self._order.unchecked if self._order else _IN_ORDER,
        )

    def _check_sizes(self) -> None:
        n_terms = len(self.vocabulary)
        _expect(n_terms + 1, self.starts, self.run_starts)
        _expect(int(self.starts.slice(n_terms, n_terms + 1)[0]), self.ordinals, self.impacts)
        _expect(len(self.ordinals), *([self._frequencies] if self._frequencies is not None else []))
        n_runs = int(self.run_starts.slice(n_terms, n_terms + 1)[0])
        _expect(n_runs, self.windows, self.lasts, self.maxima, self.buckets)
        _expect(self._rows, self.lengths, *([self._order] if self._order else []))
        _expect(len(self.bucket_starts), self.bucket_maxima)
        for array in (self.bucket_starts, self.bucket_maxima):
            if array.shape[1] != BUCKETS:
                raise array.damaged(f"has {array.shape[1]} columns, expected {BUCKETS}")

    def __len__(self) -> int:
        """Pairs of a term and a document that holds it."""
        return len(self.ordinals)

    def check(self, term: int) -> None:
        """An error if what belongs to a term is not as it was written, or would lead a kernel astray."""
        start, stop = self._range(self.starts, term, len(self))
        first, last = self._range(self.run_starts, term, len(self.windows))
        windows, lasts = self.windows.slice(first, last), self.lasts.slice(first, last)
        _ = self.order  # which is checked as a whole, once
        if np.any(np.diff(windows.astype(np.int64)) <= 0) or windows.max(initial=0) > (self._rows - 1) >> WINDOW_BITS:
            raise self.windows.damaged("names a window that does not exist")
        if lasts.sum(dtype=np.int64) + len(lasts) != stop - start:
            raise self.lasts.damaged("does not fit the postings")
        self.maxima.check(first, last)
        for row in self.buckets.slice(first, last):
            if row >= len(self.bucket_starts):
                raise self.buckets.damaged("names a row that does not exist")
            if row >= 0:
                self.bucket_starts.check(int(row), int(row) + 1)
                self.bucket_maxima.check(int(row), int(row) + 1)
        self.ordinals.check(start, stop)
        self.impacts.check(start, stop)
        if np.any(self._places(term, term + 1) >= self._rows):
            raise self.ordinals.damaged("names a document that does not exist")

    def _range(self, array: DiskArray, term: int, most: int) -> tuple[int, int]:
        start, stop = (int(place) for place in array.slice(term, term + 2))
        if not 0 <= start <= stop <= most:
            raise array.damaged("what belongs to a term lies outside the file")
        return start, stop

    @cached_property
    def order(self) -> NDArray[np.int32] | None:
        """The ordinal of the document at each place, (rows,); None where they are the same."""
        if self._order is None:
            return None
        order = self._order.all()
        if not np.array_equal(np.sort(order), np.arange(self._rows)):
            raise self._order.damaged("does not hold every document once")
        return order

    def in_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """What belongs to documents, (rows,), in the order of the postings."""
        return values if self.order is None else values[self.order]

    def block(self, first: int, last: int) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Ordinals, ascending within a term, and values of the postings of terms `first` to before `last`."""
        places, starts = self._places(first, last), self.starts.slice(first, last + 1)
        values = self._values(int(starts[0]), int(starts[-1]))
        if self.order is None:
            return places, values
        ordinals = self.order[places]
        by_term = sorted_within(starts - starts[0], ordinals)
        return ordinals[by_term], values[by_term]

    @property
    def value_type(self) -> np.dtype[Any]:
        """Of the values."""
        if self._frequencies is not None:
            return self._frequencies.dtype
        return self.impacts.dtype if self._scale == 1 else np.dtype(np.float32)

    def _values(self, start: int, stop: int) -> NDArray[Any]:
        if self._frequencies is not None:
            return self._frequencies.slice(start, stop)
        impacts = self.impacts.slice(start, stop)
        return impacts if self._scale == 1 else (impacts * np.float64(self._scale or 1)).astype(np.float32)

    def _places(self, first: int, last: int) -> NDArray[np.int32]:
        """Where the documents of the postings of terms `first` to before `last` stand in the order."""
        starts, run_starts = self.starts.slice(first, last + 1), self.run_starts.slice(first, last + 1)
        runs = int(run_starts[0]), int(run_starts[-1])
        bases = self.windows.slice(*runs).astype(np.int32) << WINDOW_BITS
        ordinals = self.ordinals.slice(int(starts[0]), int(starts[-1])).astype(np.int32)
        ordinals += np.repeat(bases, self.lasts.slice(*runs).astype(np.int64) + 1)
        return ordinals

    def window(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        """The postings of one window: the places of documents, their terms and impacts, by document and then term."""
        columns = (self.run_starts, self.windows, self.lasts, self.ordinals, self.impacts)
        return postings_of_window(number, *(column.all() for column in columns))

    def impact(self, term: int, ordinal: int) -> float:
        """The stored impact of a term in a document; 0 where the document does not hold it."""
        start, stop = (int(place) for place in self.starts.slice(term, term + 2))
        place = ordinal if self.order is None else int(np.flatnonzero(self.order == ordinal)[0])
        places = self._places(term, term + 1)
        found = int(np.searchsorted(places, place))
        if found == stop - start or places[found] != place:
            return 0.0
        return float(self.impacts.slice(start + found, start + found + 1)[0])

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        found = self.vocabulary.problems()
        starts, run_starts = self.starts.all(), self.run_starts.all()
        for array, values in ((self.starts, starts), (self.run_starts, run_starts.astype(np.int64))):
            if values[0] != 0 or np.any(np.diff(values) < 1):
                return [*found, f"{array.file.path}: a term without postings"]
        begins = self._begins()
        if begins[-1] != len(self) or np.any(begins[run_starts] != starts):
            return [*found, f"{self.lasts.file.path}: does not fit the postings"]
        return [*found, *self._problems_of_documents(starts), *self._problems_of_impacts()]

    def _begins(self) -> NDArray[np.int64]:
        """Where each run's postings begin, (runs + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lasts.all().astype(np.int64) + 1)])

    def _problems_of_documents(self, starts: NDArray[np.int64]) -> Iterator[str]:
        places, lengths = self._places(0, len(self.vocabulary)), self.lengths.all()
        if np.any(places >= self._rows):
            yield f"{self.ordinals.file.path}: names a document that does not exist"
            return
        ordinals = places if self.order is None else self.order[places]
        frequencies = self._frequencies.all() if self._frequencies is not None else None
        counted = np.bincount(ordinals, weights=frequencies, minlength=len(lengths))
        if np.any((counted > 0) & (counted != lengths)):
            yield f"{self.lengths.file.path}: does not fit the documents' postings"
        # Within a term places ascend; they may fall where the next term begins.
        falls = np.flatnonzero(np.diff(places) <= 0) + 1
        if not np.all(np.isin(falls, starts)):
            yield f"{self.ordinals.file.path}: the postings of a term are not in order"

    def _problems_of_impacts(self) -> Iterator[str]:
        impacts, maxima = self.impacts.all(), self.maxima.all()
        if not np.all(np.isfinite(impacts) & (impacts > 0)):
            yield f"{self.impacts.file.path}: holds a value that is no impact"
            return
        if len(maxima) and np.any(np.maximum.reduceat(impacts, self._begins()[:-1]) != maxima):
            yield f"{self.maxima.file.path}: does not fit the impacts"


def _expect(rows: int, *arrays: DiskArray) -> None:
    for array in arrays:
        if len(array) != rows:
            raise array.damaged(f"holds {len(array)} values, expected {rows}")

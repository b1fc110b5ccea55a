"""Writes the postings of an index as the search kernels read them; see `retrieval.index.kernels.layout`."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from retrieval.index.kernels.layout import BUCKETS, LONG_RUN, WINDOW, WINDOW_BITS
from retrieval.index.postings.reader import IMPACT_TYPES, STEPS, Impacts
from retrieval.index.storage.arrays import ArrayAppender

__all__ = ["RunsWriter"]


class RunsWriter:
    """Appends the postings of terms, one block of terms after the other."""

    def __init__(self, folder: Path, rows: int, impacts: Impacts, scale: float) -> None:
        self._stack = ExitStack()
        self._type = np.dtype(IMPACT_TYPES[impacts])
        self._scale = scale
        self._most = STEPS.get(impacts)
        # In a single window nothing is known yet by which a bucket could be passed over.
        self._has_buckets = rows > WINDOW
        self._runs = self._long = 0

        def appender(name: str, dtype: DTypeLike, *row_shape: int) -> ArrayAppender:
            return self._stack.enter_context(ArrayAppender(folder / f"{name}.npy", dtype, row_shape))

        self._run_starts = appender("run_starts", np.uint32)
        self._windows = appender("run_windows", np.uint16)
        self._lasts = appender("run_lasts", np.uint16)
        self._maxima = appender("run_maxima", np.float32)
        self._buckets = appender("run_buckets", np.int32)
        self._bucket_starts = appender("bucket_starts", np.uint16, BUCKETS)
        self._bucket_maxima = appender("bucket_maxima", np.uint8, BUCKETS)
        self._ordinals = appender("ordinals", np.uint16)
        self._impacts = appender("impacts", self._type)

    def append(self, starts: NDArray[np.int64], ordinals: NDArray[np.int32], impacts: NDArray[np.float32]) -> None:
        """Append terms, each with at least one posting.

        Args:
            starts: (terms + 1,) where each term's postings begin in the other two.
            ordinals: (postings,) ascending within a term.
            impacts: (postings,) above zero.
        """
        stored = self._stored(impacts)
        begins, run_starts = _runs(starts, ordinals)
        ends = np.append(begins[1:], len(ordinals))
        self._run_starts.append(self._runs + run_starts[:-1])
        self._windows.append(ordinals[begins] >> WINDOW_BITS)
        self._lasts.append(ends - begins - 1)
        self._maxima.append(np.maximum.reduceat(stored, begins))
        self._runs += len(begins)
        self._append_buckets(ordinals, stored, begins, ends)
        self._ordinals.append(ordinals & (WINDOW - 1))
        self._impacts.append(stored)

    def _stored(self, impacts: NDArray[np.float32]) -> NDArray[Any]:
        """Impacts as they are stored; in steps of the scale none becomes 0, as its document would be no match."""
        if self._most is None:
            return impacts
        # In double precision: where no term weighs anything, impacts are the smallest that float32 has.
        steps = np.rint(impacts.astype(np.float64) / self._scale)
        stored: NDArray[Any] = np.clip(steps, 1, self._most).astype(self._type)
        return stored

    def _append_buckets(
        self, ordinals: NDArray[np.int32], impacts: NDArray[Any], begins: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> None:
        rows = np.full(len(begins), -1, dtype=np.int32)
        long = np.flatnonzero(ends - begins >= LONG_RUN) if self._has_buckets else np.empty(0, dtype=np.int64)
        rows[long] = np.arange(self._long, self._long + len(long))
        self._buckets.append(rows)
        if len(long):
            from retrieval.index.kernels.buckets import fill_buckets

            starts = np.empty((len(long), BUCKETS), dtype=np.uint16)
            maxima = np.empty((len(long), BUCKETS), dtype=np.uint8)
            fill_buckets(ordinals, impacts, begins[long], ends[long], starts, maxima)
            self._bucket_starts.append(starts)
            self._bucket_maxima.append(maxima)
            self._long += len(long)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run_starts.append(np.array([self._runs]))
        self._stack.__exit__(kind, error, trace)


def _runs(starts: NDArray[np.int64], ordinals: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each run of one term and one window begins, and where each term's runs begin, (terms + 1,)."""
    is_new = np.zeros(len(ordinals), dtype=bool)
    is_new[starts[:-1]] = True
    is_new[1:] |= (ordinals[1:] >> WINDOW_BITS) != (ordinals[:-1] >> WINDOW_BITS)
    begins = np.flatnonzero(is_new)
    return begins, np.searchsorted(begins, starts)

"""Long streams in little memory: runs of items, and which ids were there before."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["SeenIds", "windows"]

T = TypeVar("T")

Digests = NDArray[np.uint64]


def windows(items: Iterable[T], length: Callable[[T], int], count: int, characters: int) -> Iterator[list[T]]:
    """Runs of items, of at most `count`, that end when the sum of their lengths reaches `characters`."""
    window: list[T] = []
    size = 0
    for item in items:
        window.append(item)
        size += length(item)
        if len(window) == count or size >= characters:
            yield window
            window, size = [], 0
    if window:
        yield window


class SeenIds:
    """Remembers ids by digests of 128 bits, in 16 bytes each."""

    def __init__(self) -> None:
        # Sorted by the first half of a digest, each run more than twice as long as the next.
        self._runs: list[tuple[Digests, Digests]] = []

    def add(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Remember ids; for each whether it is here for the first time, (n,)."""
        blake2b = hashlib.blake2b
        content = b"".join([blake2b(id_.encode(), digest_size=16).digest() for id_ in ids])
        digests = np.frombuffer(content, dtype=np.uint64).reshape(-1, 2)
        new = np.ones(len(ids), dtype=bool)
        if len(set(ids)) < len(ids):
            new[:] = False
            new[np.unique(digests, axis=0, return_index=True)[1]] = True
        for known, others in self._runs:
            places = np.minimum(np.searchsorted(known, digests[:, 0]), len(known) - 1)
            new &= (known[places] != digests[:, 0]) | (others[places] != digests[:, 1])
        self._remember(digests[new])
        return new

    def _remember(self, digests: Digests) -> None:
        if not len(digests):
            return
        run = _sorted(digests[:, 0], digests[:, 1])
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run[0]):
            before = self._runs.pop()
            run = _sorted(*(np.concatenate(halves) for halves in zip(before, run, strict=True)))
        self._runs.append(run)


def _sorted(first: Digests, second: Digests) -> tuple[Digests, Digests]:
    order = np.argsort(first, kind="stable")
    return first[order], second[order]

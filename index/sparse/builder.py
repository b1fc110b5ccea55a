"""Builds postings of sparse vectors: vectors are appended as they come, and turned round when all are there."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.files import sync_tree, write_whole
from retrieval.index.postings.reader import LENGTHS, smallest_type, write_shard
from retrieval.index.storage.arrays import ArrayAppender
from retrieval.index.storage.marks import Mark, mark_of
from retrieval.types import SparseVectors

__all__ = ["EntryWriter", "write_shards"]

_TOKENS = "sparse_tokens.json"
_SIZES, _COLUMNS, _WEIGHTS = "sparse_sizes.npy", "sparse_columns.npy", "sparse_weights.npy"

# What one shard holds at most, so that turning it round takes little memory.
_SHARD_ROWS = 1 << 16
_SHARD_ENTRIES = 1 << 24

_LARGEST_EXACT = 1 << 16


class EntryWriter:
    """Appends the vectors of documents 0, 1, ..., all over the same tokens.

    With the marks of what was synced earlier it goes on from that.
    """

    def __init__(self, folder: Path, *, marks: Mapping[str, Mark] | None = None) -> None:
        self._folder = folder
        self._tokens = marks.get(_TOKENS) if marks else None

        def appender(name: str, dtype: type) -> ArrayAppender:
            return ArrayAppender(folder / name, dtype, mark=marks[name] if marks else None)

        self._files = {
            name: appender(name, dtype)
            for name, dtype in ((_SIZES, np.int32), (_COLUMNS, np.int32), (_WEIGHTS, np.float32))
        }

    def add(self, vectors: SparseVectors) -> None:
        """Add vectors; an error if a weight cannot be one. A document may have an empty vector."""
        wrong = np.flatnonzero(~((vectors.weights > 0) & (vectors.weights <= SparseVectors.LARGEST)))
        if len(wrong):
            token, weight = vectors.tokens[vectors.columns[wrong[0]]], vectors.weights[wrong[0]]
            raise InputError(f"weights must be above 0 and at most {SparseVectors.LARGEST:g}; {token!r} has {weight}")
        if self._tokens is None:
            write_whole(self._folder / _TOKENS, orjson.dumps([*vectors.tokens]))
            self._tokens = mark_of(self._folder / _TOKENS)
        self._files[_SIZES].append(np.diff(vectors.offsets))
        self._files[_COLUMNS].append(vectors.columns)
        self._files[_WEIGHTS].append(vectors.weights)

    def sync(self) -> dict[str, Mark]:
        """Make what was added durable; the marks of the files."""
        marks = {name: file.sync() for name, file in self._files.items()}
        return marks if self._tokens is None else {**marks, _TOKENS: self._tokens}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.__exit__(kind, error, trace)


def write_shards(folder: Path, name: str) -> list[Path]:
    """Turn the vectors in a folder into postings, in shards of bounded size there; their folders, in order.

    Args:
        folder: of an EntryWriter.
        name: the shards are `name-0`, `name-1`, ...
    """
    sizes = np.load(folder / _SIZES)
    if not len(sizes):
        return []
    columns, weights = (np.load(folder / file, mmap_mode="r") for file in (_COLUMNS, _WEIGHTS))
    tokens = pa.array(orjson.loads((folder / _TOKENS).read_bytes()), pa.string()).cast(pa.large_binary())
    order = np.asarray(pc.sort_indices(tokens))
    ranks = np.empty(len(order), dtype=np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    shards = []
    for number, (first, last) in enumerate(_ranges(offsets)):
        shard = folder / f"{name}-{number}"
        shard.mkdir(exist_ok=True)
        part = slice(offsets[first], offsets[last])
        _write_shard(shard, tokens.take(order), ranks[columns[part]], weights[part], sizes[first:last])
        sync_tree(shard)
        shards.append(shard)
    return shards


def _ranges(offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of documents, bounded in number and in entries."""
    first, rows = 0, len(offsets) - 1
    while first < rows:
        full = int(np.searchsorted(offsets, offsets[first] + _SHARD_ENTRIES, side="right")) - 1
        last = min(max(full, first + 1), first + _SHARD_ROWS, rows)
        yield first, last
        first = last


def _write_shard(
    folder: Path,
    tokens: pa.LargeBinaryArray,
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
    sizes: NDArray[np.int32],
) -> None:
    """Postings of some documents; tokens stand in the vocabulary's order, and columns are numbers of them."""
    # numpy sorts 16 bits by counting.
    by_token = np.argsort(columns.astype(np.uint16) if len(tokens) <= 1 << 16 else columns, kind="stable")
    df = np.bincount(columns, minlength=len(tokens))
    ordinals = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[by_token]
    starts = np.concatenate([[0], np.cumsum(df[df > 0])])
    np.save(folder / LENGTHS, sizes)
    write_shard(folder, tokens.filter(pa.array(df > 0)), starts, ordinals, _narrowed(weights[by_token]))


def _narrowed(weights: NDArray[np.float32]) -> NDArray[Any]:
    """Weights in as few bytes as hold them without loss."""
    largest = float(weights.max(initial=0))
    if largest < _LARGEST_EXACT and np.array_equal(weights, np.rint(weights)):
        return weights.astype(smallest_type(int(largest)))
    return weights

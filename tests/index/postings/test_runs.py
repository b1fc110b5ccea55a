"""Postings of more than one window are read as they were written."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retrieval.index.kernels.layout import LONG_RUN, WINDOW
from retrieval.index.lexical.bm25 import BM25
from retrieval.index.lexical.scoring import merge_scored
from retrieval.index.postings.merging import Source
from retrieval.index.postings.reader import PostingsReader, ShardReader, write_shard
from retrieval.index.storage.files import Ledger, PlainFolder
from retrieval.index.storage.marks import NPY_HEADER

ROWS = 3 * WINDOW + 7


@pytest.fixture(scope="module")
def columns() -> list[np.ndarray]:
    """Documents of terms that are in every window, in some, in one, in long runs and in short ones."""
    rng = np.random.default_rng(3)
    dense = np.flatnonzero(rng.random(ROWS) < 0.1)
    return [dense, np.array([0, WINDOW - 1, WINDOW, ROWS - 1]), np.array([2 * WINDOW + 5]), dense[::50]]


def built(
    folder: Path, columns: list[np.ndarray], impacts: str, *, reorder: bool = False
) -> tuple[PostingsReader, float]:
    """The postings of an index with these documents, all frequencies 1, and their scale."""
    shard, out = folder / "shard", folder / "generation-1" / "lexical"
    shard.mkdir()
    out.mkdir(parents=True)
    ordinals = np.concatenate(columns)
    starts = np.cumsum([0, *map(len, columns)])
    lengths = np.bincount(ordinals, minlength=ROWS).astype(np.int32)
    terms = pa.array([bytes([ord("a") + i]) for i in range(len(columns))], pa.large_binary())
    write_shard(shard, terms, starts, ordinals, np.ones(len(ordinals), dtype=np.uint8))
    np.save(shard / "lengths.npy", lengths)
    source = Source(ShardReader(PlainFolder(shard)), 0)
    scale = merge_scored([source], lengths, np.ones(ROWS, dtype=bool), BM25(), out, impacts, reorder=reorder)
    ledger = Ledger(folder)
    ledger.add("generation-1")
    ledger.write("generation-1")
    opened = Ledger.open(folder, ledger.entries).folder("generation-1/lexical")
    return PostingsReader(opened, ROWS, impacts, reorder=reorder), scale


@pytest.mark.parametrize("reorder", [False, True])
def test_what_is_read_is_what_was_written(columns: list[np.ndarray], reorder: bool, tmp_path: Path) -> None:
    """Term by term, several at a time, and through every check; also where documents were put into another order."""
    reader, _ = built(tmp_path, columns, "exact", reorder=reorder)
    assert (reader.order is not None) == reorder
    for term, column in enumerate(columns):
        reader.check(term)
        np.testing.assert_array_equal(reader.block(term, term + 1)[0], column)
    np.testing.assert_array_equal(reader.block(1, 4)[0], np.concatenate(columns[1:]))
    assert reader.problems() == []


def test_a_long_run_has_buckets(columns: list[np.ndarray], tmp_path: Path) -> None:
    """And no other; a bucket's maximum is no smaller than any of its impacts."""
    reader, _ = built(tmp_path, columns, "exact")
    arrays = reader.arrays
    sizes = arrays.lasts.astype(np.int64) + 1
    np.testing.assert_array_equal(arrays.buckets >= 0, sizes >= LONG_RUN)
    begins = np.cumsum(sizes) - sizes
    for run in np.flatnonzero(arrays.buckets >= 0):
        here = slice(begins[run], begins[run] + sizes[run])
        bucket = arrays.ordinals[here] >> 8
        row = arrays.buckets[run]
        assert np.all(arrays.bucket_maxima[row][bucket] / 255 * arrays.maxima[run] >= arrays.impacts[here] * (1 - 1e-6))
        np.testing.assert_array_equal(arrays.bucket_starts[row], np.searchsorted(bucket, np.arange(256)))


@pytest.mark.parametrize(("impacts", "steps"), [("u8", 255), ("u16", 65_535)])
def test_impacts_in_steps(impacts: str, steps: int, columns: list[np.ndarray], tmp_path: Path) -> None:
    """Within half a step of what they are exactly; the largest is the last step, and none is 0."""
    reader, scale = built(tmp_path, columns, impacts)
    (tmp_path / "exact").mkdir()
    exact = built(tmp_path / "exact", columns, "exact")[0].arrays.impacts
    stored = reader.arrays.impacts
    assert stored.max() == steps
    assert stored.min() > 0
    assert np.all(np.abs(stored * scale - exact) <= np.maximum(scale / 2 * 1.001, scale - exact))
    assert reader.impacts.file.size == NPY_HEADER + len(reader) * stored.itemsize
    assert reader.problems() == []

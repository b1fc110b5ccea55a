from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import ArtifactDamagedError
from retrieval.files import write_whole
from retrieval.index.storage.arrays import ArrayAppender, DiskArray, load_array
from retrieval.index.storage.files import PlainFolder
from retrieval.index.storage.marks import check_marks


@given(sizes=st.lists(st.integers(0, 50), max_size=6), width=st.integers(1, 4))
def test_an_array_written_in_parts_reads_as_one(
    sizes: list[int], width: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As many parts as there are, of any size, none too."""
    folder = tmp_path_factory.mktemp("arrays")
    path = folder / "array.npy"
    parts = [np.arange(size * width, dtype=np.float32).reshape(size, width) for size in sizes]
    with ArrayAppender(path, np.float32, (width,)) as appender:
        for part in parts:
            appender.append(part)
    expected = np.concatenate(parts) if parts else np.empty((0, width), dtype=np.float32)
    array = DiskArray(PlainFolder(folder), "array.npy", np.float32, ndim=2)
    np.testing.assert_array_equal(array.all(), expected)
    np.testing.assert_array_equal(
        array.slice(len(array) // 3, len(array) // 2), expected[len(array) // 3 : len(array) // 2]
    )
    np.testing.assert_array_equal(np.load(path), expected)


@given(kept=st.integers(1, 20), lost=st.integers(0, 20), more=st.integers(0, 20))
def test_an_appender_goes_on_after_some_rows(
    kept: int, lost: int, more: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What stood behind them is gone."""
    path = tmp_path_factory.mktemp("arrays") / "array.npy"
    with ArrayAppender(path, np.int64) as appender:
        appender.append(np.arange(kept))
        mark = appender.sync()
        appender.append(np.full(lost, -1))
    with ArrayAppender(path, np.int64, mark=mark) as appender:
        appender.append(np.arange(kept, kept + more))
    np.testing.assert_array_equal(np.load(path), np.arange(kept + more))
    check_marks(path.parent, {path.name: mark})
    # What is not whole any more is not gone on with.
    for damage in (lambda content: content[:-1], lambda content: content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damage(path.read_bytes()[: 128 + 8 * kept]))
        with pytest.raises(ArtifactDamagedError, match=r"array\.npy: unfinished work is not as it was written"):
            check_marks(path.parent, {path.name: mark})


def test_an_array_of_another_kind_is_an_error(tmp_path: Path) -> None:
    """Type, dimensions, pickled objects and what is no array at all."""
    path = tmp_path / "array.npy"
    np.save(path, np.zeros(3, dtype=np.int32))
    with pytest.raises(ArtifactDamagedError, match="holds 1-d int32, expected 1-d float32"):
        load_array(PlainFolder(path.parent), path.name, np.float32)
    with pytest.raises(ArtifactDamagedError, match="expected 2-d int32"):
        load_array(PlainFolder(path.parent), path.name, np.int32, ndim=2)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ArtifactDamagedError, match="holds 1-d object, expected 1-d int32"):
        load_array(PlainFolder(path.parent), path.name, np.int32)
    path.write_bytes(b"")
    with pytest.raises(ArtifactDamagedError, match="not a readable array"):
        load_array(PlainFolder(path.parent), path.name, np.int32)


def test_a_loaded_array_cannot_be_changed(tmp_path: Path) -> None:
    """What is committed stays as it is."""
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ValueError, match="read-only"):
        load_array(PlainFolder(tmp_path), "array.npy", np.float64)[0] = 1


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """And nothing else is left beside it."""
    write_whole(tmp_path / "file", b"old")
    write_whole(tmp_path / "file", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]

"""Files that are checked block by block."""

import time
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import ArtifactDamagedError
from retrieval.index.storage.files import BLOCK, CHECKSUMS, Ledger, altered_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An artifact of three files: one of several blocks, one of less than a block, one that is empty."""
    (tmp_path / "segment-1").mkdir()
    (tmp_path / "generation-1").mkdir()
    for name, size in (("large.bin", 5 * BLOCK + 17), ("small.bin", 100), ("empty.bin", 0)):
        content = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
        (tmp_path / "segment-1" / name).write_bytes(content.tobytes())
    return tmp_path


def written(root: Path) -> Ledger:
    """The ledger of these files."""
    ledger = Ledger(root)
    ledger.add("segment-1")
    ledger.write("generation-1")
    return ledger


def flip(path: Path, place: int) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_only_the_blocks_that_are_read_are_checked(root: Path) -> None:
    """An altered block is an error of whoever reads it, with the file and the place; the others can be read."""
    entries = written(root).entries
    path = root / "segment-1" / "large.bin"
    content = path.read_bytes()
    flip(path, 2 * BLOCK + 5)
    ledger = Ledger.open(root, entries)
    file = ledger.file("segment-1/large.bin")
    assert file.read(0, 2 * BLOCK) == content[: 2 * BLOCK]
    assert file.read(3 * BLOCK, file.size) == content[3 * BLOCK :]
    for start, stop in ((2 * BLOCK, 2 * BLOCK + 1), (2 * BLOCK - 1, 2 * BLOCK + 1), (0, file.size)):
        with pytest.raises(ArtifactDamagedError, match=rf"large\.bin: is not as it was written, from byte {2 * BLOCK}"):
            file.read(start, stop)
    assert ledger.problems() == altered_files(root, entries) == [f"{path}: its checksum is not the manifest's"]


def test_every_byte_counts(root: Path) -> None:
    """The last one too."""
    entries = written(root).entries
    flip(root / "segment-1" / "small.bin", 99)
    with pytest.raises(ArtifactDamagedError, match=r"small\.bin"):
        Ledger.open(root, entries).file("segment-1/small.bin").read(0, 1)


def test_the_checksums_are_checked_themselves(root: Path) -> None:
    """It is their file that is named, not the sound one."""
    entries = written(root).entries
    flip(root / "generation-1" / CHECKSUMS, 0)
    with pytest.raises(ArtifactDamagedError, match=rf"{CHECKSUMS}: is not as it was written"):
        Ledger.open(root, entries).file("segment-1/small.bin").read(0, 1)


def test_a_file_that_is_cut_while_it_is_open(root: Path) -> None:
    """Reading the map would end the process, so its length is looked at first."""
    ledger = Ledger.open(root, written(root).entries)
    ledger.check_lengths()
    (root / "segment-1" / "large.bin").write_bytes(b"")
    time.sleep(0.002)  # it is looked at once in a millisecond
    with pytest.raises(ArtifactDamagedError, match=r"large\.bin: has 0 bytes, expected"):
        ledger.check_lengths()


def test_a_ledger_takes_over_what_stays(root: Path) -> None:
    """Checksums of files that do not change are not computed again."""
    old = Ledger.open(root, written(root).entries)
    new = Ledger(root)
    new.take(old, "segment-1")
    (root / "generation-2").mkdir()
    new.write("generation-2")
    again = Ledger.open(root, new.entries)
    assert set(again.entries) == {f"segment-1/{name}.bin" for name in ("large", "small", "empty")} | {
        f"generation-2/{CHECKSUMS}"
    }
    assert len(again.file("segment-1/large.bin").read(0, 6 * BLOCK)) == 5 * BLOCK + 17

"""Blocks on disk are read as they were written, and refused where they were not."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import ArtifactDamagedError, InputError
from retrieval.index.kernels.block_layout import Rows
from retrieval.index.kernels.layout import WINDOW
from retrieval.index.sparse.blocks import BlockOptions, BlocksReader, build_blocks, problems_of_rows
from retrieval.index.storage.files import Ledger

N_TERMS, N_ROWS = 40, WINDOW + 500
FOLDER = "generation-1/sparse"


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Vectors of up to three terms in two windows; the last terms are in no document."""
    rng = np.random.default_rng(2)
    sizes = rng.integers(0, 4, N_ROWS)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    terms = np.repeat(rng.integers(0, 30, N_ROWS), sizes) + within * 3
    return Rows(offsets, terms.astype(np.uint16), rng.integers(1, 256, len(terms)).astype(np.uint8))


def write(root: Path, rows: Rows, options: BlockOptions | None = None) -> Path:
    """The folder with the blocks."""
    folder = root / FOLDER
    folder.mkdir(parents=True)
    build_blocks(folder, rows, N_TERMS, options)
    return folder


def read(root: Path, rows: int = N_ROWS, n_terms: int = N_TERMS) -> BlocksReader:
    """The files as they are now, entered as whole."""
    ledger = Ledger(root)
    ledger.add("generation-1")
    ledger.write("generation-1")
    return BlocksReader(Ledger.open(root, ledger.entries).folder(FOLDER), rows, n_terms)


def alter(folder: Path, name: str, place: int, value: int) -> None:
    """Change a value of a file, in a way that no checksum notices."""
    array = np.load(folder / f"block_{name}.npy")
    array[place] = value
    np.save(folder / f"block_{name}.npy", array)


def test_every_posting_is_written_once(rows: Rows, tmp_path: Path) -> None:
    """Every term passes the check and no problem is found; blocks hold each document of a term once."""
    folder = write(tmp_path, rows)
    reader = read(tmp_path)
    reader.check(range(N_TERMS))
    assert reader.problems() == []
    counts = np.bincount(rows.terms, minlength=N_TERMS)
    np.testing.assert_array_equal(np.diff(np.load(folder / "block_posting_offsets.npy")), counts)
    assert reader.arrays.tops[N_TERMS - 1] == 0


def test_building_is_deterministic(rows: Rows, tmp_path: Path) -> None:
    """The same vectors give the same bytes."""
    first, second = write(tmp_path / "one", rows), write(tmp_path / "two", rows)
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_lists_are_cut_to_their_highest_levels(rows: Rows, tmp_path: Path) -> None:
    """At most `longest` postings are left, or the highest level; what was left out is told."""
    folder = write(tmp_path, rows, BlockOptions(levels=64, longest=300))
    assert read(tmp_path).problems() == []
    kept = np.diff(np.load(folder / "block_posting_offsets.npy"))
    before = np.bincount(rows.terms, minlength=N_TERMS)
    assert before.max() > 600
    assert kept.max() <= 300
    np.testing.assert_array_equal(np.load(folder / "block_floors.npy") > 0, kept < before)


def test_no_documents(tmp_path: Path) -> None:
    """An index of nothing can be written and read."""
    empty = Rows(np.zeros(1, np.int64), np.empty(0, np.uint16), np.empty(0, np.float32))
    write(tmp_path, empty)
    reader = read(tmp_path, rows=0)
    reader.check(range(N_TERMS))
    assert reader.problems() == []


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("offsets", 3, 1 << 40),
        ("posting_offsets", 3, -1),
        ("windows", 2, 9),
        ("levels", 2, 0),
        ("lasts", 2, 60_000),
        ("tops", 5, 255),
        ("floors", 5, 254),
    ],
)
def test_what_would_lead_a_kernel_astray_is_refused(
    rows: Rows, tmp_path: Path, name: str, place: int, value: int
) -> None:
    """Also where the checksums fit: when a term is checked, and by whoever verifies."""
    folder = write(tmp_path, rows)
    alter(folder, name, place, value)
    reader = read(tmp_path)
    with pytest.raises(ArtifactDamagedError, match="block_"):
        reader.check(range(N_TERMS))
    assert any("block_" in problem for problem in reader.problems())


@pytest.mark.parametrize(("name", "value"), [("ordinals", 65_535), ("ordinals", 0)])
def test_documents_that_do_not_exist_or_are_out_of_order_are_found(
    rows: Rows, tmp_path: Path, name: str, value: int
) -> None:
    """By whoever verifies; a search passes over them."""
    folder = write(tmp_path, rows)
    lasts = np.load(folder / "block_lasts.npy").astype(np.int64)
    last = np.flatnonzero((lasts > 0) & (np.load(folder / "block_windows.npy") == 1))[0]
    alter(folder, name, (lasts + 1)[: last + 1].sum() - 1, value)
    assert any(f"block_{name}" in problem for problem in read(tmp_path).problems())


def test_files_of_another_size_are_refused(rows: Rows, tmp_path: Path) -> None:
    """When they are opened."""
    write(tmp_path, rows)
    with pytest.raises(ArtifactDamagedError, match="expected"):
        read(tmp_path, n_terms=N_TERMS + 1)


def test_an_altered_block_is_refused(rows: Rows, tmp_path: Path) -> None:
    """When a term whose postings it holds is checked first."""
    folder = write(tmp_path, rows)
    ledger = Ledger(tmp_path)
    ledger.add("generation-1")
    ledger.write("generation-1")
    ordinals = np.load(folder / "block_ordinals.npy")
    alter(folder, "ordinals", len(ordinals) - 1, int(ordinals[-1]) ^ 1)
    reader = BlocksReader(Ledger.open(tmp_path, ledger.entries).folder(FOLDER), N_ROWS, N_TERMS)
    with pytest.raises(ArtifactDamagedError, match="not as it was written"):
        reader.check(range(N_TERMS))


def test_vectors_are_looked_at(rows: Rows) -> None:
    """Offsets in order, as many entries as they say, terms that exist."""
    assert problems_of_rows(rows, N_TERMS) == []
    assert "term" in problems_of_rows(rows, 20)[0]
    assert "fit" in problems_of_rows(rows._replace(terms=rows.terms[1:]), N_TERMS)[0]
    turned = rows._replace(offsets=rows.offsets[::-1].copy())
    assert "order" in problems_of_rows(turned, N_TERMS)[0]


def test_options_are_checked() -> None:
    """With what to give instead."""
    with pytest.raises(InputError, match="levels"):
        BlockOptions(levels=256)
    with pytest.raises(InputError, match="longest"):
        BlockOptions(longest=0)

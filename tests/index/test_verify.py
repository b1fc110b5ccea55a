"""What `verify` finds beyond checksums, and what a search does with a damaged file that it was not told of."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import ArtifactDamagedError
from retrieval.index.dense.builder import VectorWriter
from retrieval.index.dense.searcher import VectorReader
from retrieval.index.manifest import write_manifest
from retrieval.index.storage.files import CHECKSUMS, Ledger, PlainFolder
from retrieval.indexing import Index
from retrieval.pipeline import Retriever
from retrieval.types import Document


@pytest.fixture
def index(documents: list[Document], tmp_path: Path) -> Index:
    """A lexical index of the six documents."""
    return Index.build(documents, tmp_path / "index")


def alter(index: Index, name: str, change: Callable[[np.ndarray], object]) -> Index:
    """Change an array of the index in place, and its checksums with it, as a faulty writer would; open it again."""
    (path,) = index.path.glob(f"*/{name}")
    array = np.load(path)
    change(array)
    np.save(path, array)
    ledger = Ledger(index.path)
    folders = [*(segment.name for segment in index.manifest.segments), index.manifest.folder]
    (index.path / index.manifest.folder / CHECKSUMS).unlink()
    for folder in folders:
        ledger.add(folder)
    ledger.write(index.manifest.folder)
    write_manifest(index.path, index.manifest.model_copy(update={"files": ledger.entries}))
    return Index.open(index.path)


def put(place: object, value: object) -> Callable[[np.ndarray], object]:
    """A change of some values of an array."""
    return lambda array: array.__setitem__(place, value)


def test_a_sound_index_has_no_problems(index: Index) -> None:
    """Nor has an empty one."""
    assert index.problems() == []
    assert Index.build([], index.path.parent / "empty").problems() == []


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("lexical/ordinals.npy", put(0, 6), "ordinals.npy: names a document that does not exist"),
        ("lexical/ordinals.npy", put(0, 65_535), "ordinals.npy: names a document that does not exist"),
        ("lexical/ordinals.npy", lambda a: a.__setitem__(slice(None), a[::-1].copy()), "are not in order"),
        ("lexical/starts.npy", put(1, 0), "starts.npy: a term without postings"),
        ("lexical/run_starts.npy", put(1, 0), "run_starts.npy: a term without postings"),
        ("lexical/run_lasts.npy", put(0, 7), "run_lasts.npy: does not fit the postings"),
        ("lexical/run_maxima.npy", put(0, 7), "run_maxima.npy: does not fit the impacts"),
        ("lexical/impacts.npy", put(3, np.nan), "impacts.npy: holds a value that is no impact"),
        ("lexical/impacts.npy", put(3, 0), "impacts.npy: holds a value that is no impact"),
        ("lexical/term_bytes.npy", put(0, ord("z")), "term_bytes.npy: the terms are not in order"),
        ("lexical/term_offsets.npy", put(1, 0), "term_offsets.npy: a term without a letter"),
        ("lexical/lengths.npy", put(0, 99), "lengths.npy: does not fit the documents' postings"),
        ("ids_batches.npy", put((0, 0), 1), "ids.arrow: record batch 0 does not fit ids_batches.npy"),
        ("texts_batches.npy", put((0, 0), 1), "texts.arrow: record batch 0 does not fit texts_batches.npy"),
        ("id_hashes.npy", put(0, 0), "id_hashes.npy: does not fit the documents' ids"),
        ("id_rows.npy", put(0, 3), "id_hashes.npy: does not fit the documents' ids"),
        ("digests.npy", put((0, 0), 0), "texts.arrow: row 0 is not what its digest says"),
    ],
)
def test_what_does_not_fit_is_named(
    name: str, change: Callable[[np.ndarray], object], problem: str, index: Index
) -> None:
    """Also where the checksum is right, as it is when a writer was wrong."""
    assert problem in "\n".join(alter(index, name, change).problems())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ordinals", put(slice(None), 6)),
        ("ordinals", put(slice(None), 65_535)),
        ("run_starts", put(slice(1, -1), 2**32 - 1)),
        ("run_windows", put(slice(None), 1)),
        ("run_windows", put(slice(None), 65_535)),
        ("run_lasts", put(slice(None), 65_535)),
        ("run_buckets", put(slice(None), 3)),
        ("starts", put(slice(1, -1), -1)),
        ("starts", put(slice(1, -1), 2**40)),
    ],
)
@pytest.mark.parametrize("queries", [1, 2])
def test_a_search_over_damaged_postings_is_an_error(
    name: str, change: Callable[[np.ndarray], object], queries: int, index: Index
) -> None:
    """It names the file, and reads and writes nothing outside its arrays; in the compiled kernel and out of it."""
    damaged = alter(index, f"lexical/{name}.npy", change)
    with pytest.raises(ArtifactDamagedError, match=rf"{name}\.npy: "):
        Retriever(damaged).search_batch(["wind sky storm oxygen"] * queries)


def test_vectors_that_do_not_fit(tmp_path: Path) -> None:
    """Longer than any that was written, not finite, or of documents that do not exist."""
    with VectorWriter(tmp_path, 2) as writer:
        writer.add(np.array([0, 2]), np.eye(2, dtype=np.float32))

    def problems(largest_norm: float, rows: int) -> str:
        return " ".join(VectorReader(PlainFolder(tmp_path), rows, 2).problems(largest_norm))

    assert problems(writer.largest_norm, 3) == ""
    assert "longer than any was" in problems(0.5, 3)
    assert "do not exist" in problems(1.0, 2)
    np.save(tmp_path / "vectors.npy", np.array([[np.nan, 0], [0, 1]], dtype=np.float32))
    assert "not finite" in problems(1.0, 3)
    np.save(tmp_path / "vector_rows.npy", np.array([2, 0]))
    assert "not in order" in problems(1.0, 3)

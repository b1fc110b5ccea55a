"""The dense benchmark from end to end, on a few vectors."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dense_real
import numpy as np
import orjson
import pytest
from dense import _fastest
from dense_engines.worker import ENOUGH, Work, recalls, rests
from dense_real import COLLECTIONS, real
from dense_synthetic import COSINES, blocks, exact, make, resample

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "dense.py"
DIMENSIONS = 32


def unit(rng: np.random.Generator, n: int, centres: np.ndarray) -> np.ndarray:
    """Vectors of length 1 around some centres."""
    vectors = centres[rng.integers(0, len(centres), n)] + 0.3 * rng.standard_normal((n, centres.shape[1]))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with the vectors of collections, as if they had been encoded: 400 documents and 20 queries."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((12, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    folder = tmp_path / "made" / "real"
    folder.mkdir(parents=True)
    for name in COLLECTIONS:
        np.save(folder / f"{name}.documents.npy", unit(rng, 100, centres))
        np.save(folder / f"{name}.queries.npy", unit(rng, 5, centres))
    return folder.parent


def test_the_layer_is_measured_beside_plain_faiss(made: Path, tmp_path: Path) -> None:
    """Flat is exact, ours too; a peer that cannot run is named; figures are written; nothing is left behind."""
    work, hidden, figures = tmp_path / "work", tmp_path / "hidden" / "hnswlib", tmp_path / "figures.json"
    work.mkdir()
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('no hnswlib on this machine')")
    code = f"import sys; sys.path.insert(0, {str(hidden.parent)!r}); sys.argv[0] = {str(SCRIPT)!r}\n"
    code += f"sys.path.insert(1, {str(SCRIPT.parent)!r})\nfrom dense import main\n"
    code += "if __name__ == '__main__': sys.exit(main())"
    script = tmp_path / "with_hidden.py"
    script.write_text(code)
    arguments = ("--documents", "1500", "--engines", "faiss-flat,hnswlib,retrieval-flat", "--rounds", "1")
    command = [sys.executable, script, *arguments, "--made", made, "--work", work, "--json", figures]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hnswlib could not run: ImportError: no hnswlib on this machine" in done.stdout
    (result,) = orjson.loads(figures.read_bytes())["results"]
    assert (result["documents"], result["queries"], result["real queries"]) == (1500, 1000, 20)
    about = result["engines"]["faiss-flat"]
    assert about["builds"][0]["size"] > 4 * 1500 * DIMENSIONS
    assert about["best"]["0.99"]["recall"] == 1
    assert about["figures"]["0.95"]["queries/s"] > 0
    assert about["figures"]["0.95"]["p99"] >= about["figures"]["0.95"]["p50"] > 0
    layer = result["layer"]["retrieval-flat"]
    assert (layer["plain"], layer["recall"]) == ("faiss-flat", 1)
    assert layer["ratio"]["least"] <= layer["ratio"]["median"] <= layer["ratio"]["most"]
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(
    ("engine", "package"),
    [(f"faiss-{kind}", "faiss") for kind in ("flat", "hnsw", "ivf", "ivf-pq")]
    + [("hnswlib", "hnswlib"), ("usearch", "usearch"), ("usearch-i8", "usearch")],
)
def test_an_engine_reaches_its_recalls(engine: str, package: str, made: Path, tmp_path: Path) -> None:
    """Its index is built, saved, opened and searched with rising parameters until one is enough."""
    pytest.importorskip(package, reason=f"{package} is not installed: pip install -e '.[bench]'")
    work = Work(engine, 1, make(1500, made=made))
    for number, parameters in enumerate(work.builds(full=False)):
        built = work.build(tmp_path / str(number), parameters)
        work.open(tmp_path / str(number), parameters)
        swept = work.sweep(parameters)
    assert built["size"] > 1500 * DIMENSIONS
    assert max(one["recall"] for one in swept) >= (0.9 if engine == "usearch-i8" else ENOUGH)
    assert len(work.single(swept[-1]["parameters"], limit=60.0)) == 1000
    assert len(work.single(swept[-1]["parameters"], limit=0.0)) == 1


def test_made_vectors_stay_near_the_real_ones(made: Path) -> None:
    """Of length 1, at the cosines drawn to what they were made of, the same for the same seed."""
    originals, _ = real(made=made)
    one, again, other = (np.concatenate(list(resample(originals, 3000, seed))) for seed in (1, 1, 2))
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-5)
    nearest = (one @ originals.T).max(axis=1)
    assert COSINES[0] < nearest.mean() < 1
    assert nearest.min() > COSINES[0] * 0.7  # a mixture is not a real one itself
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_truth_is_that_of_all_vectors_at_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors are written and compared block by block, and made once."""
    monkeypatch.setattr("dense_synthetic._AT_ONCE", 70)
    folder = make(200, made=made)
    vectors, queries, truth = (np.load(folder / f"{name}.npy") for name in ("vectors", "queries", "truth"))
    assert [(first, len(block)) for first, block in blocks(folder / "vectors.npy")] == [(0, 70), (70, 70), (140, 60)]
    np.testing.assert_array_equal(np.argsort(-(queries @ vectors.T), axis=1)[:, :10], truth)
    np.testing.assert_array_equal(exact(folder / "vectors.npy", queries[:3], 4), truth[:3, :4])
    before = (folder / "vectors.npy").stat().st_mtime_ns
    assert make(200, made=made) == folder
    assert (folder / "vectors.npy").stat().st_mtime_ns == before


def test_encoding_goes_on_where_it_was_interrupted(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole blocks of an interrupted run are kept; a part of one is encoded again; empty documents have no vector."""
    asked: list[str] = []

    class Model:
        class card:  # noqa: N801 (as an encoder has it)
            dimensions = 2

        def encode_documents(self, texts: list[str], on_batch: Any) -> np.ndarray:
            asked.extend(texts)
            return np.array([[int(text), 1] for text in texts], dtype=np.float32)

    monkeypatch.setattr(dense_real, "_AT_ONCE", 2)
    path = tmp_path / "tiny.documents.npy"
    first = np.array([[0, 1], [1, 1], [9, 9]], dtype=np.float32)  # a block, and a half
    path.with_suffix(".begun").write_bytes(first.tobytes())
    dense_real._encode_documents(["0", "1", "2", "3", "4"], path, Model())
    assert asked == ["2", "3", "4"]
    np.testing.assert_array_equal(np.load(path)[:, 0], [0, 1, 2, 3, 4])
    assert not path.with_suffix(".begun").exists()


def test_recall_counts_found_neighbours() -> None:
    """In any order; what is missing is told by a negative number and counts as not found."""
    truth = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(recalls(np.array([[2, 1], [4, -1]]), truth), [1, 0.5])


def test_a_series_ends_where_recall_rests() -> None:
    """After two steps without gain, and not before there are two."""
    assert not rests([0.5])
    assert not rests([0.5, 0.5])
    assert not rests([0.5, 0.9, 0.9])
    assert rests([0.9, 0.9, 0.9005])


def test_the_first_of_a_series_that_reaches_a_recall_is_taken() -> None:
    """Whatever the clock said of a later one; between series the faster counts."""

    def swept(series: int, recall: float, seconds: float) -> dict[str, Any]:
        return {"series": series, "recall": recall, "seconds": seconds, "parameters": {}}

    build = {"parameters": {}, "out": "", "size": 1}
    one = build | {"swept": [swept(0, 0.9, 1.0), swept(0, 0.96, 3.0), swept(0, 0.98, 2.0)]}
    best = _fastest([one], 0.95)
    assert best is not None
    assert best["seconds"] == 3.0
    two = one | {"swept": [*one["swept"], swept(1, 0.97, 2.5)]}
    best = _fastest([two], 0.95)
    assert best is not None
    assert best["seconds"] == 2.5
    assert _fastest([two], 0.99) is None
    assert _fastest([one | {"parameters": {"recall": 0.99}}], 0.95) is None

"""The sparse benchmark from end to end, on a few vectors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
from sparse_engines.worker import recall
from sparse_synthetic import read, resample

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sparse.py"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """60 documents and 4 queries, one of a term that no document has."""
    rng = np.random.default_rng(4)
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name, n, size in (("docs", 60, 12), ("queries.splade-v3", 4, 5)):
        vectors = [
            {f"w{term}": int(rng.integers(1, 200)) for term in rng.choice(40, size, replace=False)} for _ in range(n)
        ]
        if n == 4:
            vectors[3] = {"unheard": 9}
        lines = [orjson.dumps({"id": str(number), "vector": vector}) for number, vector in enumerate(vectors)]
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(lines))
    return folder


def test_ours_is_measured_beside_exact_search(source: Path, tmp_path: Path) -> None:
    """On real and on resampled vectors; a peer that cannot run is named; nothing is left behind."""
    work, hidden = tmp_path / "work", tmp_path / "hidden" / "seismic"
    work.mkdir()
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('no seismic on this machine')")
    code = f"import sys; sys.path.insert(0, {str(hidden.parent)!r}); sys.argv[0] = {str(SCRIPT)!r}\n"
    code += f"sys.path.insert(1, {str(SCRIPT.parent)!r})\nfrom sparse import main\n"
    code += "if __name__ == '__main__': sys.exit(main())"
    script = tmp_path / "with_hidden.py"
    script.write_text(code)
    engines = ("--engines", "retrieval,retrieval-approximate,seismic")
    arguments = ("--from", source, "--documents", "0,300", *engines, "--rounds", "1")
    places = ("--made", tmp_path / "made", "--work", work, "--json", tmp_path / "figures.json")
    command = [sys.executable, script, *arguments, *places]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "seismic could not run: ImportError: no seismic on this machine" in done.stdout
    for result, documents in zip(
        orjson.loads((tmp_path / "figures.json").read_bytes())["results"], (60, 300), strict=True
    ):
        assert (result["documents"], result["queries"]) == (documents, 4)
        assert set(result["engines"]) == {"scatter", "retrieval", "retrieval-approximate"}
        for about in result["engines"].values():
            assert about["best"]["1.0"]["recall"] == 1
            assert about["builds"][0]["size"] > 0
            assert about["figures"]["0.99"]["queries/s"] > 0
    assert list(work.iterdir()) == []


def test_resampled_vectors_look_like_the_real_ones(source: Path) -> None:
    """As many entries at most as a real document, terms in order, weights above zero, the same for the same seed."""
    real = read(source)
    made, again, other = (resample(real, 100, seed) for seed in (1, 1, 2))
    assert len(made) == 100
    assert 6 < np.diff(made.offsets).mean() <= 12
    assert made.weights.min() > 0
    for row in range(100):
        assert np.all(np.diff(made.entries[made.offsets[row] : made.offsets[row + 1]].astype(int)) > 0)
    np.testing.assert_array_equal(made.weights, again.weights)
    assert not np.array_equal(made.weights, other.weights)


def test_recall_counts_ties() -> None:
    """A hit that scores as well as the last exact one counts, whichever it is."""
    exact = [([1, 2], [3.0, 2.0]), ([], [])]
    assert recall([([1, 9], [3.0, 2.0]), ([], [])], exact) == 1
    assert recall([([1], [3.0]), ([], [])], exact) == 0.5

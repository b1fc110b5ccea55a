import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sentence_transformers")

ROOT = Path(__file__).parents[2]


def test_the_benchmark_runs(tiny_model: Path, tmp_path: Path) -> None:
    """On a tiny model and a few documents, with our engine by torch beside sentence-transformers."""
    folder = tmp_path / "data" / "scifact"
    folder.mkdir(parents=True)
    lines = [json.dumps({"_id": str(i), "title": "Sky", "text": "solar wind " * (i % 7)}) for i in range(40)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    out = tmp_path / "figures.json"
    given = ["--data", str(folder.parent), "--model", str(tiny_model), "--engines", "torch-fp32", "--rounds", "2"]
    command = [
        sys.executable,
        "benchmarks/encode.py",
        *given,
        "--threads",
        "1",
        "--documents",
        "30",
        "--json",
        str(out),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report["documents"] == 30
    assert report["tokens"] > 60
    ours = report["engines"]["torch-fp32"]
    assert ours["ratio"]["least"] <= ours["ratio"]["median"] <= ours["ratio"]["most"]
    assert ours["share"] > 0
    assert "torch-fp32" in done.stdout


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    """Is named, with those that are."""
    folder = tmp_path / "scifact"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text("")
    command = [sys.executable, "benchmarks/encode.py", "--data", str(tmp_path), "--engines", "abacus"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "abacus: not of torch-fp32" in done.stderr

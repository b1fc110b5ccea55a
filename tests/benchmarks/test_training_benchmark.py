"""The training benchmark from end to end, on a tiny model and a few pairs."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from processes import EngineError
from training_engines import PEER
from training_task import agree, write_task

pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "training.py"
WORDS = ("aurora", "solar", "wind", "magnetic", "field", "particle", "storm", "sky")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A collection of 30 documents and 12 queries, the last of which has a positive that another query has."""
    folder = tmp_path / "data" / "scifact"
    (folder / "qrels").mkdir(parents=True)
    texts = [" ".join(WORDS[(i * j) % 8] for j in range(1, 4 + i % 5)) + f" {i}" for i in range(30)]
    lines = [orjson.dumps({"_id": f"d{i}", "title": "", "text": text}) for i, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_bytes(b"\n".join(lines))
    queries = [orjson.dumps({"_id": f"q{i}", "text": f"{WORDS[i % 8]} {WORDS[(i + 3) % 8]} {i}"}) for i in range(12)]
    (folder / "queries.jsonl").write_bytes(b"\n".join(queries))
    judged = "".join(f"q{i}\td{i if i < 11 else 0}\t1\n" for i in range(12))
    (folder / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return folder.parent


def test_both_begin_with_the_same_loss(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    """With cached gradients, in batches that go around; each has its time, its ratio, its peak."""
    pytest.importorskip("datasets")
    out = tmp_path / "figures.json"
    fixed = ("--data", data, "--model", tiny_model, "--threads", "1", "--tokens", "16", "--json", out, "--cpu-time")
    sizes = ("--cached", "24", "--mini-batch", "5", "--large-steps", "1", "--rounds", "1")
    command = [sys.executable, SCRIPT, *fixed, *sizes, "--only", "cached"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = orjson.loads(out.read_bytes())
    assert report["pairs"] == 11
    assert [result["case"]["batch"] for result in report["results"]] == [24]
    for result in report["results"]:
        ours, theirs = (result["engines"][name] for name in ("retrieval", "sentence-transformers"))
        assert ours["first"] == pytest.approx(theirs["first"], rel=1e-4)
        assert ours["first"]["gradient"] > 0
        assert ours["ratio"]["median"] == 1
        assert theirs["ratio"]["least"] <= theirs["ratio"]["median"] <= theirs["ratio"]["most"]
        assert theirs["peak"] >= theirs["loaded"] > 0
    assert done.stdout.count("the same task") == 1
    assert "24, cached" in done.stdout


class _Canned:
    """In a process' place: ours answers, the peer cannot be made."""

    def __init__(self, name: str, threads: int, **options: Any) -> None:
        if name == PEER:
            raise EngineError("ModuleNotFoundError: No module named 'datasets'")

    def call(self, what: str) -> Any:
        first = {"loss": 1.0, "gradient": 2.0}
        versions = {"torch": "2.13"}
        return {
            "about": {"versions": versions, "loaded": 10},
            "check": first,
            "train": {"seconds": 0.5, "peak": 20},
        }[what]

    def close(self) -> None:
        pass


def test_a_peer_that_cannot_run_is_named(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason, and ours is measured by itself."""
    script = runpy.run_path(str(SCRIPT))
    main = script["main"]
    monkeypatch.setitem(main.__globals__, "Worker", _Canned)
    monkeypatch.setattr(sys, "argv", ["training.py", "--data", str(data), "--only", "more", "--more", "8,16"])
    assert main() == 0
    told = capsys.readouterr().out
    assert "sentence-transformers could not run: ModuleNotFoundError: No module named 'datasets'" in told
    assert "2.000" in told
    assert "the same task" not in told


def test_no_document_stands_in_two_pairs(data: Path, tmp_path: Path) -> None:
    """A query whose positive is taken is left out; mined negatives come before those at random; a seed decides."""
    mined = tmp_path / "mined.trec"
    mined.write_text("".join(f"q{i} Q0 d{29 if i < 2 else 12 + i} 1 1.0 run\n" for i in range(11)))
    out = tmp_path / "task.jsonl"
    assert write_task(out, data / "scifact", negatives=mined, seed=0) == 11
    pairs = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    texts = [text for pair in pairs for text in (*pair["pos"], *pair["neg"])]
    assert len(set(texts)) == len(texts) == 22
    ends = [pair["neg"][0].split()[-1] for pair in pairs]
    assert (ends[0], ends[2:]) == ("29", [str(12 + i) for i in range(2, 11)])
    before = out.read_bytes()
    write_task(out, data / "scifact", negatives=mined, seed=0)
    assert out.read_bytes() == before


def test_another_loss_ends_the_benchmark() -> None:
    """So does another gradient; what differs in the last digits is the same."""
    agree({"one": {"loss": 1.0, "gradient": 2.0}, "other": {"loss": 1.00001, "gradient": 2.0}})
    agree({"one": {"loss": 1.0, "gradient": 2.0}})
    with pytest.raises(SystemExit, match=r"the gradient is 2\.000000 of one, 2\.100000 of other"):
        agree({"one": {"loss": 1.0, "gradient": 2.0}, "other": {"loss": 1.0, "gradient": 2.1}})


def test_a_part_that_is_not_there(data: Path) -> None:
    """Is named, with those that are."""
    command = [sys.executable, SCRIPT, "--data", data, "--only", "abacus"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "abacus: not of batch, more, cached" in done.stderr

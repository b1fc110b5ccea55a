"""What the README shows of Python does what it says."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from retrieval.cli import main
from retrieval.types import Document

ROOT = Path(__file__).parents[1]


def test_every_piece_of_python_runs_by_itself(
    documents: Sequence[Document],
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """From top to bottom after the commands above, with a small model in the place of minilm."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"_id": each.id, "title": each.title, "text": each.text}) + "\n" for each in documents]
    Path("corpus.jsonl").write_text("".join(lines))
    collection = Path("path/to/scifact")
    (collection / "qrels").mkdir(parents=True)
    (collection / "corpus.jsonl").write_text("".join(lines))
    (collection / "queries.jsonl").write_text('{"_id": "q1", "text": "solar wind"}\n')
    (collection / "qrels" / "test.tsv").write_text("q1\ta\t1\n")
    command = ["retrieval", "index", "build", "corpus.jsonl", "--out", "my-index", "--dense", str(tiny_model)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    pieces = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(pieces) >= 2
    for piece in pieces:
        capfd.readouterr()
        exec(piece.replace('"minilm"', repr(str(tiny_model))), {})
        assert capfd.readouterr().out

"""The command line as a user meets it: arguments in; exit code, stdout and stderr out."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from retrieval.cli import main
from retrieval.types import Document


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What stdout says, as JSON."""
        return json.loads(self.out)


Cli = Callable[..., Answer]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs `retrieval` with the arguments given."""
    monkeypatch.setenv("COLUMNS", "200")  # usage errors stand in a panel as wide as the terminal

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["retrieval", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        return Answer(int(left.value.code or 0), *capfd.readouterr())

    return run


def write_jsonl(path: Path, *records: object) -> Path:
    """One JSON value a line; the folders above are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Writes a JSONL file of the records given, below the test's folder."""
    return lambda name, *records: write_jsonl(tmp_path / name, *records)


@pytest.fixture
def corpus(tmp_path: Path, documents: list[Document]) -> Path:
    """The six documents as a JSONL file."""
    return write_jsonl(tmp_path / "corpus.jsonl", *map(record_of, documents))


def record_of(document: Document) -> dict[str, Any]:
    """A document as a line of JSONL."""
    return {"_id": document.id, "title": document.title, "text": document.text, **document.metadata}


@pytest.fixture
def lexical_index(cli: Cli, corpus: Path, tmp_path: Path) -> Path:
    """An index of the six documents with a lexical part."""
    assert cli("index", "build", corpus, "--out", tmp_path / "lexical").code == 0
    return tmp_path / "lexical"


@pytest.fixture
def hybrid_index(cli: Cli, corpus: Path, tmp_path: Path, tiny_model: Path) -> Path:
    """An index of the six documents with both parts."""
    assert cli("index", "build", corpus, "--out", tmp_path / "hybrid", "--dense", tiny_model).code == 0
    return tmp_path / "hybrid"

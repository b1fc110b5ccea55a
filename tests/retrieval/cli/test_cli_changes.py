"""`retrieval index add`, `delete`, `compact`, and builds that were interrupted, as a user meets them."""

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval.indexing import Index

Cli = Callable[..., Any]
Jsonl = Callable[..., Path]


def ids(path: Path) -> list[str]:
    """The documents of an index, in order."""
    return [document.id for document in Index.open(path).documents]


def found(cli: Cli, path: Path, *arguments: object) -> list[str]:
    """The ids that a search prints."""
    answer = cli("search", path, *arguments, "--json")
    assert answer.code == 0, answer.err
    return [hit["id"] for hit in answer.json["hits"]]


def test_documents_are_added(cli: Cli, lexical_index: Path, jsonl: Jsonl) -> None:
    """They are found, and `info` shows a second segment and the command."""
    more = jsonl("more.jsonl", {"_id": "new", "text": "A comet in the sky", "year": 2024})
    answer = cli("index", "add", lexical_index, more)
    assert (answer.code, answer.out) == (0, "")
    assert answer.err.startswith(f"{lexical_index}: 7 documents, lexical, ")
    assert found(cli, lexical_index, "comet") == ["new"]
    shown = cli("index", "info", lexical_index).out
    assert "2 (6, 1)" in shown
    assert f"retrieval index add {lexical_index} {more}" in shown


def test_vectors_of_added_documents_come_from_the_same_model(cli: Cli, hybrid_index: Path, jsonl: Jsonl) -> None:
    """Which the index names; one of other weights at that place is refused, and nothing is changed."""
    assert cli("index", "add", hybrid_index, jsonl("1.jsonl", {"_id": "new", "text": "solar wind"})).code == 0
    assert Index.open(hybrid_index).manifest.dense.vectors == 6  # type: ignore[union-attr]
    assert "new" in found(cli, hybrid_index, "solar wind", "--using", "dense")
    answer = cli("index", "add", hybrid_index, jsonl("2.jsonl", {"_id": "x", "text": "x"}), "--dense", "minilm")
    assert (answer.code, "is not the one the index was built with" in answer.err) == (1, True)
    assert "x" not in ids(hybrid_index)


def test_a_known_document_is_replaced_only_if_that_is_asked_for(cli: Cli, lexical_index: Path, jsonl: Jsonl) -> None:
    """The error names it; its new text goes to the end."""
    newer = jsonl("newer.jsonl", {"_id": "a", "text": "zebra"}, {"_id": "z", "text": "zebra"})
    answer = cli("index", "add", lexical_index, newer)
    assert answer.code == 1
    assert f"error: {lexical_index} already holds document 'a'" in answer.err
    assert "hint: let them take its place: --replace" in answer.err
    assert ids(lexical_index) == ["a", "b", "c", "d", "twin-1", "twin-2"]
    assert cli("index", "add", lexical_index, newer, "--replace").code == 0
    assert ids(lexical_index) == ["b", "c", "d", "twin-1", "twin-2", "a", "z"]
    assert found(cli, lexical_index, "zebra") == ["a", "z"]
    assert cli("index", "verify", lexical_index).code == 0


def test_documents_are_deleted(cli: Cli, lexical_index: Path) -> None:
    """By id; their words are gone with them."""
    assert cli("index", "delete", lexical_index, "a", "twin-1").code == 0
    assert ids(lexical_index) == ["b", "c", "d", "twin-2"]
    assert found(cli, lexical_index, "sky") == []
    assert "1 (6; 2 deleted)" in cli("index", "info", lexical_index).out
    assert cli("index", "verify", lexical_index).code == 0


def test_documents_are_deleted_by_a_filter(cli: Cli, lexical_index: Path) -> None:
    """All that it allows; one that cannot be understood deletes nothing."""
    assert cli("index", "delete", lexical_index, "--filter", '{"year": {"$lt": 2010}}').code == 0
    assert ids(lexical_index) == ["b", "c", "d", "twin-1", "twin-2"]
    answer = cli("index", "delete", lexical_index, "--filter", '{"year": 1}')
    assert (answer.code, "no document has a field 'year'" in answer.err) == (2, True)


def test_ids_come_from_a_file_or_standard_input(
    cli: Cli, lexical_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on each line; empty lines are none."""
    (tmp_path / "gone.txt").write_text("a\n\nb\n")
    assert cli("index", "delete", lexical_index, "--ids-from", tmp_path / "gone.txt").code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("c\n"))
    assert cli("index", "delete", lexical_index, "--ids-from", "-").code == 0
    assert ids(lexical_index) == ["d", "twin-1", "twin-2"]


def test_ids_that_are_not_there(cli: Cli, lexical_index: Path) -> None:
    """They are named, and nothing is deleted, unless they may be missing; naming nothing is no command."""
    answer = cli("index", "delete", lexical_index, "a", "nobody", "no one")
    assert answer.code == 1
    assert f"error: {lexical_index} does not hold documents 'nobody', 'no one'" in answer.err
    assert len(ids(lexical_index)) == 6
    assert cli("index", "delete", lexical_index, "a", "nobody", "--missing-ok").code == 0
    assert len(ids(lexical_index)) == 5
    assert cli("index", "delete", lexical_index).code == 2


def test_an_index_is_compacted(cli: Cli, lexical_index: Path, jsonl: Jsonl) -> None:
    """One segment, without the deleted documents, and the same answers."""
    cli("index", "add", lexical_index, jsonl("more.jsonl", {"_id": "new", "text": "solar comet"}))
    cli("index", "delete", lexical_index, "b")
    before = cli("search", lexical_index, "solar comet sky", "--json").out
    assert cli("index", "compact", lexical_index).code == 0
    assert cli("search", lexical_index, "solar comet sky", "--json").out == before
    summary = cli("index", "info", lexical_index, "--json").json
    assert ([segment["rows"] for segment in summary["segments"]], summary["deleted"]) == ([6], 0)


def test_texts_can_be_left_out(cli: Cli, corpus: Path, tmp_path: Path, tiny_model: Path, jsonl: Jsonl) -> None:
    """Hits bring title and metadata; no file holds a text, also after documents were added."""
    out = tmp_path / "index"
    assert cli("index", "build", corpus, "--out", out, "--dense", tiny_model, "--no-store-text").code == 0
    assert cli("index", "add", out, jsonl("more.jsonl", {"_id": "new", "title": "T", "text": "zebra"})).code == 0
    (hit,) = cli("search", out, "sky", "--using", "lexical", "--json").json["hits"][:1]
    assert (hit["id"], hit["title"], hit["text"], hit["metadata"]) == ("a", "Aurora", "", {"year": 2001})
    assert found(cli, out, "zebra", "--using", "lexical") == ["new"]
    assert [document.text for document in Index.open(out).documents] == [""] * 7
    assert "not kept" in cli("index", "info", out).out
    assert cli("index", "verify", out).code == 0


KILLED = """
import os, signal, sys, retrieval.building as building
from retrieval.cli import main
note, shards = building._Stager._note, 0
def noted(self, **progress):
    global shards
    note(self, **progress)
    shards += "shards" in progress
    if shards == 2:
        os.kill(os.getpid(), signal.SIGKILL)
building._Stager._note = noted
sys.argv = ["retrieval", *sys.argv[1:]]
main()
"""


def test_an_interrupted_build_goes_on(cli: Cli, corpus: Path, tmp_path: Path, jsonl: Jsonl) -> None:
    """With the same command; with another it is refused with what differs, until it is to be discarded."""
    out = tmp_path / "index"
    command = ["index", "build", corpus, "--out", out, "--shard-documents", 2]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, command)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert cli("search", out, "sky").err.startswith(f"error: no index at {out}")
    answer = cli(*command, "--k1", 0.9, "--language", "german")
    assert answer.code == 1
    assert 'with other settings: lexical.analyzer.normal_form was null, is "NFKC"' in answer.err
    assert "lexical.bm25.k1 was 1.5, is 0.9" in answer.err
    assert "--restart" in answer.err
    other = jsonl("other.jsonl", {"_id": "a", "text": "another text"})
    answer = cli("index", "build", other, "--out", out, "--shard-documents", 2)
    assert "of other documents: document 1, 'a', is not the one it read" in answer.err
    assert cli(*command).code == 0
    assert ids(out) == ["a", "b", "c", "d", "twin-1", "twin-2"]
    assert cli("index", "verify", out).code == 0
    assert not (out / "building").exists()


def test_an_interrupted_build_can_be_discarded(cli: Cli, corpus: Path, tmp_path: Path, jsonl: Jsonl) -> None:
    """--restart builds whatever is given."""
    out = tmp_path / "index"
    command = ["index", "build", corpus, "--out", out, "--shard-documents", 2]
    subprocess.run([sys.executable, "-c", KILLED, *map(str, command)], capture_output=True)
    other = jsonl("other.jsonl", {"_id": "z", "text": "another text"})
    assert cli("index", "build", other, "--out", out, "--restart").code == 0
    assert ids(out) == ["z"]

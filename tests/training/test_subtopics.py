"""Judgements of sub-topics are read as TREC writes them, and a line that is none is named."""

from pathlib import Path

import pytest

from retrieval.errors import CollectionError
from retrieval.training.subtopics import read_subtopics


def test_a_document_may_be_relevant_to_several(tmp_path: Path) -> None:
    """Grades of 0 and below are not relevant; empty lines are passed over."""
    path = tmp_path / "qrels"
    path.write_text("1 1 a 1\n1 2 a 2\n1 2 b 0\n\n1\t3\tc\t-2\n2 1 c 1\n")
    assert read_subtopics(path) == {"1": {"a": frozenset({"1", "2"})}, "2": {"c": frozenset({"1"})}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1 1 a 1\n1 a 1\n", r":2: expected query, sub-topic, document and grade; got \['1', 'a', '1'\]"),
        ("1 1 a high\n", ":1: expected"),
        ("1 1 a 0\n", "no document is relevant"),
        ("", "no document is relevant"),
    ],
)
def test_what_is_no_judgement_is_named(tmp_path: Path, content: str, reason: str) -> None:
    """With its line."""
    path = tmp_path / "qrels"
    path.write_text(content)
    with pytest.raises(CollectionError, match=reason):
        read_subtopics(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """And one that holds no text."""
    with pytest.raises(CollectionError, match="cannot be read"):
        read_subtopics(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CollectionError, match="cannot be read"):
        read_subtopics(tmp_path / "bytes")

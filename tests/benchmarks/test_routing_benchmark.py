"""A domain of two tracks: what barely answers is no positive."""

from pathlib import Path

from routing import at_least, write_qrels

from retrieval.beir_eval.datasets import read_qrels


def test_lower_grades_are_judged_not_relevant(tmp_path: Path) -> None:
    """They stay judged, and what is written is read as it was."""
    made = at_least({"q": {"a": 3, "b": 1, "c": 2}, "p": {"a": 0}}, 2)
    assert made == {"q": {"a": 3, "b": 0, "c": 2}, "p": {"a": 0}}
    write_qrels(tmp_path / "train.tsv", made)
    assert read_qrels(tmp_path / "train.tsv") == made

"""`--lexical-engine lucene` as a user meets it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval.index.lucene import runtime
from tests.index.lucene.reference import needs_lucene

Cli = Callable[..., Any]

LUCENE = ("--lexical-engine", "lucene")


@needs_lucene
def test_an_index_of_lucenes_is_built_searched_changed_and_verified(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    """By the same commands."""
    answer = cli("index", "build", corpus, "--out", tmp_path / "index", *LUCENE, "--json")
    assert answer.code == 0, answer.err
    part = answer.json["lexical"]
    assert (part["engine"], part["analyzer"], part["k1"], part["b"]) == ("lucene", "anserini-english", 0.9, 0.4)
    assert part["version"]
    assert part["postings"] > part["terms"] > 0
    hits = cli("search", tmp_path / "index", "solar winds (AND", "--json", "--explain").json["hits"]
    assert [hit["id"] for hit in hits] == ["a", "b"]
    info = cli("index", "info", tmp_path / "index").out
    assert f"Lucene {part['version']}, k1 0.9, b 0.4" in info
    assert "lexical 0.0 MB" in info
    assert cli("index", "delete", tmp_path / "index", "a").code == 0
    assert [hit["id"] for hit in cli("search", tmp_path / "index", "solar", "--json").json["hits"]] == ["b"]
    assert cli("index", "verify", tmp_path / "index").code == 0


@needs_lucene
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (0.9, 0.4)),
        (["--bm25", "bm25s"], (1.5, 0.75)),
        (["--bm25", "bm25s", "--b", "0.1"], (1.5, 0.1)),
        (["--k1", "1", "--method", "lucene"], (1.0, 0.4)),
    ],
)
def test_k1_and_b_are_chosen_by_preset_and_parameter(
    options: list[str], expected: tuple[float, float], cli: Cli, corpus: Path, tmp_path: Path
) -> None:
    """Without a word of them they are Anserini's."""
    part = cli("index", "build", corpus, "--out", tmp_path / "index", "--json", *LUCENE, *options).json["lexical"]
    assert (part["k1"], part["b"]) == expected


@pytest.mark.parametrize(
    "option",
    ["--language german", "--method atire", "--delta 1", "--tokenizer words", "--no-stem", "--no-stopwords"],
)
def test_what_lucene_has_not_is_refused(option: str, cli: Cli, corpus: Path, tmp_path: Path) -> None:
    """Rather than passed over."""
    answer = cli("index", "build", corpus, "--out", tmp_path / "index", *LUCENE, *option.split())
    assert answer.code == 2
    assert f"Lucene has no {option.split()[0]}" in answer.err
    assert not (tmp_path / "index").exists()


def test_texts_must_be_kept(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    """Each change analyses them again."""
    answer = cli("index", "build", corpus, "--out", tmp_path / "index", *LUCENE, "--no-store-text")
    assert answer.code == 2
    assert "stored texts" in answer.err


def test_without_the_extra_the_line_that_installs_it_is_shown(
    cli: Cli, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one line, as every hint."""
    monkeypatch.setattr(runtime, "_start", runtime._start.__wrapped__)
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    answer = cli("index", "build", corpus, "--out", tmp_path / "index", *LUCENE)
    assert answer.code == 1
    assert answer.err == (
        "error: Lucene needs the package 'pyserini', which is not installed\n"
        "hint: pip install 'retrieval-engine[lucene]'\n"
    )


@needs_lucene
def test_eval_measures_both_engines(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    """An index of the one does not serve for the other."""
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    corpus.rename(data / "corpus.jsonl")
    (data / "queries.jsonl").write_text('{"_id": "q", "text": "sky glow"}\n')
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    run = ("eval", "run", data, "--out", tmp_path / "out", "--json")
    system = cli(*run, *LUCENE).json["systems"][0]
    assert (system["measures"]["nDCG@10"], system["settings"]["lexical"]["engine"]) == (1.0, "lucene")
    assert "using the index that is there" in cli(*run, *LUCENE).err
    answer = cli(*run)
    assert answer.code == 1
    assert "other lexical settings" in answer.err

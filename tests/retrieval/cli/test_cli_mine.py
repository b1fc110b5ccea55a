"""`retrieval mine`: sources in, files and counts out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval.training.negatives import read_mined

Cli = Callable[..., Any]
Jsonl = Callable[..., Path]


@pytest.fixture
def data(corpus: Path, jsonl: Jsonl) -> Path:
    """A collection over the six documents with two training queries."""
    path = jsonl("data/queries.jsonl", {"_id": "q1", "text": "solar wind"}, {"_id": "q2", "text": "electron"})
    (path.parent / "corpus.jsonl").write_bytes(corpus.read_bytes())
    (path.parent / "qrels").mkdir()
    (path.parent / "qrels" / "train.tsv").write_text("q1\ta\t1\nq2\ttwin-1\t1\n")
    return path.parent


def test_an_index_is_mined(cli: Cli, data: Path, lexical_index: Path, tmp_path: Path) -> None:
    """The table is data, on stdout; the rest is talk. The twin of a positive is no negative."""
    answer = cli("mine", data, "--index", lexical_index, "--out", tmp_path / "out")
    assert answer.code == 0
    assert "near-duplicate" in answer.out
    assert "note: queries without a negative that could be kept: 1 of 2" in answer.err
    assert f"{tmp_path / 'out'}: 1 negatives for 2 queries" in answer.err
    lists = read_mined(tmp_path / "out" / "negatives.jsonl")
    assert {query: [item.id for item in found.negatives] for query, found in lists.items()} == {"q1": ["b"], "q2": []}


def test_options_of_fusion_need_a_source_that_fuses(cli: Cli, data: Path, hybrid_index: Path, tmp_path: Path) -> None:
    """An index of several parts is one, unless each mode of search names one part."""
    options = ("--index", hybrid_index, "--fusion", "rrf", "--depth", 5)
    answer = cli("mine", data, *options, "--using", "lexical,dense", "--out", tmp_path / "out")
    assert answer.code == 2
    assert answer.err.startswith("error: --fusion is for search with several lists\nhint: as --using hybrid")
    assert cli("mine", data, *options, "--out", tmp_path / "out").code == 0


def test_modes_indexes_and_runs_are_sources(cli: Cli, data: Path, hybrid_index: Path, tmp_path: Path) -> None:
    """`--json` prints the counts that mining.json holds."""
    run = tmp_path / "other.trec"
    run.write_text("q1 Q0 c 1 5 tag\nq1 Q0 a 2 4 tag\n")
    out = tmp_path / "out"
    options = ("--index", hybrid_index, "--using", "lexical,dense,hybrid", "--run", run, "--count", 1, "--seed", 3)
    answer = cli("mine", data, *options, "--sample", "top", "--margin-absolute", 0.01, "--json", "--out", out)
    assert answer.code == 0
    assert answer.json["sources"] == ["lexical", "dense", "hybrid", "other"]
    told = json.loads((out / "mining.json").read_text())
    assert answer.json == {name: told[name] for name in answer.json}
    assert told["settings"]["absolute_margin"] == 0.01


def test_ranks_settings_and_splits_are_taken(cli: Cli, data: Path, lexical_index: Path, tmp_path: Path) -> None:
    """A range that begins below the only other hit leaves nothing."""
    out = tmp_path / "out"
    answer = cli("mine", data, "--index", lexical_index, "--first", 3, "--split", "train", "--out", out, "--json")
    assert answer.json["negatives"] == 0
    answer = cli("mine", data, "--index", lexical_index, "--split", "test", "--out", out)
    assert answer.code == 1
    assert "splits here: train" in answer.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--index DIR or --run FILE"),
        (("--run", "RUN", "--using", "dense"), "are for --index"),
        (("--run", "RUN", "--first", 9, "--last", 3), "9 to 3 is an empty range"),
        (("--run", "RUN", "--margin", 0.9, "--margin-absolute", 0.1), "not both"),
        (("--run", "RUN", "--margin-by", "cross-encoder"), "name it: --denoise MODEL"),
        (("--run", "RUN", "--margin", 0.9), "--margin-absolute"),
    ],
)
def test_options_that_cannot_be_used_end_with_a_line(
    options: tuple[object, ...], said: str, cli: Cli, data: Path, tmp_path: Path
) -> None:
    """And exit code 2."""
    run = tmp_path / "run.trec"
    run.write_text("q1 Q0 a 1 -5 tag\nq1 Q0 b 2 -6 tag\n")
    answer = cli("mine", data, *(run if option == "RUN" else option for option in options), "--out", tmp_path / "out")
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_what_the_corpus_lacks_is_an_error_or_skipped(cli: Cli, data: Path, tmp_path: Path) -> None:
    """With the way out, and then the count."""
    run = tmp_path / "run.trec"
    run.write_text("q1 Q0 nowhere 1 5 tag\nq1 Q0 b 2 4 tag\n")
    answer = cli("mine", data, "--run", run, "--out", tmp_path / "out")
    assert answer.code == 1
    assert "document nowhere is not in the corpus" in answer.err
    answer = cli("mine", data, "--run", run, "--out", tmp_path / "out", "--on-error", "skip")
    assert "note: hits that the corpus lacks, left out: 1" in answer.err


def test_a_collection_without_any_candidate_is_told(cli: Cli, data: Path, tmp_path: Path) -> None:
    """An empty table is no crash."""
    run = tmp_path / "run.trec"
    run.write_text("q1 Q0 a 1 5 tag\n")
    answer = cli("mine", data, "--run", run, "--first", 2, "--out", tmp_path / "out")
    assert answer.code == 0
    assert "0 negatives for 2 queries" in answer.err

"""`retrieval eval compare` as a user meets it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
Jsonl = Callable[..., Path]

QRELS = "query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t0\n2\tb\t1\n3\tc\t1\n"


@pytest.fixture
def data(jsonl: Jsonl) -> Path:
    """Three queries and three documents."""
    jsonl("data/queries.jsonl", *({"_id": str(i), "text": f"question {i}"} for i in (1, 2, 3)))
    texts = {"a": "about aurora", "b": "on bread " * 20, "c": "of clouds"}
    folder = jsonl("data/corpus.jsonl", *({"_id": id_, "text": text} for id_, text in texts.items())).parent
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(QRELS)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs: the second finds a for query 1 at the top, and loses c for query 3."""
    one, other = tmp_path / "one.trec", tmp_path / "other.trec"
    one.write_text("1 Q0 b 1 9 t\n1 Q0 a 2 8 t\n2 Q0 b 1 5 t\n3 Q0 c 1 5 t\n")
    other.write_text("1 Q0 a 1 9 t\n1 Q0 b 2 8 t\n2 Q0 b 1 5 t\n3 Q0 a 1 5 t\n")
    return [one, other]


def test_compare_prints_standings_pairs_and_queries(cli: Cli, data: Path, runs: list[Path]) -> None:
    """The table is data; the queries that differ most are shown with texts, grades and a dash for the unjudged."""
    answer = cli("eval", "compare", *runs, "--data", data, "--measures", "RR@10")
    assert answer.code == 0, answer.err
    assert "Judged@10" in answer.out
    for text in ("RR@10: 3 queries", "rank group", "other - one", "1/1/1", "question 3", "question 1", "of clouds"):
        assert text in answer.out
    assert "question 2" not in answer.out
    assert answer.out.index("question 3") < answer.out.index("question 1")
    assert " bread on bre…" in answer.out


def test_compare_as_json_has_everything(cli: Cli, data: Path, runs: list[Path]) -> None:
    """Each measure's comparison, and both lists with grades and whole texts."""
    content = cli(
        "eval", "compare", *runs, "--data", data, "--measures", "RR@10,nDCG@10", "--queries", 1, "--json"
    ).json
    assert [each["measure"] for each in content["comparisons"]] == ["RR@10", "nDCG@10"]
    # Of two hits, one and one of one's, all are judged; of the other's third, none.
    assert [each["judged"] for each in content["comparisons"][0]["standings"]] == pytest.approx([1.0, 2 / 3])
    (pair,) = content["comparisons"][0]["pairs"]
    assert pair["difference"] == pytest.approx((0.5 + 0 - 1) / 3)
    assert (pair["wins"], pair["ties"], pair["losses"]) == (1, 1, 1)
    # Of the four ways to flip the signs of 1/2 and -1, two are as far from 0 as 1/2, and two farther.
    assert pair["randomisation"] == 1.0
    (query,) = content["queries"]
    assert (query["query"], query["text"], query["first"], query["second"]) == ("3", "question 3", 1.0, 0.0)
    assert query["lists"] == [
        *([{"id": "c", "grade": 1, "text": "of clouds"}], [{"id": "a", "grade": None, "text": "about aurora"}])
    ]


def test_the_queries_are_those_of_the_two_best(cli: Cli, data: Path, runs: list[Path], tmp_path: Path) -> None:
    """By their means, whichever were named first."""
    worst = tmp_path / "worst.trec"
    worst.write_text("1 Q0 c 1 9 t\n")
    content = cli("eval", "compare", worst, *runs, "--data", data, "--measures", "RR@10", "--json").json
    assert [query["systems"] for query in content["queries"]] == [["one", "other"], ["one", "other"]]
    assert [query["query"] for query in content["queries"]] == ["3", "1"]
    answer = cli("eval", "compare", worst, *runs, "--data", data, "--measures", "RR@10")
    head = next(line for line in answer.out.splitlines() if "rank " in line and "grade" in line)
    assert [name for name in ("worst", "one", "other") if name in head] == ["one", "other"]


def test_runs_can_be_compared_with_judgements_alone(cli: Cli, data: Path, runs: list[Path]) -> None:
    """Without texts then."""
    answer = cli("eval", "compare", *runs, "--qrels", data / "qrels" / "test.tsv")
    assert answer.code == 0
    assert "other - one" in answer.out
    assert "aurora" not in answer.out


def test_a_run_of_another_collection_is_refused_as_eval_score_does(
    cli: Cli, data: Path, runs: list[Path], tmp_path: Path
) -> None:
    """In the same words, with file and line; skip leaves out what the collection lacks, and says it."""
    for line, told in (("1 Q0 nowhere 3 1 t\n", "document nowhere"), ("9 Q0 a 1 1 t\n", "query 9")):
        strange = tmp_path / "strange.trec"
        strange.write_text(runs[0].read_text() + line)
        scored = cli("eval", "score", data, strange, "--out", tmp_path / "out")
        answer = cli("eval", "compare", strange, runs[1], "--data", data)
        assert (answer.code, answer.out, answer.err) == (1, "", scored.err)
        assert f"{strange}:5: {told} is not in the " in answer.err
        skipped = cli("eval", "compare", strange, runs[1], "--data", data, "--on-error", "skip", "--json")
        assert f"note: {strange}: 1 hit of queries or documents that the collection lacks, left out\n" in skipped.err
        strange.write_text(runs[0].read_text())
        assert skipped.json == cli("eval", "compare", strange, runs[1], "--data", data, "--json").json


def test_evaluated_folders_are_compared(cli: Cli, data: Path, tmp_path: Path) -> None:
    """The systems of eval run, each under its name, by values that it wrote."""
    for preset in ("bm25s", "anserini"):
        assert cli("eval", "run", data, "--out", tmp_path / preset, "--bm25", preset).code == 0
    content = cli("eval", "compare", tmp_path / "bm25s", f"{tmp_path / 'anserini'}:lexical", "--json").json
    names = {standing["name"] for standing in content["comparisons"][0]["standings"]}
    assert names == {f"{tmp_path / 'bm25s'}:lexical", f"{tmp_path / 'anserini'}:lexical"}
    assert content["queries"] == []


def test_judgements_of_another_collection_are_refused(cli: Cli, data: Path, runs: list[Path], tmp_path: Path) -> None:
    """Whose grades and texts would be shown beside ids that mean other documents."""
    assert cli("eval", "score", data, *runs, "--out", tmp_path / "out").code == 0
    assert cli("eval", "compare", tmp_path / "out", "--data", data).code == 0
    (data / "qrels" / "other.tsv").write_text("1\ta\t1\n3\ta\t1\n")
    told = "error: one was measured on queries that are not judged here: 1, as 2\n"
    for judged in (("--data", data, "--split", "other"), ("--qrels", data / "qrels" / "other.tsv")):
        answer = cli("eval", "compare", tmp_path / "out", *judged)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith(told)


def test_what_cannot_be_compared_is_usage(cli: Cli, data: Path, runs: list[Path]) -> None:
    """One system; a run without judgements; both kinds of judgements."""
    assert cli("eval", "compare", runs[0], "--data", data).code == 2
    answer = cli("eval", "compare", *runs)
    assert (answer.code, answer.out) == (2, "")
    assert "hint: give them: --qrels FILE, or --data FOLDER" in answer.err
    assert cli("eval", "compare", *runs, "--data", data, "--qrels", data / "qrels" / "test.tsv").code == 2

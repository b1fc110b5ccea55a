"""`retrieval eval score`, `export` and `import` as a user meets them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rerank.making import write_cross_encoder

Cli = Callable[..., Any]
Jsonl = Callable[..., Path]


@pytest.fixture
def data(corpus: Path, jsonl: Jsonl) -> Path:
    """Two judged queries, one with a document's id, and one that nobody judged."""
    names = ("q1", "b", "unjudged")
    folder = jsonl("data/queries.jsonl", *({"_id": name, "text": "solar wind"} for name in names)).parent
    corpus.rename(folder / "corpus.jsonl")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("q1\tb\t1\nb\ta\t2\n")
    return folder


def test_our_own_run_scores_what_it_scored(cli: Cli, data: Path, tmp_path: Path) -> None:
    """A TREC run that is read again has the values, and the hits, of the system that wrote it."""
    ours = cli("eval", "run", data, "--out", tmp_path / "out", "--json").json["systems"][0]
    answer = cli("eval", "score", data, tmp_path / "out" / "lexical.trec", "--out", tmp_path / "again", "--json")
    assert answer.code == 0, answer.err
    (again,) = answer.json["systems"]
    assert answer.json == json.loads((tmp_path / "again" / "results.json").read_text())
    assert (again["name"], again["measures"], again["per_query"]) == ("lexical", ours["measures"], ours["per_query"])
    assert (tmp_path / "again" / "lexical.trec").read_text() == (tmp_path / "out" / "lexical.trec").read_text()
    assert again["settings"]["run"]["name"] == "lexical.trec"


def test_a_foreign_run_is_measured_by_our_rules(cli: Cli, data: Path, tmp_path: Path) -> None:
    """Ties by id, a query's own document left out, k hits; the table has no speed."""
    run = tmp_path / "theirs, once more.trec"
    run.write_text("b Q0 b 1 9 t\nb Q0 a 2 5 t\nb Q0 c 3 5 t\nunjudged Q0 a 1 1 t\n")
    answer = cli("eval", "score", data, run, "--out", tmp_path / "out", "--measures", "RR@10")
    assert answer.code == 0, answer.err
    assert "theirs" in answer.out
    assert "queries/s" not in answer.out
    assert "note: 1 query with the id of a document, which is left out of its hits: b" in answer.err
    values = json.loads((tmp_path / "out" / "results.json").read_text())["systems"][0]["per_query"]
    assert values == {"q1": {"RR@10": 0.0, "Judged@10": 0.0}, "b": {"RR@10": 0.5, "Judged@10": 0.5}}
    lines = (tmp_path / "out" / "theirs, once more.trec").read_text().splitlines()
    assert [line.split()[2::3] for line in lines] == [["c", "theirs,_once_more"], ["a", "theirs,_once_more"]]


def test_a_run_that_does_not_fit_leaves_nothing(cli: Cli, data: Path, tmp_path: Path) -> None:
    """The line is named; `skip` leaves it out and notes it; a run of none of the queries is an error either way."""
    run = tmp_path / "theirs.trec"
    run.write_text("q1 Q0 b 1 9 t\nq1 Q0 nowhere 2 5 t\n")
    answer = cli("eval", "score", data, run, "--out", tmp_path / "out")
    assert (answer.code, answer.out) == (1, "")
    assert f"{run}:2: document nowhere is not in the corpus" in answer.err
    assert not (tmp_path / "out").exists()
    content = cli("eval", "score", data, run, "--out", tmp_path / "out", "--on-error", "skip", "--json").json
    assert content["systems"][0]["per_query"]["q1"]["RR@10"] == 1.0
    assert any("1 hit of queries or documents" in problem for problem in content["environment"]["problems"])
    run.write_text("unjudged Q0 b 1 9 t\n")
    assert "holds no hit of any judged query" in cli("eval", "score", data, run, "--out", tmp_path / "other").err


def test_a_foreign_run_is_reranked(cli: Cli, data: Path, tmp_path: Path) -> None:
    """Beside the run as it came: the first hits in the model's order, the rest behind."""
    pytest.importorskip("transformers")
    run = tmp_path / "theirs.trec"
    run.write_text("b Q0 c 1 9 t\nb Q0 a 2 5 t\n")
    model = write_cross_encoder(tmp_path / "cross")
    found = cli(
        "eval", "score", data, run, "--out", tmp_path / "out", "--rerank", model, "--rerank-depth", "1", "--json"
    )
    assert found.code == 0, found.err
    plain, reranked = found.json["systems"]
    assert (plain["name"], reranked["name"]) == ("theirs", "theirs+rerank")
    assert reranked["measures"] == plain["measures"]  # one hit has one order
    assert reranked["settings"]["rerank"]["depth"] == 1
    assert reranked["settings"]["run"] == plain["settings"]["run"]
    assert {"p50_ms", "queries_per_second"} <= set(reranked["cost"])
    assert (tmp_path / "out" / "theirs+rerank.trec").is_file()


def test_two_runs_of_one_name_are_refused(cli: Cli, data: Path, tmp_path: Path) -> None:
    """A system is called by its file."""
    answer = cli("eval", "score", data, tmp_path / "x" / "a.trec", tmp_path / "y" / "a.trec", "--out", tmp_path / "out")
    assert (answer.code, answer.err.splitlines()[0].startswith("error: two runs are called 'a'")) == (2, True)


def test_results_are_exported_and_imported(cli: Cli, data: Path, tmp_path: Path) -> None:
    """As MTEB's JSON, a file for each system; nothing is overwritten."""
    ours = cli("eval", "run", data, "--out", tmp_path / "out", "--json").json["systems"][0]
    assert cli("eval", "export", tmp_path / "out", "--out", tmp_path / "mteb").code == 0
    path = tmp_path / "mteb" / "lexical" / "data.json"
    assert json.loads(path.read_text())["scores"]["test"][0]["main_score"] == ours["measures"]["nDCG@10"]
    assert cli("eval", "export", tmp_path / "out", "--out", tmp_path / "mteb").code == 2
    assert cli("eval", "import", path, "--out", tmp_path / "in").code == 0
    (system,) = json.loads((tmp_path / "in" / "results.json").read_text())["systems"]
    assert (system["name"], system["per_query"]) == ("lexical", {})
    assert system["measures"]["R@100"] == ours["measures"]["R@100"]
    board = cli("eval", "leaderboard", tmp_path / "in", "--json")
    assert [(entry["value"], entry["interval"], entry["group"]) for entry in board.json] == [
        *((ours["measures"]["nDCG@10"], None, None),)
    ]
    assert cli("eval", "leaderboard", tmp_path / "in").err.startswith("† imported as a mean: ")
    refused = cli("eval", "compare", tmp_path / "out", tmp_path / "in")
    assert (refused.code, "in:lexical was imported as means: a comparison needs" in refused.err) == (2, True)
    assert "hint: eval leaderboard shows it beside what was measured" in refused.err
    (path.parent / "model_meta.json").write_text('{"name": "/owner/model"}')
    assert cli("eval", "import", path, "--out", tmp_path / "named").code == 0
    assert cli("eval", "export", tmp_path / "named", "--out", tmp_path / "again").code == 0
    assert (tmp_path / "again" / "__owner__model" / "data.json").is_file()
    assert cli("eval", "import", path, "--out", tmp_path / "in").code == 2

"""`retrieval eval reproduce` as a user meets it, and the figures of this repository."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytrec_eval

from retrieval.beir_eval.datasets import load_collection
from retrieval.beir_eval.measures import measure, parse_measures
from retrieval.beir_eval.runs import read_run

Cli = Callable[..., Any]
Jsonl = Callable[..., Path]

FIGURES = Path(__file__).parents[3] / "benchmarks" / "reproduce.yaml"

NAMES = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "RR": "recip_rank", "AP": "map", "P@10": "P_10"}


@pytest.fixture
def file(corpus: Path, jsonl: Jsonl) -> Path:
    """A collection of one query, and what is expected of it."""
    folder = jsonl("data/queries.jsonl", {"_id": "q1", "text": "solar wind glow"}).parent
    corpus.rename(folder / "corpus.jsonl")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("q1\ta\t1\n")
    path = folder.parent / "figures.yaml"
    path.write_text(
        """
conditions:
  - {name: good, command: "run {data}/data --using lexical", expected: {lexical: {RR@10: 1.0}}}
  - {name: near, command: "run {data}/data --using lexical", expected: {lexical: {RR@10: 0.999}}}
  - {name: bad, command: "run {data}/data --using lexical", expected: {lexical: {RR@10: 0.5}, dense: {RR@10: 1.0}}}
  - {name: absent, command: "run {data}/nowhere", expected: {lexical: {RR@10: 1.0}}}
  - {name: failing, command: "run {data}/data --split dev", expected: {lexical: {RR@10: 1.0}}}
  - {name: usage, command: "run {data}/data --nonsense", expected: {lexical: {RR@10: 1.0}}}
"""
    )
    return path


def test_every_figure_is_told_and_a_failure_is_exit_1(cli: Cli, file: Path) -> None:
    """OK, close, FAIL by value, by absence, by an error of the command and by one of usage; skipped is no failure."""
    answer = cli("eval", "reproduce", file, "--json")
    assert answer.code == 1
    told = [(cell["condition"], cell["system"], cell["verdict"]) for cell in answer.json]
    assert told == [
        *(
            ("good", "lexical", "OK"),
            ("near", "lexical", "close"),
            ("bad", "lexical", "FAIL"),
            ("bad", "dense", "FAIL"),
        ),
        *(("absent", "lexical", "skipped"), ("failing", "lexical", "FAIL"), ("usage", "lexical", "FAIL")),
    ]
    assert "no such file" in answer.json[5]["reason"]
    assert f"absent: skipped: {file.parent / 'nowhere'} is not there" in answer.err
    assert "1 OK, 1 close, 4 FAIL, 1 skipped" in answer.err


def test_chosen_conditions_that_hold_are_exit_0(cli: Cli, file: Path, tmp_path: Path) -> None:
    """The table is data, the commands' own tables are talk; --out keeps results for another time."""
    for _ in range(2):
        answer = cli("eval", "reproduce", file, "--only", "good", "--only", "abs*", "--out", tmp_path / "kept")
        assert answer.code == 0, answer.err
        assert "1.0000" in answer.out
        assert "queries/s" not in answer.out
        assert "queries/s" in answer.err
    assert "using the index that is there" in answer.err
    assert (tmp_path / "kept" / "good" / "lexical.trec").is_file()
    assert cli("eval", "reproduce", file, "--data", tmp_path / "elsewhere", "--only", "good").code == 0


def test_the_figures_of_this_repository_are_reproduced(cli: Cli, shared_data: Path, tmp_path: Path) -> None:
    """Those that need no model; and of the same runs pytrec_eval has the same values, query by query, to 1e-9."""
    chosen = ("--only", "lexical-*", "--only", "sparse-*", "--only", "runs-*")
    answer = cli("eval", "reproduce", FIGURES, "--data", shared_data, *chosen, "--out", tmp_path, "--json")
    assert answer.code == 0, answer.err
    assert {cell["verdict"] for cell in answer.json} == {"OK"}
    assert len(answer.json) == 3 * 2 + 3 + 2 + 2 * 6
    agree(shared_data / "scifact", "test", tmp_path / "lexical-scifact")
    agree(shared_data / "nfcorpus", "test", tmp_path / "lexical-nfcorpus")
    for year in ("dl19", "dl20"):
        agree(shared_data / "trec-dl-v1-pool", f"{year}.full", tmp_path / f"runs-{year}")


def agree(data: Path, split: str, results: Path) -> None:
    """Our measures of the runs in a folder are pytrec_eval's."""
    qrels = load_collection(data, split).qrels
    theirs = pytrec_eval.RelevanceEvaluator({query: dict(grades) for query, grades in qrels.items()}, {*NAMES.values()})
    runs = sorted(results.glob("*.trec"))
    assert runs
    for path in runs:
        run = read_run(path)
        expected = theirs.evaluate(run)
        _, per_query = measure(qrels, run, parse_measures(NAMES))
        for query, values in per_query.items():
            wanted = {name: expected.get(query, {}).get(other, 0.0) for name, other in NAMES.items()}
            assert values == pytest.approx(wanted, abs=1e-9), (path, query)

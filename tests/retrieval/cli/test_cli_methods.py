"""`retrieval train` for dense encoders and cross-encoders, and what they are for, end to end on a tiny task."""

import json
from pathlib import Path

import pytest

pytest.importorskip("accelerate")

from tests.retrieval.cli.conftest import Cli
from tests.training.making import make_collection, make_dense, make_run

SMALL = ("--steps", 4, "--batch", 6, "--threads", 1, "--device", "cpu")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A folder with data, runs of both splits, and a dense encoder."""
    make_collection(tmp_path / "data")
    make_run(tmp_path / "run.trec", tmp_path / "data")
    make_run(tmp_path / "test.trec", tmp_path / "data", split="test")
    make_dense(tmp_path / "dense")
    return tmp_path


@pytest.mark.parametrize("method", ["dense", "star", "adore", "ar2", "rocketqa", "cet", "pair", "tas-b"])
def test_each_method_has_a_command(cli: Cli, task: Path, method: str) -> None:
    """Its model searches better or worse, but it is there, with a log and, where wanted, curves."""
    more = ("--ranker", task / "dense", "--ranker-warmup", 1) if method in ("ar2", "rocketqa") else ()
    more = (
        ("--teacher-run", task / "run.trec", "--negatives", task / "run.trec", "--mined", 0)
        if method == "tas-b"
        else more
    )
    answer = cli(
        *("train", method, task / "data", "--model", task / "dense", "--out", task / "out"),
        *("--hold-out", 0.2, "--plot", "--json", *SMALL, *more),
    )
    assert answer.code == 0, answer.err
    assert answer.json["best"]["step"] in (0, 4)
    assert (task / "out" / "curves.png").is_file()
    assert (task / "out" / "log.jsonl").is_file()
    found = cli(
        "eval", "run", task / "data", "--using", "dense", "--dense", task / "out" / "model", "--out", task / "eval"
    )
    assert found.code == 0, found.err


def test_a_job_of_rounds_is_run(cli: Cli, task: Path) -> None:
    """With data and model of the command line; the same command again does nothing more."""
    job = task / "job.toml"
    job.write_text(
        'data = ["nowhere"]\nmodel = "none"\nbatch = 6\n'
        '[[round]]\nmethod = "dense"\nsteps = 2\n[[round]]\nmethod = "star"\nsteps = 2\nmined = 5\n'
    )
    command = ("train", "rounds", job, "--out", task / "job", "--data", task / "data", "--model", task / "dense")
    for _ in range(2):
        answer = cli(*command, "--device", "cpu", "--plot", "--json")
        assert answer.code == 0, answer.err
        assert [Path(one["model"]).parent.name for one in answer.json] == ["1-dense", "2-star"]
    assert (task / "job" / "2-star" / "curves.png").is_file()


def test_an_index_takes_a_query_encoder(cli: Cli, task: Path) -> None:
    """And shows it; one of other documents is refused."""
    for method in ("adore", "dense"):
        trained = cli("train", method, task / "data", "--model", task / "dense", "--out", task / method, *SMALL)
        assert trained.code == 0, trained.err
    built = cli("index", "build", task / "data", "--out", task / "index", "--dense", task / "dense", "--device", "cpu")
    assert built.code == 0, built.err
    changed = cli("index", "query-encoder", task / "index", task / "adore" / "model", "--device", "cpu")
    assert changed.code == 0, changed.err
    assert str(task / "adore" / "model") in cli("index", "info", task / "index").out
    refused = cli("index", "query-encoder", task / "index", task / "dense" / "model", "--device", "cpu")
    assert refused.code == 1
    assert "is not the one the index was built with" in refused.err
    back = cli("index", "query-encoder", task / "index")
    assert back.code == 0, back.err
    assert str(task / "adore" / "model") not in cli("index", "info", task / "index").out


@pytest.mark.parametrize("kind", ["cross-encoder", "set-encoder"])
def test_a_reranker_is_trained_and_reranks(cli: Cli, task: Path, kind: str) -> None:
    """From the command line to a search and an evaluation."""
    trained = cli(
        *("train", kind, task / "data", "--model", task / "dense", "--out", task / "cross", *SMALL),
        *("--negatives", task / "run.trec", "--dev", "test", "--dev-run", task / "test.trec", "--json"),
        *("--pair-length", 16),
    )
    assert trained.code == 0, trained.err
    model = Path(trained.json["model"])
    without = cli(
        *("train", kind, task / "data", "--model", task / "dense", "--out", task / "none", *SMALL),
        *("--dev", "test"),
    )
    assert without.code == 2
    assert "--dev-run" in without.err
    assert cli("index", "build", task / "data", "--out", task / "index").code == 0
    query = "d1x1 d1x2 d2x3"
    plain = cli("search", task / "index", query, "--json", "--device", "cpu")
    found = cli("search", task / "index", query, "--rerank", model, "--rerank-depth", 20, "--json", "--device", "cpu")
    assert found.code == 0, found.err
    assert "rerank" in found.json["hits"][0]["signals"]
    assert plain.json["hits"]
    results = cli(
        *("eval", "run", task / "data", "--using", "lexical", "--rerank", model, "--device", "cpu"),
        *("--out", task / "eval", "--json"),
    )
    assert results.code == 0, results.err
    assert [system["name"] for system in results.json["systems"]] == ["lexical", "lexical+rerank"]
    exact = ("--rerank-precision", "fp32", "--device", "cpu", "--json")
    single = cli("search", task / "index", query, "--rerank", model, *exact)
    assert single.json["hits"][0]["signals"].keys() == {"lexical", "rerank"}
    idle = cli("search", task / "index", query, "--rerank-precision", "int8")
    assert (idle.code, "--rerank-precision is for --rerank MODEL" in idle.err) == (2, True)
    wrong = cli("search", task / "index", query, "--rerank", task / "dense", "--device", "cpu")
    assert wrong.code == 1
    assert "Traceback" not in wrong.err


def test_subtopics_make_a_set_encoder_novelty_aware(cli: Cli, task: Path) -> None:
    """Where RankNet has a weight, or a novelty head; a cross-encoder has no use for them."""
    path = task / "subtopics.qrels"
    hits = [line.split() for line in (task / "run.trec").read_text().splitlines()]
    path.write_text("".join(f"{query} 1 {document} 1\n" for query, _, document, *_ in hits))
    common = (task / "data", "--model", task / "dense", *SMALL, "--pair-length", 16, "--subtopics", path)
    common = (*common, "--negatives", task / "run.trec")
    trained = cli("train", "set-encoder", *common, "--out", task / "novel", "--rank-net", 1, "--softmax", 0)
    assert trained.code == 0, trained.err
    headed = cli("train", "set-encoder", *common, "--out", task / "headed", "--novelty", 1)
    assert headed.code == 0, headed.err
    losses = [json.loads(line) for line in (task / "headed" / "log.jsonl").read_text().splitlines()]
    assert all(line["novelty"] > 0 for line in losses if "loss" in line)
    without = cli("train", "set-encoder", *common, "--out", task / "none")
    assert (without.code, "--rank-net 1" in without.err) == (2, True)
    path.write_text("1 2 3\n")
    broken = cli("train", "set-encoder", *common, "--out", task / "broken", "--rank-net", 1)
    assert (broken.code, "subtopics.qrels:1: expected query" in broken.err) == (1, True)
    other = cli("train", "cross-encoder", *common, "--out", task / "other")
    assert (other.code, "No such option" in other.err) == (2, True)

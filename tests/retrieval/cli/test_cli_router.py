"""Routers from the command line: trained, changed, shown, measured, and searched with."""

import json
from pathlib import Path

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("peft")
pytest.importorskip("sklearn")

from tests.retrieval.cli.conftest import Cli
from tests.retrieval.learning.routers.making import make_domain
from tests.training.making import make_dense

SMALL = ("--steps", 2, "--batch", 5, "--threads", 1, "--device", "cpu")
QUERY = "q0x1 q0x2 d0x0 d0x0"


@pytest.fixture
def task(cli: Cli, tmp_path: Path) -> Path:
    """A folder with a base, two domains, and an index of both."""
    make_dense(tmp_path / "base", dropout=0.0)
    a, b = make_domain(tmp_path / "a", (0, 1, 2)), make_domain(tmp_path / "b", (3, 4, 5))
    given = ("--dense", tmp_path / "base", "--device", "cpu")
    built = cli("index", "build", a / "corpus.jsonl", b / "corpus.jsonl", "--out", tmp_path / "index", *given)
    assert built.code == 0, built.err
    return tmp_path


def test_a_router_over_experts(cli: Cli, task: Path) -> None:
    """Trained for one domain, given another, asked, measured, and left with one again."""
    index = ("--index", task / "index")
    trained = cli(
        *("train", "router", task / "a", "--model", task / "base", "--out", task / "router", *index, *SMALL, "--json")
    )
    assert trained.code == 0, trained.err
    assert [expert["name"] for expert in trained.json["experts"]] == ["a"]
    assert "expert a: " in trained.err
    added = cli("router", "add", task / "router", task / "b", *index, *SMALL)
    assert added.code == 0, added.err
    shown = cli("router", "info", task / "router")
    assert "best on b" in shown.out
    assert cli("router", "info", task / "router", "--json").json["aggregate"] == "mean"
    asked = cli(
        "search", task / "index", QUERY, "--using", "routed", "--router", task / "router", "--explain", "--json"
    )
    assert asked.code == 0, asked.err
    route = asked.json["route"]
    assert set(route["scores"]) == {"a", "b"}
    assert route["choice"] == max(route["scores"], key=route["scores"].get)
    assert set(asked.json["hits"][0]["signals"]) == {"dense"}
    told = cli("search", task / "index", QUERY, "--using", "routed", "--router", task / "router", "--explain")
    assert told.out.startswith(f"{route['choice']} answers: a ")
    assert "margin" in told.out
    report = cli("router", "eval", task / "router", task / "a", task / "b", "--device", "cpu", "--out", task / "r.json")
    assert report.code == 0, report.err
    assert "instance oracle" in report.out
    assert [part["name"] for part in json.loads((task / "r.json").read_text())["datasets"]] == ["a", "b"]
    assert cli("router", "eval", task / "router", task / "a", "--rerank", "m", "--device", "cpu").code == 2
    aside = cli("router", "eval", task / "router", task / "a", "--margin", 9, "--device", "cpu", "--json")
    assert aside.json["mean"]["fallback"] == 1
    run = cli(
        *("eval", "run", task / "a", *index, "--using", "dense,routed", "--router", task / "router"),
        *("--on-error", "skip", "--out", task / "results", "--device", "cpu", "--json"),
    )
    assert run.code == 0, run.err
    assert [system["name"] for system in run.json["systems"]] == ["dense", "routed"]
    assert cli("router", "remove", task / "router", "b").code == 0
    assert (task / "router" / "experts" / "a").is_dir()


def test_a_router_over_systems(cli: Cli, task: Path) -> None:
    """Trained, shown, asked and measured."""
    index = ("--index", task / "index")
    trained = cli(
        *("train", "system-router", task / "a", *index, "--using", "lexical,dense,hybrid", "--out", task / "router"),
        *("--device", "cpu", "--json"),
    )
    assert trained.code == 0, trained.err
    assert [system["name"] for system in trained.json["systems"]] == ["lexical", "dense", "hybrid"]
    assert "largest_idf" in cli("router", "info", task / "router").out
    asked = cli("search", task / "index", QUERY, "--using", "routed", "--router", task / "router", "--explain")
    assert asked.code == 0, asked.err
    assert " answers: lexical " in asked.out
    report = cli("router", "eval", task / "router", task / "a", *index, "--device", "cpu")
    assert report.code == 0, report.err
    assert "ms/query" in report.out


def test_models_that_no_route_leads_to_are_not_asked_for(cli: Cli, task: Path) -> None:
    """Such as that of sparse vectors that came from elsewhere; one that has moved is named, where it is needed."""
    vectors = [{"id": f"{name}-d{n}", "vector": {"sun": n + 1}} for name in "ab" for n in range(30)]
    (task / "vectors.jsonl").write_text("".join(json.dumps(one) + "\n" for one in vectors))
    corpora, dense = (task / "a" / "corpus.jsonl", task / "b" / "corpus.jsonl"), ("--dense", task / "base")
    given = (*dense, "--sparse-vectors", task / "vectors.jsonl", "--device", "cpu")
    assert cli("index", "build", *corpora, "--out", task / "full", *given).code == 0
    index = ("--index", task / "full")
    train = ("train", "system-router", task / "a", *index, "--using", "lexical,lexical+dense", "--device", "cpu")
    assert cli(*train, "--out", task / "systems").code == 0
    train = ("train", "router", task / "a", *index, "--model", task / "base", *SMALL)
    assert cli(*train, "--out", task / "experts").code == 0
    for router in ("systems", "experts"):
        run = ("eval", "run", task / "a", *index, "--using", "routed", "--router", task / router, "--on-error", "skip")
        answer = cli(*run, "--out", task / "results", "--device", "cpu", "--json")
        assert answer.code == 0, answer.err
        assert answer.json["systems"][0]["cost"]["parameters"] > 0
        assert "has not learned" not in answer.err
    moved = (task / "base").rename(task / "moved")
    for router in ("systems", "experts"):
        measured = ("router", "eval", task / router, task / "a", *index, "--device", "cpu")
        assert cli(*measured).code == 1
        assert cli(*measured, "--dense", moved).code == 0


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("search", "{task}/index", "a question", "--using", "routed"), 2, "--router DIR"),
        (("search", "{task}/index", "a question", "--using", "routed", "--router", "{task}"), 1, "no router at"),
        (("eval", "run", "{task}/a", "--router", "{task}", "--out", "{task}/out"), 2, "go together"),
        (("router", "info", "{task}"), 1, "no router at"),
        (("router", "remove", "{task}", "a"), 1, "no router at"),
        (("train", "router", "{task}/a", "{task}/a", "--model", "m", "--out", "{task}/out"), 2, "two experts"),
        (("train", "router", "{task}/a", "--model", "m", "--lora", "0", "--out", "{task}/out"), 2, "lora must be"),
        (
            ("train", "system-router", "{task}/a", "--index", "{task}/index", "--using", "dense", "--out", "{task}/o"),
            2,
            "several systems",
        ),
        (
            ("train", "system-router", "{task}/a", "--index", "{task}/index", "--using", "a,b", "--out", "{task}/o"),
            2,
            "using must be one of",
        ),
        (("mine", "{task}/a", "--index", "{task}/index", "--using", "routed", "--out", "{task}/o"), 2, "using must be"),
    ],
)
def test_what_cannot_be_ends_with_a_line(cli: Cli, task: Path, command: tuple[str, ...], code: int, said: str) -> None:
    """Exit code 2 for an option, 1 for anything else, and no traceback."""
    answer = cli(*(part.format(task=task) for part in command))
    assert answer.code == code, answer.err
    assert said in answer.err
    assert "Traceback" not in answer.err

"""A file of runs names commands that there are, and its report says what of them has finished."""

import argparse
import importlib
import shlex
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from gains import Run, commands, main, perform, read
from gains_report import show

from retrieval.beir_eval.suites import read_suite
from retrieval.cli import app

FILE = Path(__file__).parents[2] / "benchmarks" / "gains.toml"


def options(out: Path) -> argparse.Namespace:
    """Where everything is."""
    return argparse.Namespace(out=out, data=Path("data"), pooled=Path("pooled"))


def parsed(line: str) -> Any:
    """A command's options as the command line, or a script, reads them; nothing is run."""
    script, *words = shlex.split(line)
    if script.endswith(".py"):
        return importlib.import_module(script.removesuffix(".py")).parse(words)
    group: Any = typer.main.get_command(app)
    name, words = "retrieval", shlex.split(line)
    while hasattr(group, "commands"):
        name, group, words = words[0], group.commands[words[0]], words[1:]
    return group.make_context(name, words)


def test_every_command_of_the_file_is_one(tmp_path: Path) -> None:
    """No word is left in braces, and no option is unknown."""
    runs, words = read(FILE)
    for run in runs:
        lines = list(commands(run, run.seeds[-1], runs, words, options(tmp_path)))
        assert not any("{" in line for line in lines)
        assert [parsed(line) for line in lines]


def test_a_pool_that_is_not_there_is_said_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not hours later, and not as a folder that is called None."""
    words = ["gains.py", str(FILE), "--out", str(tmp_path / "out"), "--only", "scifact/zero-shot", "pooled"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit, match="give --pooled"):
        main()
    assert not (tmp_path / "out").exists()


def test_the_suite_looks_for_models_where_a_run_puts_them(tmp_path: Path) -> None:
    """What `{models}` stands for in suites/shared.toml is the folder of all runs."""
    runs, words = read(FILE)
    lines = {run.name: " ".join(commands(run, 0, runs, words, options(tmp_path))) for run in runs}
    suite = read_suite(FILE.parents[1] / "suites" / "shared.toml")
    wanted = [
        (dataset.name, value)
        for dataset, system in suite.cells()
        for value in vars(system).values()
        if isinstance(value, str) and value.startswith("{models}/")
    ]
    assert wanted
    for dataset, value in wanted:
        path = Path(value.replace("{models}", str(tmp_path)).replace("{dataset}", dataset))
        name, seed, trained = path.relative_to(tmp_path).as_posix().split("/", 3)[1:]
        assert (
            f"--out {tmp_path / dataset / name / seed / trained.removesuffix('/model')}" in lines[f"{dataset}/{name}"]
        )


def test_each_run_is_compared_with_one_that_there_is() -> None:
    """And has a name of its own."""
    runs, _ = read(FILE)
    names = [run.name for run in runs]
    assert len(set(names)) == len(names)
    assert {run.versus for run in runs} <= {None, *names}


def test_commands_that_were_run_are_not_run_again(tmp_path: Path) -> None:
    """Nor are others taken for them."""
    perform(tmp_path, ["--version"])
    first = (tmp_path / "run.json").read_bytes()
    perform(tmp_path, ["--version"])
    assert (tmp_path / "run.json").read_bytes() == first
    with pytest.raises(SystemExit, match="a run with other commands"):
        perform(tmp_path, ["--help"])


def finished(folder: Path, scores: dict[str, float]) -> None:
    """What a run leaves."""
    (folder / "test").mkdir(parents=True)
    mean = sum(scores.values()) / len(scores)
    per_query = {query: {"nDCG@10": score} for query, score in scores.items()}
    system = {"name": "dense", "measures": {"nDCG@10": mean}, "per_query": per_query}
    (folder / "test" / "results.json").write_bytes(orjson.dumps({"systems": [system]}))
    (folder / "run.json").write_bytes(orjson.dumps({"commands": [{"command": "x", "seconds": 120.0}]}))


def test_the_report_averages_seeds_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that has not finished is left out, and so is a comparison with it."""
    runs = [
        Run(name="a", commands=[]),
        Run(name="b", commands=[], seeds=[0, 1], versus="a"),
        Run(name="c", commands=[], versus="a"),
        Run(name="d", commands=[], versus="b"),
    ]
    queries = [f"q{number}" for number in range(20)]
    finished(tmp_path / "a" / "0", dict.fromkeys(queries, 0.2))
    finished(tmp_path / "b" / "0", dict.fromkeys(queries, 0.3))
    finished(tmp_path / "b" / "1", dict.fromkeys(queries, 0.5))
    finished(tmp_path / "d" / "0", dict.fromkeys(queries, 0.4))
    show(runs, tmp_path, tmp_path / "report.json")
    report = orjson.loads((tmp_path / "report.json").read_bytes())
    assert report.keys() == {"a", "b", "d"}
    assert report["b"]["systems"]["dense"] == pytest.approx([0.3, 0.5])
    assert report["b"]["against"]["difference"] == pytest.approx(0.2)
    assert report["b"]["against"]["p"] < 0.001
    assert report["d"]["against"]["difference"] == pytest.approx(0.1)  # from the seed that it begins with
    assert report["b"]["minutes"] == 2.0
    assert "0.4000" in capsys.readouterr().out

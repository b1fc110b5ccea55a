"""Suites as a user runs them: each cell in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval.index.storage.lock import WriterLock
from retrieval.routing.manifest import System, SystemsManifest, write_router
from retrieval.routing.systems import FEATURES
from tests.rerank.making import write_cross_encoder

Cli = Callable[..., Any]
Jsonl = Callable[..., Path]

LEXICAL = """
[[system]]
name = "bm25"
using = "lexical"

[[system]]
name = "bm25-anserini"
using = "lexical"
bm25 = "anserini"
"""

THEIRS = """
[[system]]
name = "theirs"
run = "{dataset}.trec"
"""

SETS = """
measures = ["nDCG@10", "R@10"]

[[dataset]]
name = "night"
folder = "data"
"""


@pytest.fixture
def data(corpus: Path, jsonl: Jsonl) -> Path:
    """A folder with a collection over the six documents, and a run that somebody made for it."""
    jsonl("data/queries.jsonl", {"_id": "q1", "text": "solar wind glow"}, {"_id": "q2", "text": "magnetic storm"})
    folder = corpus.parent / "data"
    corpus.rename(folder / "corpus.jsonl")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("q1\ta\t1\nq2\tb\t1\n")
    (corpus.parent / "night.trec").write_text("q1 Q0 b 1 2.0 x\nq1 Q0 a 2 1.0 x\nq2 Q0 b 1 1.0 x\n")
    return corpus.parent


def suite(data: Path, *parts: str) -> Path:
    """The suite's file."""
    path = data / "suite.toml"
    path.write_text("".join(parts))
    return path


def cell(out: Path, system: str, dataset: str = "night") -> Any:
    """The results of a cell."""
    return json.loads((out / "cells" / dataset / system / "results.json").read_text())


def test_a_suite_runs_every_system_on_every_set(cli: Cli, data: Path, tmp_path: Path) -> None:
    """A folder for each cell, as `eval run` fills one, under the names of the suite; and what it says can be a page."""
    out = tmp_path / "out"
    answer = cli("eval", "run", suite(data, SETS, LEXICAL, THEIRS), "--out", out, "--jobs", 2)
    assert answer.code == 0, answer.err
    for name in ("bm25", "bm25-anserini", "theirs"):
        assert f"night, {name}: done\n" in answer.err
        content = cell(out, name)
        assert (content["dataset"], content["systems"][0]["name"]) == ("night", name)
        assert (out / "cells" / "night" / name / f"{name}.trec").is_file()
        assert content["systems"][0]["measures"]["R@10"] == 1.0
        assert 0 < content["systems"][0]["measures"]["Judged@10"] < 1
    assert "Judged@10" in answer.out
    assert cell(out, "theirs")["systems"][0]["measures"]["nDCG@10"] == pytest.approx((1 / 1.584962500721156 + 1) / 2)
    cost = cell(out, "bm25")["systems"][0]["cost"]
    assert cost["index_bytes"] > 0
    assert cost["build_seconds"] > 0
    assert 0 < cost["p50_ms"] <= cost["p99_ms"]
    assert cost["peak_memory_bytes"] > 1 << 20
    page = tmp_path / "report.html"
    answer = cli("eval", "leaderboard", out, "--out", page, "--tables", tmp_path / "tables", "--json")
    assert answer.code == 0, answer.err
    assert {entry["system"] for entry in answer.json} == {"bm25", "bm25-anserini", "theirs"}
    assert "bm25-anserini" in page.read_text()
    assert (tmp_path / "tables" / "table.tex").is_file()


def without_times(out: Path) -> dict[str, Any]:
    """The content of every file of the cells, but for what was timed."""
    found: dict[str, Any] = {}
    for path in sorted((out / "cells").rglob("*.*")):
        content = path.read_bytes()
        if path.suffix == ".json":
            parsed = json.loads(content)
            for system in parsed["systems"]:
                for name in ("seconds", "_ms", "per_second", "memory_bytes"):
                    system["cost"] = {key: value for key, value in system["cost"].items() if name not in key}
            content = json.dumps(parsed).encode()
        found[str(path.relative_to(out))] = content
    return found


def test_two_runs_of_a_suite_give_equal_files_but_for_times(cli: Cli, data: Path, tmp_path: Path) -> None:
    """Runs to the byte; results to the byte, once times and memory are taken out."""
    path = suite(data, SETS, LEXICAL, THEIRS)
    for name in ("first", "second"):
        assert cli("eval", "run", path, "--out", tmp_path / name).code == 0
    first, second = without_times(tmp_path / "first"), without_times(tmp_path / "second")
    assert len(first) == 6
    assert first == second


def test_a_killed_suite_goes_on_and_finished_cells_stay(cli: Cli, data: Path, tmp_path: Path) -> None:
    """They are not run again; those that are lacking are, with the indexes that are there."""
    path, out = suite(data, SETS, LEXICAL), tmp_path / "out"
    cli("eval", "run", path, "--out", out)
    stays, lacks = (out / "cells" / "night" / name / "results.json" for name in ("bm25", "bm25-anserini"))
    before = stays.stat().st_mtime_ns
    lacks.unlink()
    answer = cli("eval", "run", path, "--out", out)
    assert "night, bm25: there already\nnight, bm25-anserini: done\n" in answer.err
    assert stays.stat().st_mtime_ns == before
    assert cell(out, "bm25-anserini")["systems"][0]["cost"]["build_seconds"] > 0


def test_a_suite_that_is_killed_at_once_can_be_run_again_at_once(cli: Cli, data: Path, tmp_path: Path) -> None:
    """By SIGKILL, as soon as its first cell is there: no process is left behind that holds an index."""
    path, out = suite(data, SETS, LEXICAL), tmp_path / "out"
    command = [sys.executable, "-m", "retrieval", "eval", "run", str(path), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out / "cells" / "night" / "bm25" / "results.json").is_file():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    answer = cli("eval", "run", path, "--out", out)
    assert answer.code == 0, answer.err
    assert "night, bm25: there already\n" in answer.err
    assert cell(out, "bm25-anserini")["systems"][0]["measures"]["R@10"] == 1.0


def test_results_of_other_settings_are_not_taken_for_these(cli: Cli, data: Path, tmp_path: Path) -> None:
    """What differs is told. Nor is a run whose file has changed, or a damaged file; --overwrite replaces them."""
    out = tmp_path / "out"
    cli("eval", "run", suite(data, SETS, THEIRS), "--out", out)
    refused = cli("eval", "run", suite(data, SETS, "keep_self = true\n", THEIRS), "--out", out)
    assert refused.code == 1
    assert "results of other settings: suite.dataset.keep_self was null, is true\nhint: name another" in refused.err
    (data / "night.trec").write_text("q1 Q0 a 1 1.0 x\n")
    refused = cli("eval", "run", suite(data, SETS, THEIRS), "--out", out)
    assert refused.code == 1
    assert "theirs: measured before these changed: run (48 bytes then, 16 now)\nhint: name another" in refused.err
    assert cli("eval", "run", data / "suite.toml", "--out", out, "--overwrite").code == 0
    assert cell(out, "theirs")["systems"][0]["measures"]["R@10"] == 0.5
    (out / "cells" / "night" / "theirs" / "results.json").write_text("{")
    refused = cli("eval", "run", data / "suite.toml", "--out", out)
    assert (refused.code, "replace them: --overwrite" in refused.err) == (1, True)
    assert cli("eval", "run", data / "suite.toml", "--out", out, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("corpus.jsonl", b"{}", "corpus ("),
        ("queries.jsonl", None, "queries (not there now)"),
        ("qrels/test.tsv", b"q1\ta\t1\nq2\tb\t2\n", "judgements (other content)"),
    ],
)
def test_a_collection_that_has_changed_is_noticed(
    cli: Cli, data: Path, tmp_path: Path, file: str, content: bytes | None, told: str
) -> None:
    """By the size and content of its files, before anything runs; what was measured stays as it is."""
    out, path = tmp_path / "out", data / "data" / file
    cli("eval", "run", suite(data, SETS, THEIRS), "--out", out)
    before = (out / "cells" / "night" / "theirs" / "results.json").read_bytes()
    path.unlink()
    if content:
        path.write_bytes(content)
    refused = cli("eval", "run", data / "suite.toml", "--out", out)
    assert refused.code == 1
    assert told in refused.err
    assert (out / "cells" / "night" / "theirs" / "results.json").read_bytes() == before


def test_one_suite_at_a_time_writes_to_a_folder(cli: Cli, data: Path, tmp_path: Path) -> None:
    """Another is told who is at work."""
    out = tmp_path / "out"
    out.mkdir()
    with WriterLock(out):
        answer = cli("eval", "run", suite(data, SETS, THEIRS), "--out", out)
    assert answer.code == 1
    assert f"error: {out} is being written by process {os.getpid()} on " in answer.err


MODELS = """
[[system]]
name = "hybrid"
using = "lexical+dense"
dense = "{models}/{dataset}/dense"
precision = "fp32"

[[system]]
name = "asked-by-another"
using = "dense"
dense = "{models}/{dataset}/dense"
query_encoder = "{models}/copy"
precision = "fp32"

[[system]]
name = "reranked"
using = "lexical"
rerank = "{models}/cross"
rerank_depth = 5
rerank_precision = "fp32"

[[system]]
name = "routed"
using = "routed"
router = "{models}/router"
dense = "{models}/{dataset}/dense"
precision = "fp32"
"""


def make_models(folder: Path, tiny_model: Path) -> Path:
    """A folder with what these systems need: a router that always chooses hybrid, and knows of no index."""
    for name in ("night/dense", "copy"):
        shutil.copytree(tiny_model, folder / name)
    write_cross_encoder(folder / "cross")
    zeros, names = [0.0] * len(FEATURES), ("lexical", "lexical+dense")
    systems = [System(name=name, milliseconds=1, intercept=i, coefficients=zeros) for i, name in enumerate(names)]
    router = SystemsManifest(
        systems=systems,
        base="lexical",
        features=list(FEATURES),
        means=zeros,
        scales=[1.0] * len(FEATURES),
        parts={},
        queries={},
        fingerprints=[],
    )
    write_router(folder / "router", router)
    return folder


def test_models_of_a_folder_rerank_route_and_encode(cli: Cli, data: Path, tmp_path: Path, tiny_model: Path) -> None:
    """As `eval run` has them do; the results tell which they were, and all share one index."""
    models, out = make_models(tmp_path / "models", tiny_model), tmp_path / "out"
    answer = cli("eval", "run", suite(data, SETS, MODELS), "--models", models, "--out", out, "--device", "cpu")
    assert answer.code == 0, answer.err
    found = {name: cell(out, name)["systems"][0] for name in ("hybrid", "asked-by-another", "reranked", "routed")}
    assert found["routed"]["per_query"] == found["hybrid"]["per_query"]
    assert found["routed"]["settings"]["router"]["base"] == "lexical"
    assert found["reranked"]["settings"]["rerank"]["depth"] == 5
    assert found["reranked"]["settings"]["rerank"]["model"]["precision"] == "float32"
    assert found["routed"]["cost"]["parameters"] > 0
    assert len(list((out / "indexes" / "night").iterdir())) == 1


def test_without_a_folder_of_models_what_needs_it_is_left_out(cli: Cli, data: Path, tmp_path: Path) -> None:
    """With a note; where nothing is left, it is an error."""
    answer = cli("eval", "run", suite(data, SETS, THEIRS, MODELS), "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    need = "hybrid, asked-by-another, reranked, routed: in a folder of models, which --models DIR names"
    assert answer.err.startswith(f"note: left out: {need}\n")
    assert [path.name for path in (tmp_path / "out" / "cells" / "night").iterdir()] == ["theirs"]
    answer = cli("eval", "run", suite(data, SETS, MODELS), "--out", tmp_path / "out")
    assert (answer.code, answer.err) == (2, f"error: {need}\n")


def test_a_cell_that_fails_is_told_and_keeps_no_other_from_running(cli: Cli, data: Path, tmp_path: Path) -> None:
    """The command fails in the end, with the first error's words."""
    (data / "night.trec").write_text("q1 Q0 a\n")
    answer = cli("eval", "run", suite(data, SETS, THEIRS, LEXICAL), "--out", tmp_path / "out")
    assert answer.code == 1
    assert "night, bm25: done" in answer.err
    assert "error: night, theirs: " in answer.err
    assert "night.trec:1: expected query, Q0" in answer.err
    assert not (tmp_path / "out" / "cells" / "night" / "theirs").exists()


@pytest.mark.parametrize("setting", ['fusion = "rrf"', "weights = { lexical = 2.0 }", "depth = 10"])
@pytest.mark.parametrize("using", ["lexical", "hybrid"])
def test_a_system_that_fuses_nothing_has_no_fusion(
    cli: Cli, data: Path, tmp_path: Path, setting: str, using: str
) -> None:
    """Nor weights nor a depth: they would change nothing, and be credited. Told before anything runs."""
    system = f'\n[[system]]\nname = "alone"\nusing = "{using}"\n{setting}\n'
    answer = cli("eval", "run", suite(data, SETS, LEXICAL, system), "--out", tmp_path / "out")
    told = f"error: system 'alone': {setting.split()[0]} is for a system that searches several lists\n"
    assert (answer.code, answer.err) == (2, told)
    assert not (tmp_path / "out").exists()


def test_a_weight_of_a_list_that_a_system_has_not_is_told_before_anything_runs(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    """It was told when the index had been built."""
    (data / "vectors.jsonl").write_text("")
    system = (
        '\n[[system]]\nname = "two"\nusing = "hybrid"\nsparse_vectors = "vectors.jsonl"\nweights = { dense = 2.0 }\n'
    )
    answer = cli("eval", "run", suite(data, SETS, LEXICAL, system), "--out", tmp_path / "out")
    told = "error: system 'two': a weight is given for 'dense'; the lists are lexical, sparse\n"
    assert (answer.code, answer.err) == (2, told)
    assert not (tmp_path / "out").exists()


def test_settings_stand_in_the_suite(cli: Cli, data: Path, tmp_path: Path) -> None:
    """Beside it they would be ignored; what is for a suite does not go with a folder."""
    answer = cli("eval", "run", suite(data, SETS, LEXICAL), "--out", tmp_path / "out", "--using", "lexical")
    assert (answer.code, answer.err) == (
        2,
        "error: --using stands in the suite, where each system can have its own\n",
    )
    answer = cli("eval", "run", data / "data", "--out", tmp_path / "out", "--jobs", 2)
    assert (answer.code, answer.err) == (2, "error: --data, --models and --jobs are for a suite, which is a .toml\n")

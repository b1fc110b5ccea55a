"""`retrieval train` for dense encoders: several processes, what is refused, and what is said of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("peft")

from tests.retrieval.cli.conftest import Cli, write_jsonl
from tests.training.making import make_collection, make_dense, make_encoder, make_run

ROOT = Path(__file__).parents[3]
SMALL = ("--steps", 3, "--batch", 5, "--threads", 1, "--device", "cpu")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a run, and models with and without a pooling rule."""
    folder = tmp_path_factory.mktemp("task")
    make_collection(folder / "data")
    make_run(folder / "run.trec", folder / "data")
    make_dense(folder / "model", dropout=0.0)
    make_encoder(folder / "bare", head=False)
    return folder


def test_two_processes_are_launched_as_the_help_says(cli: Cli, task: Path, tmp_path: Path) -> None:
    """And write one model, one log and the same losses as one process; each of the two has a log of its own."""
    common = ("train", "dense", task / "data", "--model", task / "model", *SMALL, "--log-every", 1, "--hold-out", 0.1)
    launched = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2, "--tee", 3, "--log-dir", tmp_path)
    command = [sys.executable, *launched, "-m", "--", "retrieval", *common, "--out", tmp_path / "two"]
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},  # or torch looks for a second one
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert {path.parent.name for path in tmp_path.glob("*/attempt_0/*/stderr.log")} == {"0", "1"}
    one = cli(*common, "--out", tmp_path / "one")
    assert one.code == 0, one.err
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert [line["step"] for line in logs[1]] == [line["step"] for line in logs[0]]
    for alone, together in zip(*logs, strict=True):
        assert together.get("loss", 0) == pytest.approx(alone.get("loss", 0), abs=1e-4)
        assert together.get("dev", 0) == pytest.approx(alone.get("dev", 0), abs=1e-4)
    assert (tmp_path / "two" / "model" / "modules.json").is_file()


@pytest.mark.parametrize(
    ("method", "arguments", "code", "said"),
    [
        ("dense", ("--model", "{bare}"), 1, "does not say how token vectors become one"),
        ("dense", ("--model", "{unpooled}"), 1, "its modules.json names no pooling"),
        ("dense", ("--model", "{model}", "--precision", "fp16"), 2, "fp16 needs a GPU"),
        ("dense", ("--model", "{model}", "--refresh", 2), 2, "refresh needs a number of hits"),
        ("dense", ("--model", "{model}", "--negatives", "{model}/none.trec"), 1, "none.trec"),
        ("dense", ("--model", "{model}", "--lr", 1e30, "--clip", 1e30, "--steps", 30), 1, "a lower --lr"),
        ("ar2", ("--model", "{model}", "--ranker", "{three}"), 1, "tells 3 labels apart"),
        ("tas-b", ("--model", "{model}"), 2, "needs a teacher's scores"),
        ("cet", ("--model", "{model}", "--ranker-lr", 0), 2, "ranker_lr must be above 0"),
        ("dense", ("--model", "{model}", "--out", "{model}/modules.json"), 2, "modules.json: no folder to write to"),
        ("adore", ("--model", "{model}", "--out", "{model}/modules.json/out"), 2, "modules.json/out: no folder"),
    ],
)
def test_what_cannot_be_trained_ends_with_a_line(
    cli: Cli, task: Path, tmp_path: Path, method: str, arguments: tuple[object, ...], code: int, said: str
) -> None:
    """Exit code 2 for an option, 1 for anything else; a hint, and no traceback."""
    if "{three}" in arguments:
        from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

        BertForSequenceClassification(BertConfig.from_pretrained(task / "bare", num_labels=3)).save_pretrained(
            tmp_path / "three"
        )
        BertTokenizer.from_pretrained(task / "bare").save_pretrained(tmp_path / "three")
    places = {"bare": task / "bare", "model": task / "model", "three": tmp_path / "three"}
    if "{unpooled}" in arguments:
        places["unpooled"] = Path(shutil.copytree(task / "model", tmp_path / "unpooled"))
        modules = json.loads((tmp_path / "unpooled" / "modules.json").read_text())
        (tmp_path / "unpooled" / "modules.json").write_text(json.dumps(modules[:1]))
    given = [str(argument).format(**places) for argument in arguments]
    answer = cli("train", method, task / "data", *SMALL, "--out", tmp_path / "out", *given)
    assert answer.code == code, answer.err
    assert said in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("epochs", ["nan", "inf", "-1"])
def test_epochs_are_a_number(cli: Cli, task: Path, tmp_path: Path, epochs: str) -> None:
    """Not something that no number of steps can be made of."""
    answer = cli("train", "dense", task / "data", "--model", task / "model", "--out", tmp_path, "--epochs", epochs)
    assert answer.code == 2
    assert "epochs must be a number of at least 0" in answer.err


def test_a_run_without_a_step_has_no_curves(cli: Cli, task: Path, tmp_path: Path) -> None:
    """Which is said, and is no error: the model is there as it began."""
    pytest.importorskip("matplotlib")
    common = ("train", "dense", task / "data", "--model", task / "model", *SMALL, "--steps", 0, "--plot", "--json")
    answer = cli(*common, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert answer.json["steps"] == 0
    assert "curves: none" in answer.err
    assert (tmp_path / "out" / "model" / "modules.json").is_file()
    assert not (tmp_path / "out" / "curves.png").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"query": "q0x1", "pos": [], "neg": ["d1x1"]}\n', "nothing to train on"),
        ("a.tsv", "q0x1\td0x1\n", "a.tsv:1: expected query, positive and negative"),
        ("a.jsonl", '{"query": "", "pos": ["d0x1"]}\n', "a.jsonl:1: no query"),
    ],
)
def test_data_that_cannot_be_used_end_with_a_line(
    cli: Cli, task: Path, tmp_path: Path, name: str, content: str, said: str
) -> None:
    """With the file and its line, and exit code 1."""
    (tmp_path / name).write_text(content)
    answer = cli("train", "dense", tmp_path / name, "--model", task / "model", "--out", tmp_path / "out", *SMALL)
    assert answer.code == 1
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_a_killed_run_and_the_same_command_again(cli: Cli, task: Path, tmp_path: Path) -> None:
    """Goes on; with another option it says which, and --restart begins anew."""
    common = ("train", "star", task / "data", "--model", task / "model", "--mined", 5, "--refresh", 2, *SMALL)
    common = (*common, "--checkpoint-every", 1, "--out", tmp_path / "out")
    script = (
        "import os, signal, sys\n"
        "from retrieval.cli import main\n"
        "import retrieval.training.selfmining as mining\n"
        "whole = mining.write_whole\n"
        "def last(path, content):\n"
        "    path.name.endswith('2.jsonl') and os.kill(os.getpid(), signal.SIGKILL)\n"
        "    whole(path, content)\n"
        "mining.write_whole = last\n"
        "main()\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, *map(str, common)], cwd=ROOT, check=False, env={**os.environ}, timeout=300
    )
    assert killed.returncode == -signal.SIGKILL
    other = cli(*common, "--lr", 0.5)
    assert other.code == 1
    assert "lr was 2e-05 and is 0.5" in other.err
    assert "--restart" in other.err
    again = cli(*common, "--json")
    assert again.code == 0, again.err
    assert again.json["steps"] == 3
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1]
    assert (tmp_path / "out" / "negatives-00000002.jsonl").is_file()


def test_negatives_of_a_mined_file_that_nobody_knows(cli: Cli, task: Path, tmp_path: Path) -> None:
    """Are said to be lacking, and the rest is learned from."""
    mined = write_jsonl(tmp_path / "mined.jsonl", {"query_id": "q0", "negatives": [{"id": "d1"}, {"id": "gone"}]})
    answer = cli(
        *("train", "dense", task / "data", "--model", task / "model", "--out", tmp_path / "out"),
        *("--negatives", mined, *SMALL),
    )
    assert answer.code == 0, answer.err
    assert "note: data: negatives that the corpus lacks: 1" in answer.err

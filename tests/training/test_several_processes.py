"""Two processes learn what one would of the same batches, and only the first writes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

from retrieval.rerank.neural.cross_encoder import CrossEncoder  # noqa: E402
from tests.training.making import make_collection, make_dense, make_run  # noqa: E402
from tests.training.methods import CASES, Task, figures, go, names, state, told  # noqa: E402

ROOT = Path(__file__).parents[2]

# Nothing depends on them: a softmax over a query's keys, or over a list, takes no notice of what is added to all.
# Their gradients are rounding errors, of which AdamW makes steps like any other.
_WITHOUT_EFFECT = ("key.bias", "model.classifier.bias", "selection.layers.2.bias")

CHANGES = {"patience": 2}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Models without dropout, whose draws are each process' own; documents share some words with queries."""
    folder = tmp_path_factory.mktemp("several")
    collection = make_collection(folder / "data", shared=True)
    run = make_run(folder / "run.trec", collection)
    model = make_dense(folder / "model", dropout=0.0)
    CrossEncoder.from_encoder(str(model)).save(folder / "ranker")
    return Task(collection, run, model, folder / "ranker")


@pytest.fixture(scope="module")
def pair(task: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[str]]:
    """Where each of two processes was to write what came of all cases, and what each said of them."""
    folder = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outs = [folder / str(rank) for rank in range(2)]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared["CUDA_VISIBLE_DEVICES"] = ""  # accelerate waits on a GPU of each process' number where torch sees any
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.several", str(out), json.dumps(CHANGES), *task.told()],
            cwd=ROOT,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return outs, said


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_does(
    task: Task, pair: tuple[list[Path], list[str]], tmp_path: Path, case: str
) -> None:
    """Of a batch that they cannot share evenly: weights, losses, figures, files, and the step at which they end."""
    outs, said = pair
    outcome = go(case, task, tmp_path, **CHANGES)
    assert outcome.best
    expected, found = state(tmp_path)["model"], state(outs[0] / case)["model"]
    counted = [name for name in expected if not name.endswith(_WITHOUT_EFFECT)]
    assert expected.keys() == found.keys()
    for name in counted:
        torch.testing.assert_close(found[name], expected[name], atol=2e-5, rtol=1e-4, msg=name)
    lines, theirs = (dict(figures(told(out))) for out in (tmp_path, outs[0] / case))
    assert theirs == pytest.approx(lines, abs=1e-4)
    assert [name for name in names(outs[0] / case) if name.split("/")[0] != "index"] == [
        name for name in names(tmp_path) if name.split("/")[0] != "index"
    ]
    assert f"{case} {outcome.steps} {outcome.best.step} {outcome.best.since}\n" in said[0]


def test_only_the_first_process_writes_and_both_know_the_best(pair: tuple[list[Path], list[str]]) -> None:
    """Nothing in the other's folder but ADORE's index, of which each has one there; the same steps and scores."""
    outs, said = pair
    assert {name.split("/")[1] for name in names(outs[1]) if "/" in name} == {"index"}
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == len(CASES)

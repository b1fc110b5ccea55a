"""`retrieval train`: what can be typed, end to end on a tiny task."""

from pathlib import Path

import pytest

pytest.importorskip("accelerate")

from tests.retrieval.cli.conftest import Cli
from tests.retrieval.encoders.conftest import write_causal
from tests.training.making import make_collection, make_encoder, make_run

SMALL = ("--steps", 4, "--batch", 6, "--threads", 1, "--device", "cpu", "--evaluate-every", 2)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A folder with data, a run, a masked language model and an encoder without a head."""
    make_collection(tmp_path / "data")
    make_run(tmp_path / "run.trec", tmp_path / "data")
    make_encoder(tmp_path / "masked", head=True)
    make_encoder(tmp_path / "bare", head=False)
    return tmp_path


def test_a_model_is_trained_chosen_and_written(cli: Cli, task: Path) -> None:
    """With negatives, a teacher and a share of the queries held out."""
    answer = cli(
        *("train", "splade", task / "data", "--model", task / "masked", "--out", task / "out", "--hold-out", 0.2),
        *("--negatives", task / "run.trec", "--teacher-run", task / "run.trec", "--loss", "kl=0.5"),
        *("--flops-document", 1e-3, "--json", *SMALL),
    )
    assert answer.code == 0, answer.err
    assert answer.json["model"] == str(task / "out" / "model")
    assert answer.json["steps"] == 4
    assert (task / "out" / "model" / "modules.json").is_file()
    assert "training queries, 60 documents; dev queries: 8 of data" in answer.err
    finished = cli("train", "splade", task / "data", "--model", task / "masked", "--out", task / "out", *SMALL)
    assert finished.code == 2
    assert "a finished model stands there" in finished.err


def test_a_warm_start_alone_and_then_the_query_side(cli: Cli, task: Path) -> None:
    """Two commands: the model that training begins with, then queries against its documents."""
    start = cli(
        *("train", "splade", task / "data", "--model", task / "bare", "--out", task / "start"),
        *("--warm-start", "lexical", "--sharpness", 2, *SMALL, "--steps", 0),
    )
    assert start.code == 0, start.err
    answer = cli(
        *("train", "splade", task / "data", "--model", task / "start" / "model", "--out", task / "out"),
        *("--side", "query", "--warm-start", "lexical", "--dev", "test", *SMALL),
    )
    assert answer.code == 0, answer.err
    assert (task / "out" / "model" / "query_0").is_dir()
    assert any((task / "out" / "documents").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hold-out", 1), "must be between 0 and 1"),
        (("--dev", "none"), "no folder of the data has judgements for dev data"),
        (("--loss", "hinge"), "--loss takes contrastive, margin-mse, kl"),
        (("--loss", "kl=much"), "--loss takes contrastive, margin-mse, kl"),
        (("--loss", "kl"), "need a teacher's scores"),
        (("--lr", 0), "lr must be above 0"),
    ],
)
def test_options_that_cannot_be_used_end_with_a_line(
    cli: Cli, task: Path, arguments: tuple[object, ...], message: str
) -> None:
    """And exit code 2."""
    answer = cli(
        *("train", "splade", task / "data", "--model", task / "masked", "--out", task / "out", *SMALL, *arguments)
    )
    assert answer.code == 2
    assert message in answer.err


def test_an_encoder_without_a_head_gets_one_and_a_head_is_not_overwritten(cli: Cli, task: Path) -> None:
    """Without a warm start it begins with one that knows nothing; a warm start is not for a language model."""
    bare = cli("train", "splade", task / "data", "--model", task / "bare", "--out", task / "a", *SMALL, "--steps", 0)
    assert bare.code == 0, bare.err
    headed = cli(
        *("train", "splade", task / "data", "--model", task / "masked", "--out", task / "b", *SMALL),
        *("--warm-start", "lexical"),
    )
    assert headed.code == 1
    assert "has a language-model head already" in headed.err
    early = cli(
        "train", "splade", task / "data", "--model", task / "bare", "--out", task / "c", *SMALL, "--side", "query"
    )
    assert early.code == 2
    assert "--warm-start lexical --steps 0" in early.err


def test_adapters_of_a_causal_model_are_trained(cli: Cli, task: Path) -> None:
    """And trained on: what is written are adapters, which an index can be built with."""
    pytest.importorskip("peft")
    causal = write_causal(task / "causal")
    common = ("train", "splade", task / "data", *SMALL, "--lr", 0.01)
    assert cli(*common, "--model", causal, "--out", task / "a", "--lora", 4).code == 0
    assert (task / "a" / "model" / "adapter_config.json").is_file()
    again = cli(*common, "--model", task / "a" / "model", "--out", task / "b")
    assert again.code == 0, again.err
    one, other = (next((task / name / "model").glob("adapter_model*")).read_bytes() for name in ("a", "b"))
    assert one != other


def test_weights_that_are_no_numbers_are_said_to_be(cli: Cli, task: Path) -> None:
    """And not taken for a collapse."""
    answer = cli(
        *("train", "splade", task / "data", "--model", task / "masked", "--out", task / "out"),
        *("--lr", 1e30, "--batch", 4, "--steps", 30, "--device", "cpu"),
    )
    assert answer.code == 1
    assert "a lower --lr" in answer.err

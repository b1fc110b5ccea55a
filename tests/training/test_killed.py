"""A run that is killed again and again, wherever it stands, ends as one that was left alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

from retrieval.rerank.neural.cross_encoder import CrossEncoder  # noqa: E402
from tests.training.killing import Killer  # noqa: E402
from tests.training.methods import Task, names, state, told  # noqa: E402


@pytest.fixture(scope="module")
def killer(collection: Path, run: Path, dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    """Trains with dropout."""
    ranker = tmp_path_factory.mktemp("ranker")
    CrossEncoder.from_encoder(str(dense)).save(ranker)
    with Killer(Task(collection, run, dense, ranker)) as one:
        yield one


@pytest.mark.parametrize("case", ["star", "adore", "ar2", "cet", "tas-b", "lora"])
def test_a_killed_run_ends_as_an_undisturbed_one(killer: Killer, tmp_path: Path, case: str) -> None:
    """The same files to the byte, the same last checkpoint to the bit, and the same log but for rates."""
    whole, out = tmp_path / "whole", tmp_path / "killed"
    assert killer.run(case, whole) == ["end"]
    ends = killer.run(case, out, seed=0)
    assert ends[-1] == "end"
    assert len(ends) > 3
    assert told(out) == told(whole)
    assert names(out) == names(whole)
    _assert_same(state(out), state(whole))
    for name in names(whole):
        if (whole / name).is_file() and name.endswith((".safetensors", ".tsv", ".jsonl")) and name != "log.jsonl":
            assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def _assert_same(found: object, expected: object) -> None:
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, torch.Tensor)
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys()
        for name in expected:
            _assert_same(found[name], expected[name])
    elif isinstance(expected, list | tuple):
        assert isinstance(found, type(expected))
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            _assert_same(one, other)
    else:
        assert found == expected

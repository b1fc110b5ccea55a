"""The average of models lies between them, and only of models that can be averaged."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from retrieval.cli import app  # noqa: E402
from retrieval.encoders.dense import load_encoder  # noqa: E402
from retrieval.encoders.neural.dual import DualEncoder  # noqa: E402
from retrieval.errors import InputError, ModelError  # noqa: E402
from retrieval.training.averaging import average  # noqa: E402
from tests.training.making import make_dense  # noqa: E402


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Models of one make with other weights."""
    folder = tmp_path_factory.mktemp("two")
    return [str(make_dense(folder / f"{seed}", seed=seed)) for seed in (0, 1)]


def parameters(model: Path | str) -> dict[str, Any]:
    return dict(DualEncoder.load(str(model), device="cpu").inner.state_dict())


def two_sided(models: list[str], folder: Path) -> list[str]:
    """The models with query sides of their own, which are no two alike."""
    for number, model in enumerate(models):
        encoder = DualEncoder.load(model, device="cpu").with_query_side()
        with torch.no_grad():
            for weight in encoder.side("query").parameters():
                weight.add_(number)
        encoder.save(folder / f"{number}")
    return [str(folder / f"{number}") for number in range(len(models))]


def test_every_parameter_is_the_weighted_mean(two: list[str], tmp_path: Path) -> None:
    """In any unit of weight; and it is a model as any other."""
    made = parameters(average(two, tmp_path, [3, 1]))
    first, second = map(parameters, two)
    assert made.keys() == first.keys()
    for name, value in made.items():
        assert torch.allclose(value, 0.75 * first[name] + 0.25 * second[name], atol=1e-6)
    vectors = load_encoder(str(tmp_path / "model"), device="cpu").encode_queries(["q1x1 q2x2"])
    assert np.isclose(np.linalg.norm(vectors), 1, atol=1e-5)


def test_a_model_that_counts_nothing_changes_nothing(two: list[str], tmp_path: Path) -> None:
    """All of them alike are the default."""
    alone, alike = parameters(average(two, tmp_path / "a", [1, 0])), parameters(average(two, tmp_path / "b"))
    first, second = map(parameters, two)
    assert all(torch.equal(alone[name], value) for name, value in first.items())
    assert all(torch.allclose(alike[name], (first[name] + second[name]) / 2, atol=1e-6) for name in first)


def test_a_query_side_is_averaged_as_well(two: list[str], tmp_path: Path) -> None:
    """Of models with two sides; and one side alone does not go together with two."""
    sides = two_sided(two, tmp_path)
    made = DualEncoder.load(str(average(sides, tmp_path / "made")), device="cpu")
    first, second = (DualEncoder.load(model, device="cpu").side("query").state_dict() for model in sides)
    for name, value in made.side("query").state_dict().items():
        assert torch.allclose(value, (first[name] + second[name]) / 2, atol=1e-6)
    with pytest.raises(ModelError, match="different make"):
        average([two[0], sides[0]], tmp_path / "odd")
    assert not (tmp_path / "odd").exists()


@pytest.mark.parametrize(
    ("count", "weights", "what"),
    [
        (1, None, "two models at least"),
        (2, [1.0], "2 models and 1 weights"),
        (2, [1.0, -1.0], "0 or more"),
        (2, [0.0, 0.0], "not all 0"),
        (2, [1.0, float("nan")], "0 or more"),
    ],
)
def test_weights_that_make_no_average(
    two: list[str], tmp_path: Path, count: int, weights: list[float] | None, what: str
) -> None:
    """Nothing is written."""
    with pytest.raises(InputError, match=what):
        average(two[:count], tmp_path / "out", weights)
    assert not (tmp_path / "out").exists()


def test_what_stands_there_stays(two: list[str], tmp_path: Path) -> None:
    """The command says so."""
    words = ["train", "average", *two, "--weight", "1", "--weight", "2", "--out", str(tmp_path)]
    assert CliRunner().invoke(app, words).exit_code == 0
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    again = CliRunner().invoke(app, words)
    assert again.exit_code != 0
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_other_tokens_do_not_go_together(two: list[str], tmp_path: Path) -> None:
    """A number that stands for one word in one and for another in the other."""
    other = DualEncoder.load(two[1], device="cpu")
    vocabulary = other.inner[0].tokenizer.get_vocab()
    assert len(vocabulary) > 8
    other.save(tmp_path / "other")
    file = next((tmp_path / "other").rglob("tokenizer.json"))
    words = sorted(vocabulary, key=vocabulary.__getitem__)[-2:]
    text = file.read_text(encoding="utf-8")
    numbers = [f'"{word}": {vocabulary[word]}' for word in words]
    assert all(number in text for number in numbers)
    text = text.replace(numbers[0], f'"{words[0]}": {vocabulary[words[1]]}')
    file.write_text(text.replace(numbers[1], f'"{words[1]}": {vocabulary[words[0]]}'), encoding="utf-8")
    with pytest.raises(ModelError, match="different tokens"):
        average([two[0], str(tmp_path / "other")], tmp_path / "made")


def test_the_side_that_an_index_knows_stays_to_the_bit(two: list[str], tmp_path: Path) -> None:
    """Of query sides that were trained for one index; sums of thirds would round."""
    sides = two_sided([two[0]] * 3, tmp_path)
    made = DualEncoder.load(str(average(sides, tmp_path / "made")), device="cpu")
    assert made.digest("document") == DualEncoder.load(sides[0], device="cpu").digest("document")


def test_other_ways_to_a_vector_do_not_go_together(two: list[str], tmp_path: Path) -> None:
    """The state of the first token, and the mean of all."""
    other = tmp_path / "other"
    shutil.copytree(two[1], other)
    pooling = next(other.rglob("1_Pooling/config.json"))
    pooling.write_text(json.dumps(json.loads(pooling.read_text()) | {"pooling_mode": "cls"}))
    with pytest.raises(ModelError, match="make vectors differently"):
        average([two[0], str(other)], tmp_path / "made")


def test_weights_that_are_no_numbers_are_an_error(two: list[str], tmp_path: Path) -> None:
    """However little they count."""
    broken = DualEncoder.load(two[1], device="cpu")
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    broken.save(tmp_path / "broken")
    with pytest.raises(ModelError, match="weights that are no numbers"):
        average([two[0], str(tmp_path / "broken")], tmp_path / "made", [1, 0])

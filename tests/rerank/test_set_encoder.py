"""Sets of passages are scored as by themselves, whatever is batched, and large ones in parts."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from retrieval.encoders.runtimes.precision import cpu_has  # noqa: E402
from retrieval.errors import InputError, ModelError  # noqa: E402
from retrieval.rerank import set_bodies  # noqa: E402
from retrieval.rerank.neural.interaction import layers_of  # noqa: E402
from retrieval.rerank.neural.set_encoder import SetEncoder  # noqa: E402
from retrieval.rerank.set_encoder import SetScorer  # noqa: E402
from tests.rerank.making import WORDS, write_cross_encoder  # noqa: E402
from tests.rerank.set_making import SETS, write_set_encoder  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set-encoder with random weights."""
    return write_set_encoder(tmp_path / "model")


def scorer(folder: Path, **how: Any) -> SetScorer:
    return SetScorer(str(folder), device="cpu", **{"precision": "fp32", **how})


def many(n: int) -> list[str]:
    """Passages of all lengths."""
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, random.integers(30))) for _ in range(n)]


@pytest.mark.parametrize("tokens", [None, 40])
def test_several_sets_are_scored_as_each_alone(folder: Path, tokens: int | None) -> None:
    """Whatever goes through the model together; every passage is told of."""
    made, told = scorer(folder, batch_tokens=tokens), list[int]()
    queries, lists = [query for query, _ in SETS], [passages for _, passages in SETS]
    model = SetEncoder.load(str(folder)).eval()
    found = made.scores_of([*queries, "sky"], [*lists, []], told.append)
    assert sum(told) == sum(map(len, lists))
    with torch.no_grad():
        for query, passages, own in zip(queries, lists, found[:-1], strict=True):
            assert own.dtype == np.float32
            np.testing.assert_allclose(own, model(model.tokenize(query, passages)), atol=1e-5)
            np.testing.assert_allclose(made.scores(query, passages), own, atol=1e-5)
    assert found[-1].shape == (0,)


def test_a_set_may_be_larger_than_any_batch(folder: Path) -> None:
    """And than what is tokenised at a time; its order changes no score."""
    passages = many(300)
    small, large = (scorer(folder, batch_tokens=tokens).scores("solar wind", passages) for tokens in (100, 100_000))
    np.testing.assert_allclose(small, large, atol=1e-5)
    backwards = scorer(folder).scores("solar wind", passages[::-1])[::-1]
    np.testing.assert_allclose(backwards, large, atol=1e-5)


def test_threads_share_a_scorer(folder: Path) -> None:
    """Each gets the scores of its own set, though queries and passages are cut at different lengths."""
    made, query = scorer(folder), " ".join(WORDS * 2)
    lists = [many(30)[:n] for n in range(1, 31)]
    expected = [made.scores(query, passages) for passages in lists]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for found, right in zip(pool.map(lambda some: made.scores(query, some), lists), expected, strict=True):
                np.testing.assert_allclose(found, right, atol=1e-5)


@pytest.mark.parametrize(("kind", "tokens"), [("bert", None), ("electra", 40)])
def test_openvino_gives_the_same_scores(tmp_path: Path, kind: str, tokens: int | None) -> None:
    """Of sets in one block and in many, and of a passage alone; with a novelty head, which reads states in between."""
    pytest.importorskip("openvino")
    model = SetEncoder.load(str(write_set_encoder(tmp_path / "plain", kind)))
    model.add_novelty_head()
    model.save(tmp_path / "novel")
    exact, other = (scorer(tmp_path / "novel", runtime=name, batch_tokens=tokens) for name in ("torch", "openvino"))
    assert (other.card.runtime, other.card.precision) == ("openvino", "float32")
    for found, right in zip(*(one.score_lists(*zip(*SETS, strict=True)) for one in (other, exact)), strict=True):
        np.testing.assert_allclose(found, right, atol=1e-4)


@pytest.mark.parametrize("asked", ["auto", "openvino"])
def test_torch_runs_what_openvino_cannot_unless_that_was_asked_for(
    folder: Path, asked: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Because it knows it not, or computes something else: each is told."""
    pytest.importorskip("openvino")
    if not cpu_has("bfloat16"):
        pytest.skip("this CPU has no bfloat16: torch runs the model")
    for reason, bodies in {
        "knows it not": lambda model, choice: {}["knows it not"],
        "computes something else": lambda model, choice: [layers_of(model.backbone)[place] for place in (1, 0, 2)],
    }.items():
        monkeypatch.setattr(set_bodies, "_converted", bodies)
        if asked == "openvino":
            with pytest.raises(ModelError, match=reason):
                scorer(folder, precision="bf16", runtime=asked)
            continue
        with caplog.at_level(logging.WARNING, "retrieval"):
            assert scorer(folder, precision="bf16", runtime=asked).card.runtime == "torch"
        assert reason in caplog.text


@pytest.mark.parametrize(("precision", "runtime"), [("fp32", "torch"), ("bf16", "torch"), ("bf16", "auto")])
def test_the_order_of_many_alike_changes_no_score(folder: Path, precision: str, runtime: str) -> None:
    """With a novelty head either, which makes much of small differences: rounding is the same in any order."""
    model = SetEncoder.load(str(folder))
    model.add_novelty_head()
    model.save(folder.parent / "novel")
    made = scorer(folder.parent / "novel", precision=precision, runtime=runtime, batch_tokens=400)
    passages = [*many(80), *many(5) * 10]
    order = np.random.default_rng(1).permutation(len(passages))
    found = made.scores("solar wind", passages)
    np.testing.assert_allclose(made.scores("solar wind", [passages[row] for row in order]), found[order], atol=1e-5)
    assert np.abs(found - scorer(folder, precision=precision).scores("solar wind", passages)).max() > 0.5


def test_a_set_of_too_many_is_dealt_out_and_said_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In turns; as few sets as can hold it."""
    passages = many(7)
    made = scorer(folder, at_once=3)
    with caplog.at_level(logging.WARNING, "retrieval"):
        found = made.scores("solar wind", passages)
    assert "7 passages of a query are more than 3 at once: they are scored in 3 sets" in caplog.text
    for first in range(3):
        np.testing.assert_allclose(found[first::3], made.scores("solar wind", passages[first::3]), atol=1e-5)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "retrieval"):
        made.scores("solar wind", passages[:3])
    assert not caplog.text


def test_the_card_says_what_decides_the_scores(folder: Path) -> None:
    """Lengths, too, which can be changed."""
    card = scorer(folder).card
    assert (card.query_length, card.document_length, card.max_length) == (8, 24, 36)
    assert (card.precision, card.runtime, card.at_once) == ("float32", "torch", 1000)
    changed = scorer(folder, query_length=2, document_length=3)
    assert (changed.card.query_length, changed.card.document_length) == (2, 3)
    assert changed.card.weights == card.weights
    long = changed.scores("sky", ["wind " * 10, "storm"])
    np.testing.assert_allclose(long, changed.scores("sky", ["wind " * 3, "storm"]), atol=1e-6)


def test_half_precision_is_near(folder: Path) -> None:
    """As near as eight bits are."""
    query, passages = SETS[0]
    exact, half = (scorer(folder, precision=precision).scores(query, passages) for precision in ("fp32", "bf16"))
    np.testing.assert_allclose(half, exact, atol=0.1 * np.abs(exact).max())


def test_what_cannot_be_run_is_told(folder: Path, tmp_path: Path) -> None:
    """int8, numbers out of range, a cross-encoder, and scores that are no numbers."""
    with pytest.raises(InputError, match="not run in int8"):
        scorer(folder, precision="int8")
    with pytest.raises(InputError, match="not by ONNX"):
        scorer(folder, runtime="onnx")
    for at_once in (0, 2.5, True):
        with pytest.raises(InputError, match=f"at_once is {at_once}"):
            scorer(folder, at_once=at_once)
    with pytest.raises(InputError, match="tokens of a query"):
        scorer(folder, query_length=0)
    with pytest.raises(ModelError, match="is no set-encoder"):
        scorer(write_cross_encoder(tmp_path / "cross"))
    made = scorer(folder)
    with pytest.raises(InputError, match="2 queries and 1 lists"):
        made.scores_of(["sky", "wind"], [["storm"]])
    with pytest.raises(InputError, match="are one text, and must be a list"):
        made.scores("sky", "storm")
    made._model.head.weight.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="no numbers"):
        made.scores("sky", ["storm"])

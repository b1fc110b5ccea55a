"""Scores come in the order of the pairs, whatever is batched, and by each runtime alike."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from retrieval.encoders.runtimes.precision import cpu_has  # noqa: E402
from retrieval.errors import InputError, ModelError  # noqa: E402
from retrieval.rerank.cross_encoder import PairScorer, score_pairs  # noqa: E402
from retrieval.rerank.neural.cross_encoder import CrossEncoder  # noqa: E402
from tests.rerank.making import PAIRS, WORDS  # noqa: E402

Make = Callable[..., Path]


def many_pairs(n: int) -> list[tuple[str, str]]:
    """Of all lengths, in no order."""
    random = np.random.default_rng(0)

    def text(longest: int) -> str:
        return " ".join(random.choice(WORDS, random.integers(longest)))

    return [(text(6), text(60)) for _ in range(n)]


def scorer(folder: Path, **how: Any) -> PairScorer:
    return PairScorer(str(folder), device="cpu", **{"precision": "fp32", **how})


def test_scores_do_not_depend_on_batches_or_order(make_cross: Make) -> None:
    """To 10^-5, and more than one chunk of them is tokenised; every pair is told of."""
    folder, pairs, told = make_cross(), many_pairs(300), list[int]()
    expected = scorer(folder).scores(pairs, told.append)
    assert expected.dtype == np.float32
    assert sum(told) == len(pairs)
    for tokens in (1, 40, 5000):
        np.testing.assert_allclose(scorer(folder, batch_tokens=tokens).scores(pairs), expected, atol=1e-5)
    order = np.random.default_rng(1).permutation(len(pairs))
    shuffled = scorer(folder).scores([pairs[place] for place in order])
    np.testing.assert_allclose(shuffled, expected[order], atol=1e-5)
    assert len(np.unique(expected.round(3))) > 100


def test_scores_are_the_model_s(make_cross: Make) -> None:
    """One pair at a time; of none there are none."""
    folder = make_cross()
    model = CrossEncoder.load(str(folder)).eval()
    with torch.no_grad():
        expected = [model(model.tokenize([pair])).item() for pair in PAIRS]
    np.testing.assert_allclose(scorer(folder).scores(PAIRS), expected, atol=1e-5)
    assert scorer(folder).scores([]).shape == (0,)


def test_a_length_cuts_pairs(make_cross: Make) -> None:
    """What is beyond it changes nothing."""
    short = scorer(make_cross(), max_length=8)
    ends = short.scores([("solar", f"sky sky sky sky sky {end}") for end in ("wind", "storm storm")])
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)
    assert short.card.max_length == 8


def test_the_card_says_what_decides_the_scores(make_cross: Make) -> None:
    """Weights are those in float32, whatever they are run in."""
    folder = make_cross()
    exact, half = scorer(folder).card, scorer(folder, precision="bf16", runtime="torch").card
    assert (exact.model, exact.max_length, exact.revision) == (str(folder), 32, None)
    assert (exact.precision, exact.runtime) == ("float32", "torch")
    assert (half.precision, half.weights) == ("bfloat16", exact.weights)
    assert scorer(make_cross("other", seed=1)).card.weights != exact.weights


@pytest.mark.parametrize(("runtime", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_other_runtimes_give_the_same_scores(make_cross: Make, runtime: str, package: str) -> None:
    """Head and log-odds and all."""
    pytest.importorskip(package)
    if runtime == "onnx":
        pytest.importorskip("onnx")
    folder, pairs = make_cross(labels=2), many_pairs(40)
    other = scorer(folder, runtime=runtime)
    assert other.card.runtime == runtime
    np.testing.assert_allclose(other.scores(pairs), scorer(folder).scores(pairs), atol=1e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near(make_cross: Make, precision: str) -> None:
    """Within a tenth of the spread."""
    folder, pairs = make_cross(), many_pairs(40)
    exact = scorer(folder).scores(pairs)
    half = scorer(folder, precision=precision, runtime="torch").scores(pairs)
    assert 0 < np.abs(half - exact).max() < 0.1 * np.ptp(exact)


def test_threads_share_a_scorer(make_cross: Make) -> None:
    """Each gets the scores of its own passages, long ones among them, which are read in windows."""
    made, query = scorer(make_cross(), max_length=16), "solar wind at night"
    lists = [[" ".join(WORDS * (1 + (number + n) % 4)) for n in range(1 + number % 5)] for number in range(40)]
    expected = [made.score_lists([query], [passages])[0] for passages in lists]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            scored = pool.map(lambda some: made.score_lists([query], [some])[0], lists)
            for found, right in zip(scored, expected, strict=True):
                np.testing.assert_allclose(found, right, atol=1e-5)


def test_models_are_loaded_side_by_side(make_cross: Make) -> None:
    """Though torch and transformers load and trace one at a time."""
    pytest.importorskip("openvino")
    folder = make_cross()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: scorer(folder, runtime="openvino"), range(4)))
    assert {one.card.runtime for one in made} == {"openvino"}


def test_bfloat16_by_openvino_tells_passages_apart(make_cross: Make) -> None:
    """Scores have more than the eight bits in which it multiplies."""
    pytest.importorskip("openvino")
    if not cpu_has("bfloat16"):
        pytest.skip("this CPU has no bfloat16")
    found = scorer(make_cross(), precision="bf16", runtime="openvino").scores(many_pairs(40))
    assert not np.array_equal(found, torch.from_numpy(found).bfloat16().float().numpy())


def test_a_model_in_training_stays_in_training(make_cross: Make) -> None:
    """And is scored without dropout meanwhile."""
    from retrieval.encoders.runtimes.pipeline import Batching

    model = CrossEncoder.load(str(make_cross())).train()
    first, second = (score_pairs(model, PAIRS, Batching(tokens=200)) for _ in range(2))
    assert model.training
    np.testing.assert_array_equal(first, second)


def test_what_cannot_be_run_is_told(make_cross: Make) -> None:
    """int8 by torch, lengths out of range, and scores that are no numbers."""
    folder = make_cross()
    with pytest.raises(InputError, match="int8"):
        scorer(folder, precision="int8", runtime="torch")
    with pytest.raises(InputError, match="reads 5 to 64 tokens"):
        scorer(folder, max_length=100)
    with pytest.raises(ModelError, match="no such folder"):
        scorer(folder / "nothing" / "here")
    with pytest.raises(InputError, match="the passage of pair 1 must be a string; got None"):
        scorer(folder).scores([PAIRS[0], ("sky", None)])  # type: ignore[list-item]
    broken = scorer(folder)
    broken._model.model.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="no numbers"):
        broken.scores(PAIRS)


def test_a_long_passage_has_the_score_of_its_best_window(make_cross: Make) -> None:
    """Whatever stands in it is read; windows overlap and leave nothing out; a short passage is one window."""
    folder = make_cross()
    model = CrossEncoder.load(str(folder), device="cpu")
    model.max_length = 12
    query, passage = "solar wind", " ".join(WORDS[place % len(WORDS)] for place in range(40))
    parts = model.windows([(query, passage), (query, "solar")])
    assert parts[1] == ["solar"]
    assert len(parts[0]) > 3
    room = 12 - 3 - 2
    words = passage.split()
    assert parts[0][0].split() == words[:room]
    assert parts[0][-1].split()[-1] == words[-1]
    assert set(" ".join(parts[0]).split()) == set(words)
    short = scorer(folder, max_length=12)
    best = max(short.scores([(query, part) for part in parts[0]]))
    found = short.score_lists([query, "wind"], [[passage, "solar"], []])
    assert found[0][0] == pytest.approx(best, abs=1e-6)
    assert [len(one) for one in found] == [2, 0]
    assert short.score_lists([], []) == []


def test_a_query_that_leaves_little_room_has_no_windows_behind_it(make_cross: Make) -> None:
    """Of a token or two each they would be hundreds; the passage is cut instead."""
    model = CrossEncoder.load(str(make_cross()), device="cpu")
    model.max_length = 35  # 32 beside the marks
    passage = "storm " * 100
    counts = {n: len(model.windows([("wind " * n, passage)])[0]) for n in (4, 24, 25, 31, 32, 90)}
    assert counts == {4: 7, 24: 24, 25: 1, 31: 1, 32: 1, 90: 1}


def test_passages_do_not_tie_under_autocast(make_cross: Make) -> None:
    """As on dev data of a run in bf16: the last product is not one of eight bits."""
    model, pairs = CrossEncoder.load(str(make_cross())).eval(), many_pairs(120)
    with torch.no_grad():
        exact = model(model.tokenize(pairs))
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(model.tokenize(pairs))
    assert len(scores.unique()) > 0.98 * len(exact.unique())

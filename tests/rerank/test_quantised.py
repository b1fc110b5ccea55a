"""Rerankers in int8: calibrated by pairs, kept, found again, and told how near they are."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("openvino")
pytest.importorskip("nncf")

from retrieval.encoders.runtimes import quantising
from retrieval.rerank.cross_encoder import PairScorer, correlations
from tests.rerank.making import WORDS, write_cross_encoder, write_mono_t5

pytestmark = pytest.mark.filterwarnings("ignore")  # nncf has many, of packages below it

QUERIES = ["solar wind", "what is plasma", "storm at night", "sky"]
LISTS = [[" ".join(WORDS[(i + j * k) % len(WORDS)] for j in range(3 + i % 5)) for i in range(6)] for k in range(4)]


@pytest.fixture(autouse=True)
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pairs calibrate, and a cache is at hand."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(quantising, "CALIBRATED_BY", 12)
    monkeypatch.setattr(quantising, "CHECKED_BY", 12)


def test_scores_are_near_and_the_card_says_which_model_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The correlation within lists is told, and nothing else; the same pairs find the model again, with its scores."""
    folder = str(write_cross_encoder(tmp_path / "cross"))
    scorer, fine = (PairScorer(folder, device="cpu", precision=precision) for precision in ("int8", "fp32"))
    assert scorer.sample > 0
    assert scorer.card.quantised is None
    with caplog.at_level(logging.WARNING, "retrieval"):
        scorer.calibrate(QUERIES, LISTS)
    assert capsys.readouterr() == ("", "")
    assert re.search(
        r"int8: correlation with float32 \S+ on average, \S+ at least, of 2 lists of passages", caplog.text
    )
    assert (scorer.sample, scorer.card.precision, scorer.card.runtime) == (0, "int8", "openvino")
    found, right = (np.concatenate(one.score_lists(QUERIES, LISTS)) for one in (scorer, fine))
    assert np.corrcoef(found, right)[0, 1] > 0.98
    assert not np.array_equal(found, right)
    again = PairScorer(folder, device="cpu", precision="int8")
    again.calibrate(QUERIES, LISTS)
    assert again.card == scorer.card
    np.testing.assert_array_equal(np.concatenate(again.score_lists(QUERIES, LISTS)), found)


@pytest.mark.usefixtures("unquantised")
def test_the_first_pairs_calibrate_where_none_were_given(tmp_path: Path) -> None:
    """Of no pair nothing is learned, and later ones are taken."""
    scorer = PairScorer(str(write_cross_encoder(tmp_path / "cross")), device="cpu", precision="int8")
    assert scorer.scores([]).shape == (0,)
    assert scorer.score_lists(QUERIES[:1], [[]])[0].shape == (0,)
    assert scorer.sample > 0
    assert [len(one) for one in scorer.score_lists(QUERIES, LISTS)] == [6] * 4
    assert scorer.sample == 0


@pytest.mark.usefixtures("unquantised")
def test_a_t5_goes_the_same_way(tmp_path: Path) -> None:
    """Converted with its decoder's one step."""
    folder = str(write_mono_t5(tmp_path / "t5"))
    scorer, fine = (PairScorer(folder, device="cpu", precision=precision) for precision in ("int8", "fp32"))
    found, right = (np.concatenate(one.score_lists(QUERIES, LISTS)) for one in (scorer, fine))
    np.testing.assert_allclose(found, right, atol=1e-3)


@pytest.fixture
def unquantised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models stay as they are, which is quick."""
    monkeypatch.setattr(quantising, "quantise", lambda model, *given: model)


def test_correlations_are_those_within_lists() -> None:
    """Of constant scores 1 if both are, else 0; of one query twice, but not side by side, there are two lists."""
    queries = ["a", "a", "a", "b", "b", "c", "a", "a"]
    one = np.array([1, 2, 3, 5, 5, 7, 1, 2], dtype=np.float32)
    other = np.array([10, 20, 30, 1, 2, 3, 4, 3], dtype=np.float32)
    np.testing.assert_allclose(correlations(queries, one, other), [1, 0, 1, -1], atol=1e-6)

"""A reranker that wants to see the corpus first sees what questions to it find: those that are asked, or made ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import retrieval
from retrieval.calibrating import QUESTIONS, questions
from retrieval.reranking import Reranking

Lists = Sequence[Sequence[str]]


class Curious:
    """Scores nothing, and wants to see passages once."""

    settings = {"kind": "curious"}  # noqa: RUF012 - a constant

    def __init__(self, sample: int) -> None:
        self.sample = sample
        self.seen: list[tuple[Sequence[str], Lists]] = []

    def calibrate(self, queries: Sequence[str], lists: Lists) -> None:
        """See them, and want no more."""
        self.seen.append((queries, lists))
        self.sample = 0

    def score_lists(self, queries: Sequence[str], lists: Lists) -> list[NDArray[np.float32]]:
        """(m,) zeros of each list."""
        return [np.zeros(len(passages), dtype=np.float32) for passages in lists]


@pytest.fixture
def index(tmp_path: Path) -> retrieval.Index:
    """Of documents with and without a title, and one without a word."""
    titled = [{"id": f"t{n}", "title": f"Wind {n}", "text": "The sky glows. Nobody knows why."} for n in range(3)]
    plain = [{"id": f"p{n}", "text": f"Storm {n} comes. It is night."} for n in range(3)]
    return retrieval.Index.build([*titled, *plain, {"id": "empty", "text": " "}], tmp_path / "index")


def test_questions_are_titles_or_first_sentences(index: retrieval.Index) -> None:
    """Of every document with a word, in an order of chance that stays; long ones are cut."""
    made = questions([], index.documents)
    assert sorted(made) == ["Storm 0 comes.", "Storm 1 comes.", "Storm 2 comes.", "Wind 0", "Wind 1", "Wind 2"]
    assert made == questions([], index.documents)
    assert questions([" "], index.documents) == made


def test_questions_that_are_asked_come_first(index: retrieval.Index) -> None:
    """As many as are needed, each once."""
    asked = [f"question {n}" for n in range(100)]
    drawn = questions([*asked, ""], index.documents)
    assert len(set(drawn)) == QUESTIONS
    assert set(drawn) <= set(asked)


def test_a_model_sees_passages_before_it_scores_any_and_once(index: retrieval.Index) -> None:
    """What the first stage finds for each question, as many as it wants in all."""
    model = Curious(sample=12)
    retriever = retrieval.Retriever(index, rerank=Reranking(model=model, queries=["wind", "storm"]))
    for _ in range(2):
        assert len(retriever.search("sky")) == 3
    ((asked, lists),) = model.seen
    assert sorted(asked) == ["storm", "wind"]
    assert {query: sorted(passages)[0][: len(query)].lower() for query, passages in zip(asked, lists, strict=True)} == {
        "wind": "wind",
        "storm": "storm",
    }
    assert [len(passages) for passages in lists] == [3, 3]


def test_an_index_without_a_word_asks_nothing(tmp_path: Path) -> None:
    """The model sees no passage."""
    model = Curious(sample=12)
    bare = retrieval.Index.build([{"id": "empty", "text": ""}], tmp_path / "bare")
    assert retrieval.Retriever(bare, rerank=Reranking(model=model)).search("sky") == []
    assert model.seen == [([], [])]

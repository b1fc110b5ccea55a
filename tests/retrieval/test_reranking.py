"""A model puts the first hits in another order; the rest stand behind, and nothing that a stage said is lost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import retrieval
from retrieval.errors import InputError
from retrieval.reranking import Reranking, rerank
from retrieval.types import Hits, ScoreKind


class ByLength:
    """Scores a passage by its length: the longest first."""

    settings = {"kind": "length"}  # noqa: RUF012 - a constant

    def __init__(self) -> None:
        self.read: list[int] = []

    def score_lists(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """(m,) of each list."""
        assert len(queries) == len(lists)
        self.read += [len(passages) for passages in lists]
        return [np.array([len(text) for text in passages], dtype=np.float32) for passages in lists]


def hits_of(*rows: list[int]) -> Hits:
    made = Hits.empty(len(rows), max(map(len, rows)), ScoreKind.BM25)
    for query, row in enumerate(rows):
        made.counts[query] = len(row)
        made.ordinals[query, : len(row)] = row
        made.scores[query, : len(row)] = np.arange(len(row), 0, -1)
    return made


def texts(ordinals: NDArray[np.int64]) -> list[str]:
    return ["x" * (ordinal % 10) for ordinal in ordinals.tolist()]


def test_the_first_hits_are_ordered_anew_and_the_rest_stand_behind() -> None:
    """Scores fall along each row, ties stand by ordinal, and both stages' signals are kept."""
    how = Reranking(model=ByLength(), depth=4)
    made = rerank(hits_of([3, 17, 7, 5, 9, 8], [2], []), ["a", "b", "c"], texts, how, stage="lexical", k=5)
    assert made.ordinals[0].tolist() == [7, 17, 5, 3, 9]
    assert made.counts.tolist() == [5, 1, 0]
    assert made.kind is ScoreKind.LOGIT
    assert np.all(np.diff(made.scores[0]) <= 0)
    assert made.scores[0, 4] < made.scores[0, 3]
    assert made.signals["lexical"].ranks[0].tolist() == [3, 2, 4, 1, 5]
    assert made.signals["rerank"].ranks[0].tolist() == [1, 2, 3, 4, 0]
    assert np.isnan(made.signals["rerank"].scores[0, 4])
    assert made.ordinals[1, 0] == 2


def test_fewer_are_kept_than_were_read() -> None:
    """K cuts after the order is known."""
    made = rerank(hits_of([3, 7, 5]), ["a"], texts, Reranking(model=ByLength(), depth=3), stage="dense", k=1)
    assert made.ordinals.tolist() == [[7]]


def test_a_hundred_are_read_where_nobody_says_how_many() -> None:
    """And results say so."""
    model = ByLength()
    how = Reranking(model=model)
    rerank(hits_of(list(range(120))), ["a"], texts, how, stage="lexical", k=5)
    assert model.read == [how.settings["depth"]] == [100]


def test_a_weight_leaves_some_of_it_to_what_found_the_hits() -> None:
    """Both rescaled over the hits that were read; the model's own order stays among the signals."""
    how = Reranking(model=ByLength(), depth=3, weight=0.5)
    made = rerank(hits_of([3, 9, 7, 8]), ["a"], texts, how, stage="lexical", k=4)
    assert made.kind is ScoreKind.SCORE_FUSION
    assert made.ordinals[0].tolist() == [9, 3, 7, 8]
    assert made.scores[0, :3].tolist() == pytest.approx([0.75, 0.5, 1 / 3])
    assert made.signals["rerank"].ranks[0].tolist() == [1, 3, 2, 0]
    assert made.signals["rerank"].scores[0, :3].tolist() == [9, 3, 7]
    assert made.scores[0, 3] < made.scores[0, 2]
    assert how.settings["weight"] == 0.5


def test_a_budget_reads_as_much_as_it_allows(caplog: pytest.LogCaptureFixture) -> None:
    """No less than the first ones, and it is said that there was no time for more."""
    model = ByLength()
    hits = hits_of(list(range(100)))
    with caplog.at_level("WARNING", logger="retrieval"):
        made = rerank(hits, ["a"], texts, Reranking(model=model, budget_ms=1e-6), stage="lexical", k=100)
    assert model.read == [4]
    assert "too few for 1 of 1 queries: as few as 4 hits" in caplog.text
    assert made.counts.tolist() == [100]
    assert sorted(made.ordinals[0].tolist()) == list(range(100))
    caplog.clear()
    with caplog.at_level("WARNING", logger="retrieval"):
        rerank(hits, ["a"], texts, Reranking(model=model, budget_ms=1e6), stage="lexical", k=100)
    assert caplog.text == ""
    assert sum(model.read) == 104


class AtAPace(ByLength):
    """The same, for which each passage takes ten ticks of a clock of milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0

    def perf_counter(self) -> float:
        """Seconds, as `time.perf_counter`."""
        return self.ticks / 1000

    def score_lists(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """(m,) of each list."""
        self.ticks += 10 * sum(map(len, lists))
        return super().score_lists(queries, lists)


@pytest.mark.parametrize(
    ("budget", "read", "spent"),
    [
        (15.0, [4], 40),
        (75.0, [4], 40),
        (305.0, [4, 16, 10], 300),
        (325.0, [4, 16, 12], 320),
        (860.0, [4, *[16] * 5], 840),
    ],
)
def test_each_step_is_what_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, budget: float, read: list[int], spent: int
) -> None:
    """Four first, whatever they take; then up to sixteen at once, by the pace so far, and the log tells the time."""
    model = AtAPace()
    monkeypatch.setattr("retrieval.reranking.time", model)
    how = Reranking(model=model, depth=90, budget_ms=budget)
    with caplog.at_level("WARNING", logger="retrieval"):
        rerank(hits_of(list(range(90)), [1]), ["a", "b"], texts, how, stage="lexical", k=10)
    assert model.read == [*read, 1]
    assert f"as few as {sum(read)} hits were reranked, in up to {spent} ms" in caplog.text


class BesideOthers(ByLength):
    """Scores a passage by its length, less the mean of its list's."""

    at_once = 1000

    def score_lists(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """(m,) of each list."""
        return [own - own.mean() for own in super().score_lists(queries, lists)]


@pytest.mark.parametrize("budget", [1e6, float("inf")])
def test_a_set_is_read_as_one_within_a_budget(budget: float) -> None:
    """Scores of several lists could not be compared: there is one of all that there is time for, or of the first."""
    model, hits = BesideOthers(), hits_of(list(range(100)))
    ample = rerank(hits, ["a"], texts, Reranking(model=model, budget_ms=budget), stage="lexical", k=100)
    assert model.read == [4, 100]
    plain = rerank(hits, ["a"], texts, Reranking(model=model), stage="lexical", k=100)
    np.testing.assert_array_equal(ample.ordinals, plain.ordinals)
    np.testing.assert_array_equal(ample.scores, plain.scores)
    model.read.clear()
    rerank(hits, ["a"], texts, Reranking(model=model, budget_ms=1e-6), stage="lexical", k=100)
    assert model.read == [4]


def test_a_retriever_reranks_what_it_finds(tmp_path: Path) -> None:
    """Deep enough for its depth whatever k is; settings tell; without texts there is nothing to read."""
    corpus = [{"id": f"d{n}", "text": "wind " * (n + 1) + "sky " * (20 - n)} for n in range(20)]
    index = retrieval.Index.build(corpus, tmp_path / "index")
    how = Reranking(model=ByLength(), depth=20)
    retriever = retrieval.Retriever(index, rerank=how)
    plain = retrieval.Retriever(index)
    found = retriever.search("wind", k=2)
    longest = sorted(corpus, key=lambda document: -len(document["text"]))[0]["id"]
    assert found[0].id == longest
    assert set(found[0].signals) == {"lexical", "rerank"}
    assert {hit.id for hit in retriever.search("wind", 20)} == {hit.id for hit in plain.search("wind", 20)}
    assert retriever.name == "lexical+rerank"
    assert retriever.settings["rerank"]["model"] == {"kind": "length"}
    assert retriever.search("nothing") == []
    bare = retrieval.Index.build(corpus, tmp_path / "bare", store_text=False)
    with pytest.raises(InputError, match="keeps no texts"):
        retrieval.Retriever(bare, rerank=how)
    with pytest.raises(InputError, match="rerank is a ByLength") as caught:
        retrieval.Retriever(index, rerank=ByLength())  # type: ignore[arg-type]
    assert "Reranking(model=...)" in str(caught.value.hint)


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": 0},
        {"depth": 2.5},
        {"depth": True},
        {"model": "se"},
        {"budget_ms": 0.0},
        {"weight": 0.0},
        {"weight": 1.5},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """Before anything is searched."""
    with pytest.raises(InputError, match="must be"):
        Reranking(**{"model": ByLength(), **wrong})

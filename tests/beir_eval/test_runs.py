from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.beir_eval.runs import format_run, make_run, ranked, read_run, strictly_decreasing
from retrieval.errors import CollectionError, InputError
from retrieval.types import Hits, Query, ScoreKind

IDS = ["a", "b", "c", "d"]


def ids(ordinals: NDArray[np.int64]) -> list[str]:
    """External ids of ordinals 0 to 3."""
    return [IDS[ordinal] for ordinal in ordinals]


def hits_of(*rows: list[tuple[int, float]]) -> Hits:
    """Hits of at most four per query."""
    hits = Hits.empty(len(rows), 4, ScoreKind.BM25)
    for i, row in enumerate(rows):
        hits.counts[i] = len(row)
        for j, (ordinal, score) in enumerate(row):
            hits.ordinals[i, j], hits.scores[i, j] = ordinal, score
    return hits


def test_a_run_holds_external_ids_best_first() -> None:
    """A query without hits is there, with none."""
    hits = hits_of([(2, 3.0), (0, 1.5)], [])
    run = make_run([Query("q1", "x"), Query("q2", "")], hits, ids, k=10)
    assert run == {"q1": {"c": 3.0, "a": 1.5}, "q2": {}}
    assert list(run["q1"]) == ["c", "a"]


def test_a_run_is_cut_at_k_after_the_query_s_own_document_is_left_out() -> None:
    """So that k hits remain; another query's id is a document like any other."""
    rows = [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)]
    queries = [Query("b", ""), Query("x", "")]
    run = make_run(queries, hits_of(rows, rows), ids, k=2, without_own=True)
    assert {query: list(found) for query, found in run.items()} == {"b": ["a", "c"], "x": ["a", "b"]}
    run = make_run(queries, hits_of(rows, rows), ids, k=2)
    assert {query: list(found) for query, found in run.items()} == {"b": ["a", "b"], "x": ["a", "b"]}


def test_tied_hits_stand_in_descending_order_of_ids() -> None:
    """trec_eval's rule; each is then lowered below the one before, by as little as float32 can."""
    run = make_run([Query("q", "")], hits_of([(0, 1.0), (1, 1.0), (3, 1.0), (2, 0.5)]), ids, k=4)
    one = np.float32(1)
    second = np.nextafter(one, np.float32(0))
    third = np.nextafter(second, np.float32(0))
    assert list(run["q"].items()) == [("d", one), ("b", second), ("a", third), ("c", 0.5)]


def test_scores_are_lowered_only_among_hits_that_stay() -> None:
    """The query's own document leaves no trace in the scores of those tied with it."""
    run = make_run([Query("d", "")], hits_of([(0, 1.0), (1, 1.0), (3, 1.0)]), ids, k=1, without_own=True)
    assert run == {"d": {"b": 1.0}}


scores = st.lists(st.floats(-1e6, 1e6, width=32), max_size=30).map(
    lambda values: np.array(sorted(values, reverse=True), dtype=np.float32)
)
tied = st.lists(st.sampled_from([1.0, 1.0000001, 0.0, -0.0, -1.0]), max_size=30).map(
    lambda values: np.array(sorted(values, reverse=True), dtype=np.float32)
)


@given(scores | tied)
def test_scores_become_strictly_decreasing_float32(before: NDArray[np.float32]) -> None:
    """The first stays as it is, none rises, and each stays where it was if it is below the one before."""
    after = strictly_decreasing(before.copy())
    assert after.dtype == np.float32
    assert np.all(after[1:] < after[:-1])
    np.testing.assert_array_equal(after[:1], before[:1])
    assert np.all(after <= before)
    kept = before[1:] < after[:-1]
    np.testing.assert_array_equal(after[1:][kept], before[1:][kept])


@given(st.sets(st.floats(-1e6, 1e6, width=32), max_size=30))
def test_strictly_decreasing_scores_stay_as_they_are(values: set[float]) -> None:
    """Bit for bit."""
    before = np.array(sorted(values, reverse=True), dtype=np.float32)
    np.testing.assert_array_equal(strictly_decreasing(before), before)


def test_the_caller_s_scores_are_not_changed() -> None:
    """They may belong to a search whose hits are used again."""
    before = np.ones(3, dtype=np.float32)
    strictly_decreasing(before)
    np.testing.assert_array_equal(before, np.ones(3, dtype=np.float32))


def test_a_run_is_written_in_trec_s_format() -> None:
    """Query, Q0, document, rank from 1, score and tag; a query without hits has no line."""
    run = {"q1": {"c": 3.0, "a": 0.5}, "q2": {}, "q3": {"b": float(np.float32(0.1))}}
    assert format_run(run, "bm25") == "q1 Q0 c 1 3.0 bm25\nq1 Q0 a 2 0.5 bm25\nq3 Q0 b 1 0.1 bm25\n"


@given(scores | tied)
def test_written_scores_are_read_back_exactly(before: NDArray[np.float32]) -> None:
    """As float32, also the smallest differences, so that no tie arises in the file."""
    after = strictly_decreasing(before)
    run = {"q": {f"d{i}": score for i, score in enumerate(after.tolist())}}
    written = [line.split()[4] for line in format_run(run, "t").splitlines()]
    np.testing.assert_array_equal(np.array(list(map(float, written)), dtype=np.float32), after)
    assert all(float(one) > float(other) for one, other in pairwise(written))


@pytest.mark.parametrize(("query", "document"), [("my query", "d"), ("q", "my doc"), ("q", "tab\tbed"), ("q", "")])
def test_an_id_with_white_space_cannot_stand_in_a_run(query: str, document: str) -> None:
    """A reader would take it for two fields; the error names it."""
    with pytest.raises(CollectionError, match="a TREC run cannot hold the id"):
        format_run({query: {document: 1.0}}, "tag")


@pytest.mark.parametrize("tag", ["my tag", ""])
def test_a_run_s_tag_is_one_word(tag: str) -> None:
    """Checked also where no query has hits."""
    with pytest.raises(InputError, match=f"the tag of a TREC run must be one word; got {tag!r}"):
        format_run({"q": {}}, tag)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q1 Q0 a 1", "expected query, Q0"),
        ("q1 Q0 a 1 high tag", "expected query, Q0"),
        ("q1 Q0 a 1 nan tag", "the score nan of document a is not a finite number of float32"),
        ("q1 Q0 a 1 -1e39 tag", "the score -1e.39 of document a is not a finite number of float32"),
        ("q1 Q0 b 1 1 tag", "stands in the list of query q1 already"),
    ],
)
def test_a_run_that_cannot_be_used_is_named_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    """And with what is wrong."""
    path = tmp_path / "bad.trec"
    path.write_text(f"q1 Q0 b 1 9 tag\n{line}\n")
    with pytest.raises(CollectionError, match=f"bad.trec:2: .*{reason}"):
        read_run(path)


def test_a_run_is_read_by_score(tmp_path: Path) -> None:
    """Whatever the order of its lines, and behind a byte order mark; a file that is not there is an error."""
    path = tmp_path / "run.trec"
    path.write_text("\ufeffq1 Q0 a 2 1.5 tag\n\nq1 Q0 b 1 3e1 tag\nq2 Q0 b 1 1 tag\n")
    assert list(read_run(path)["q1"].items()) == [("b", 30.0), ("a", 1.5)]
    assert set(read_run(path)) == {"q1", "q2"}
    assert set(read_run(path, {"q2"})) == {"q2"}
    with pytest.raises(CollectionError, match="cannot be read as a TREC run"):
        read_run(tmp_path / "absent.trec")


def test_a_list_is_ranked_by_float32_scores_whatever_its_order() -> None:
    """What only float64 tells apart is a tie, as in trec_eval; a document can be left out, and k counts after that."""
    hits = {"a": 1.0, "b": 1.0 + 1e-12, "c": 2.0, "d": 0.5}
    assert list(ranked(hits, k=9)) == ["c", "b", "a", "d"]
    assert list(ranked(hits, k=9, ties="ascending")) == ["c", "a", "b", "d"]
    assert list(ranked({"x": 1.0, **hits}, k=9, ties="listed")) == ["c", "x", "a", "b", "d"]
    assert ranked(hits, k=1, without="c") == {"b": 1.0}
    assert ranked({}, k=3) == {}

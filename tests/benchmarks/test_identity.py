"""The check that two engines gave the same answers finds whatever differs."""

import pytest
from identity import compare, difference

ROW = (["a", "b", "c", "d"], [4.0, 3.0, 2.0, 1.0])


def test_equal_answers_are_identical() -> None:
    """Scores may differ in their last digits, as sums in float32 do."""
    assert difference(ROW, (ROW[0], [4.00001, 3.0, 2.00001, 1.0]), 4) == ""
    assert compare([ROW, ([], [])], [ROW, ([], [])], 4).same == 2


@pytest.mark.parametrize(
    ("theirs", "what"),
    [
        ((["a", "b", "c"], [4.0, 3.0, 2.0]), "4 hits, theirs 3"),
        ((["a", "b", "c", "d"], [4.0, 3.0, 2.001, 1.0]), "score 2 at rank 3"),
        ((["a", "x", "c", "d"], [4.0, 3.0, 2.0, 1.0]), "b (3) only in ours"),
        ((["b", "a", "c", "d"], [4.0, 3.0, 2.0, 1.0]), "a has 4 in ours, 3 in the other"),
    ],
)
def test_a_planted_difference_is_found(theirs: tuple[list[str], list[float]], what: str) -> None:
    """One hit fewer, another score, another document, and two documents that changed places."""
    assert what in difference(ROW, theirs, 4)
    found = compare([ROW, ROW], [ROW, theirs], 4)
    assert (found.same, found.queries) == (1, 2)
    assert found.differences[0][0] == 1


def test_equals_may_stand_in_any_order_and_be_cut_anywhere() -> None:
    """Among documents of the last score, those that are in a full list are up to the order of ties."""
    ours = (["a", "b", "c"], [2.0, 2.0, 1.0])
    assert difference(ours, (["b", "a", "x"], [2.0, 2.0, 1.0]), 3) == ""


def test_what_is_not_cut_must_hold_the_same_documents() -> None:
    """A list shorter than k holds all that match, so the last score excuses nothing."""
    ours = (["a", "b"], [2.0, 1.0])
    assert "b (1) only in ours" in difference(ours, (["a", "x"], [2.0, 1.0]), 3)

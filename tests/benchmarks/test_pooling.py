"""Hidden judgements are those that were hard to find."""

from pooling import kept


def test_what_ranks_first_stays() -> None:
    """A share of the relevant ones, at least one, and all that is judged not relevant."""
    grades = {"a": 1, "b": 2, "c": 1, "d": 0, "e": 1}
    ranked = {"c": 1, "d": 2, "b": 5, "a": 9}
    assert kept(ranked, grades, 0.5) == {"b": 2, "c": 1, "d": 0}
    assert kept(ranked, grades, 0.01) == {"c": 1, "d": 0}
    assert kept(ranked, grades, 1.0) == grades

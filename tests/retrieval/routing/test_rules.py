"""Rules of routing, by cases that were computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import InputError
from retrieval.routing.rules import (
    BASE,
    Pilots,
    cheapest,
    choose,
    diagnose,
    joined,
    margins_of,
    pilots_of,
    similarities,
    winners,
)


def vectors(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_a_query_is_won_by_the_best_expert_and_a_tie_by_the_domains_own() -> None:
    """Else by the first of those that tie."""
    scores = np.array([[0.2, 0.9, 0.1], [0.5, 0.5, 0.1], [0.0, 0.0, 0.0], [0.7, 0.1, 0.7]])
    assert winners(scores, own=1).tolist() == [1, 1, 1, 0]
    assert winners(scores, own=2).tolist() == [1, 0, 2, 2]


def test_a_pilot_is_the_mean_of_the_queries_that_an_expert_won() -> None:
    """Made of length 1; an expert that won none has none."""
    pilots = pilots_of(vectors((1, 0), (0, 1), (0, 3)), np.array([2, 0, 0]), domain=5)
    assert pilots.experts.tolist() == [0, 2]
    assert pilots.counts.tolist() == [2, 1]
    assert pilots.domains.tolist() == [5, 5]
    assert pilots.vectors.tolist() == [[0, 1], [1, 0]]


PILOTS = Pilots(
    vectors=vectors((1, 0), (0, 1), (0.6, 0.8)),
    experts=np.array([0, 0, 2]),
    domains=np.array([0, 1, 1]),
    counts=np.array([1, 1, 1]),
)


def test_similarity_is_the_mean_or_the_largest_cosine_with_an_experts_pilots() -> None:
    """An expert without pilots has none, and a query of zeros is like nothing."""
    queries = vectors((2, 0), (0, 0))
    mean = similarities(queries, PILOTS, 3)
    assert mean[0] == pytest.approx([0.5, -np.inf, 0.6])
    assert mean[1] == pytest.approx([0, -np.inf, 0])
    assert similarities(queries, PILOTS, 3, "max")[0] == pytest.approx([1, -np.inf, 0.6])
    with pytest.raises(InputError, match="mean or max"):
        similarities(queries, PILOTS, 3, "median")  # type: ignore[arg-type]


def test_the_most_similar_expert_answers_and_the_base_below_the_margin() -> None:
    """The first of those that tie; the base as well where no expert has a pilot."""
    scores = np.array([[0.5, 0.9], [0.5, 0.6], [0.7, 0.7], [-np.inf, -np.inf]])
    assert choose(scores).columns.tolist() == [1, 1, 0, BASE]
    assert choose(scores, margin=0.2).columns.tolist() == [1, BASE, BASE, BASE]
    assert choose(scores).margins == pytest.approx([0.4, 0.1, 0, 0])


def test_a_single_expert_has_to_be_similar_by_itself() -> None:
    """Its margin is its similarity; so is that of the only one with pilots."""
    assert margins_of(np.array([[0.3], [-0.2]])) == pytest.approx([0.3, -0.2])
    assert margins_of(np.array([[-np.inf, 0.3]])) == pytest.approx([0.3])
    assert choose(np.array([[0.3], [-0.2]])).columns.tolist() == [0, BASE]


def test_the_cheapest_of_those_that_are_nearly_the_best() -> None:
    """The first of those that cost the same."""
    expected = np.array([[0.50, 0.52, 0.60], [0.60, 0.50, 0.60]])
    costs = np.array([1.0, 5.0, 9.0])
    assert cheapest(expected, costs).tolist() == [2, 0]
    assert cheapest(expected, costs, tolerance=0.09).tolist() == [1, 0]
    assert cheapest(expected, costs, tolerance=0.11).tolist() == [0, 0]
    assert cheapest(expected, np.ones(3), tolerance=1.0).tolist() == [0, 0]


def test_a_choice_is_compared_with_the_best_and_with_the_base() -> None:
    """Regret is never below zero, and a query is hurt where the base is better."""
    found = diagnose(np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([0.1, 0.5]), np.array([0.2, 0.5]))
    assert found.oracle.tolist() == [1, 0]
    assert found.ceiling.tolist() == [0.8, 0.5]
    assert found.regret == pytest.approx([0.7, 0])
    assert found.hurt.tolist() == [True, False]


@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 99))
def test_similarities_are_those_of_a_loop(experts: int, pilots: int, seed: int) -> None:
    """Query by query and expert by expert."""
    generator = np.random.default_rng(seed)
    made = joined(
        [
            pilots_of(generator.normal(size=(pilots, 3)).astype(np.float32), generator.integers(0, experts, pilots), d)
            for d in range(2)
        ]
    )
    queries = generator.normal(size=(5, 3))
    found = {how: similarities(queries, made, experts, how) for how in ("mean", "max")}  # type: ignore[arg-type]
    for query in range(5):
        for expert in range(experts):
            own = [v for v, e in zip(made.vectors, made.experts, strict=True) if e == expert]
            cosines = [float(queries[query] @ v) / float(np.linalg.norm(queries[query])) for v in own] or [-np.inf]
            assert found["mean"][query, expert] == pytest.approx(np.mean(cosines), abs=1e-5)
            assert found["max"][query, expert] == pytest.approx(np.max(cosines), abs=1e-5)

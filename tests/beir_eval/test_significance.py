"""Significance equals what statistics packages compute, wherever they compute the same."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retrieval.beir_eval.significance import (
    bootstrap_interval,
    effect_size,
    holm,
    randomisation_test,
    rank_groups,
    t_test,
)
from retrieval.errors import InputError

# Two systems' nDCG@10 on twelve queries, with a tie and a loss; drawn once.
ONE = np.array([0.61, 0.35, 1.0, 0.0, 0.42, 0.78, 0.5, 0.91, 0.13, 0.66, 0.25, 0.84])
OTHER = np.array([0.55, 0.21, 1.0, 0.0, 0.47, 0.6, 0.39, 0.88, 0.0, 0.63, 0.11, 0.72])

# Multiples of 1/10, as P@10 has: sums tie, and rounding must not tell them apart.
tenths = st.integers(-10, 10).map(lambda value: value / 10)
few = st.integers(2, 10).flatmap(lambda n: arrays(np.float64, n, elements=tenths))


def scipy_permutation(differences: np.ndarray) -> float:
    """The exact test of all sign flips, by scipy."""
    found = scipy.stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    return float(found.pvalue)


@given(few)
def test_the_randomisation_test_of_few_queries_is_scipy_s_exact_one(differences: np.ndarray) -> None:
    """Also where sums tie, which scipy sees of whole numbers: what it allows for rounding is a part of the sum."""
    assert randomisation_test(differences) == pytest.approx(scipy_permutation((10 * differences).round()), abs=1e-12)


def test_the_randomisation_test_of_many_queries_comes_near_the_exact_one() -> None:
    """Drawn and exact p of the same twelve queries differ by what 50,000 draws leave: here less than four errors."""
    exact = float(randomisation_test(ONE - OTHER))
    drawn = float(randomisation_test(ONE - OTHER, rounds=1000))
    assert exact == pytest.approx(scipy_permutation(ONE - OTHER))
    assert abs(drawn - exact) < 4 * np.sqrt(exact * (1 - exact) / 1000) + 1 / 1001
    assert drawn != exact


@pytest.mark.parametrize(
    ("other", "permutation", "student"),
    [(OTHER, 0.0077, 0.004375884740743082), (np.roll(ONE, 5), 1.0, 1.0), (OTHER[::-1], 0.391, 0.3948531055588688)],
)
def test_both_tests_are_ranx_s(other: np.ndarray, permutation: float, student: float) -> None:
    """Of ranx 0.3.21: its t-test, and its randomisation test of 10,000 permutations, within three of its errors."""
    assert t_test(ONE - other) == pytest.approx(student, rel=1e-9)
    p = float(randomisation_test(ONE - other))
    assert p == pytest.approx(permutation, abs=3 * np.sqrt(p * (1 - p) / 10_000))


def test_a_drawn_p_is_never_0() -> None:
    """The observed signs count among those that were seen."""
    assert randomisation_test(np.full(400, 0.1) + np.arange(400) / 1e4, rounds=999) == 1 / 1000


def test_the_same_seed_gives_the_same_p_and_another_another() -> None:
    """So that a table can be printed again."""
    differences = np.sin(np.arange(300)) + 0.05
    first, again, other = (float(randomisation_test(differences, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert first == pytest.approx(other, abs=0.01)


def test_pairs_in_columns_are_tested_as_they_are_alone() -> None:
    """They share the sign flips, so that a column is what it is by itself; equal systems have p = 1."""
    rng = np.random.default_rng(3)
    table = np.column_stack([rng.normal(0.02, 0.2, 250), rng.normal(0, 0.2, 250), np.zeros(250)])
    together = randomisation_test(table)
    assert together.shape == (3,)
    assert together[:2] == pytest.approx([float(randomisation_test(table[:, i])) for i in range(2)])
    assert (together[2], t_test(table)[2], effect_size(table)[2]) == (1.0, 1.0, 0.0)


# Differences of a measure; of ones that differ by rounding alone, scipy warns.
DIFFERENCES = st.integers(-100, 100).map(lambda hundredths: hundredths / 100)


@given(st.integers(2, 40).flatmap(lambda n: arrays(np.float64, n, elements=DIFFERENCES)))
def test_the_t_test_is_scipy_s(differences: np.ndarray) -> None:
    """Of two related samples; scipy has no answer where no query differs, which is p = 1."""
    if np.ptp(differences) == 0:
        assert t_test(differences) == (1.0 if not differences.any() else pytest.approx(0.0, abs=1e-12))
        return
    theirs = scipy.stats.ttest_rel(differences, np.zeros(len(differences))).pvalue
    assert t_test(differences) == pytest.approx(theirs, rel=1e-9)


def test_the_effect_size_is_the_mean_in_standard_deviations() -> None:
    """And infinite where every query differs by the same."""
    differences = ONE - OTHER
    assert effect_size(differences) == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert effect_size(np.full(7, -0.3)) == -np.inf
    assert effect_size(OTHER - ONE) == -effect_size(differences)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.9, 0.5, 0.02], [1.0, 1.0, 0.06]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        # As statsmodels 0.15.0 has it: multipletests(p, method="holm").
        ([0.0001, 0.2, 0.013, 0.04, 0.013, 0.0499, 0.7], [0.0007, 0.4, 0.078, 0.16, 0.078, 0.16, 0.7]),
        ([0.04], [0.04]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values: list[float], expected: list[float]) -> None:
    """The smallest times how many there are, the next times one less, never below the one before, at most 1."""
    assert holm(p_values) == pytest.approx(expected)


def test_the_bootstrap_interval_comes_near_scipy_s() -> None:
    """The same percentiles of other draws: ends agree to a twentieth of the width."""
    values = np.random.default_rng(5).beta(0.7, 0.9, 200)
    low, high = bootstrap_interval(values)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=6).confidence_interval
    tolerance = (theirs.high - theirs.low) / 20
    assert (float(low), float(high)) == pytest.approx((theirs.low, theirs.high), abs=tolerance)
    narrow = bootstrap_interval(values, level=0.5)
    assert low < narrow[0] < values.mean() < narrow[1] < high


def test_columns_of_a_bootstrap_share_their_draws() -> None:
    """Two systems that differ by the same on every query have intervals that differ by just that."""
    values = np.random.default_rng(7).random(50)
    low, high = bootstrap_interval(np.column_stack([values, values + 1]), rounds=500)
    assert low[1] - low[0] == pytest.approx(1)
    assert high[1] - high[0] == pytest.approx(1)
    assert bootstrap_interval(values, rounds=500) == pytest.approx((low[0], high[0]))


def test_blocks_of_rounds_change_nothing_of_a_bootstrap_s_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by doing a few rounds at a time, down to one."""
    monkeypatch.setattr("retrieval.beir_eval.significance._BLOCK", 10)
    values = np.linspace(0, 1, 30)
    low, high = bootstrap_interval(values, rounds=400)
    assert 0.3 < low < 0.5 < high < 0.7
    assert 0 < randomisation_test(values - 0.45, rounds=400) < 1


@pytest.mark.parametrize(
    ("separable", "groups"),
    [
        ([], [1, 1, 1]),
        ([("a", "b"), ("a", "c"), ("b", "c")], [1, 2, 3]),
        ([("a", "c")], [1, 1, 2]),
        ([("b", "c")], [1, 1, 1]),
        ([("a", "b")], [1, 2, 2]),
    ],
    ids=["none", "all", "the chain a ~ b ~ c", "members differ", "c is like both"],
)
def test_rank_groups_by_hand(separable: list[tuple[str, str]], groups: list[int]) -> None:
    """Who is separable from the head of a group opens the next; the order in which systems are given is kept."""
    table = np.zeros((3, 3), dtype=bool)
    for one, other in separable:
        table["abc".index(one), "abc".index(other)] = table["abc".index(other), "abc".index(one)] = True
    assert rank_groups([0.7, 0.6, 0.5], table) == groups
    turned = [2, 0, 1]
    assert rank_groups(np.array([0.7, 0.6, 0.5])[turned], table[np.ix_(turned, turned)]) == [groups[i] for i in turned]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "at least"),
        ([0.5], "at least 2 queries"),
        ([0.1, np.nan], "finite"),
        ([0.1, np.inf], "finite"),
        (np.zeros((2, 2, 2)), "shape"),
    ],
)
def test_what_cannot_be_tested_is_refused(values: object, reason: str) -> None:
    """Too few queries, values that are no numbers, and tables of another shape."""
    with pytest.raises(InputError, match=reason):
        t_test(values)


def test_a_level_is_between_0_and_1() -> None:
    """Such as 0.95; 95 is not."""
    with pytest.raises(InputError, match="between 0 and 1; got 95"):
        bootstrap_interval(ONE, level=95)

"""Whether a difference between systems is more than the accident of which queries were asked.

All tests are two-sided and paired: every system has answered the same queries. Values of one measure are float64, the
queries in rows; where several systems, or pairs of them, stand in columns, each column gets a result of its own.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.errors import InputError

__all__ = [
    "ROUNDS",
    "bootstrap_interval",
    "effect_size",
    "holm",
    "randomisation_test",
    "rank_groups",
    "t_test",
]

ROUNDS = 100_000
"""Sign flips of a randomisation test, where there are more than can be tried one by one."""

_BOOTSTRAP_ROUNDS = 10_000

# Numbers in a block of rounds: 16 MB, of which there are a few at a time.
_BLOCK = 1 << 21

# Of the sum of all differences: sums that differ by no more than this are equal but for rounding.
_ROUNDING = 1e-12

Floats = NDArray[np.float64]


def randomisation_test(differences: ArrayLike, *, rounds: int = ROUNDS, seed: int = 0) -> Floats:
    """Fisher's paired randomisation test of a mean difference: how often do flipped signs give one as large?

    If two systems are alike, each query's difference could as well have had the other sign. Where at most `rounds`
    ways to flip signs exist, all are tried and p is exact: the share of those whose mean is at least as far from 0.
    Else `rounds` of them are drawn, and p is (1 + those as far) / (1 + rounds), as the ways that were seen include the
    one that was observed; p is then never 0. Queries without a difference in any column do not matter. All columns
    share the flips, and memory is bounded, whatever the number of rounds.

    Source: Smucker, Allan and Carterette, CIKM 2007. Phipson and Smyth, 2010, for the ones that are added.

    Args:
        differences: (queries,) or (queries, pairs), one system's values minus another's.
        rounds: at least 1.
        seed: of what is drawn.

    Returns:
        p in (0, 1], of the shape () or (pairs,); 1 where two systems are equal on every query.
    """
    values = _checked(differences, at_least=1)
    values = values[np.any(values.reshape(len(values), -1) != 0, axis=1)]
    exact = 2.0 ** len(values) <= rounds
    flips = _all_flips(len(values)) if exact else _drawn_flips(len(values), rounds, seed)
    observed = np.abs(values.sum(axis=0)) - _ROUNDING * np.abs(values).sum(axis=0)
    as_far = sum(
        (np.sum(np.abs(signs @ values) >= observed, axis=0, dtype=np.float64) for signs in flips),
        start=np.zeros(values.shape[1:]),
    )
    return np.asarray(as_far / 2.0 ** len(values) if exact else (1 + as_far) / (1 + rounds))


def _all_flips(n: int) -> Iterator[Floats]:
    """Blocks of (ways, n) of 1 and -1 that hold every way once."""
    low = min(n, 12)
    rest = np.array([*product((1.0, -1.0), repeat=low)])
    for signs in product((1.0, -1.0), repeat=n - low):
        yield np.hstack([np.tile(signs, (len(rest), 1)), rest])


def _drawn_flips(n: int, rounds: int, seed: int) -> Iterator[Floats]:
    generator = np.random.default_rng(seed)
    for count in _blocks(rounds, n):
        drawn = np.frombuffer(generator.bytes(-(-count * n // 8)), dtype=np.uint8)
        bits = np.unpackbits(drawn, count=count * n)
        yield 1 - 2 * bits.reshape(count, n).astype(np.float64)


def _blocks(rounds: int, n: int) -> Iterator[int]:
    """How many rounds of n numbers each are done together, until all are."""
    together = max(1, _BLOCK // n)
    for start in range(0, rounds, together):
        yield min(together, rounds - start)


def t_test(differences: ArrayLike) -> Floats:
    """Student's paired t-test of a mean difference, which holds the mean to be normally distributed.

    Args:
        differences: (queries,) or (queries, pairs), of at least two queries.

    Returns:
        p in [0, 1], of the shape () or (pairs,); 1 where two systems are equal on every query.
    """
    from scipy.special import stdtr

    size = effect_size(differences)
    n = len(np.asarray(differences))
    return np.asarray(2 * stdtr(n - 1, -np.abs(size) * np.sqrt(n)), dtype=np.float64)


def effect_size(differences: ArrayLike) -> Floats:
    """Cohen's d_z: the mean difference in units of the differences' standard deviation (of n - 1).

    Args:
        differences: (queries,) or (queries, pairs), of at least two queries.

    Returns:
        of the shape () or (pairs,); 0 where two systems are equal on every query, infinite where they differ by the
        same on all.
    """
    values = _checked(differences, at_least=2)
    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
    # What is left of differences that are all the same is rounding.
    deviation = np.where(deviation <= _ROUNDING * np.abs(mean), 0.0, deviation)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean == 0, 0.0, mean / deviation)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Holm's step-down correction for the tests of one family: adjusted p, in the order given.

    A test of it is significant at a level if its adjusted p is below. The chance that any pair of equal systems is
    told apart is then below that level, whatever the tests have to do with each other.

    Source: Holm, 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(p[order] * np.arange(len(p), 0, -1), 1.0))
    return adjusted


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, rounds: int = _BOOTSTRAP_ROUNDS, seed: int = 0
) -> tuple[Floats, Floats]:
    """Percentile bootstrap of a mean: where it would lie for other queries like these.

    All columns are measured on the same draws of queries. Intervals of two systems that overlap say little about their
    difference, as both move with the queries: take the interval of the differences.

    Source: Efron, 1979; for IR Sakai, SIGIR 2006.

    Args:
        values: (queries,) or (queries, columns), a system's values or differences.
        level: share of the draws that the interval holds, the rest halved below and above it.
        rounds: draws, each of as many queries as there are.
        seed: of what is drawn.

    Returns:
        the lower and the upper end, each of the shape () or (columns,).
    """
    table = _checked(values, at_least=1)
    if not 0 < level < 1:
        raise InputError(f"the level of an interval must be between 0 and 1; got {level}")
    generator, n = np.random.default_rng(seed), len(table)
    means = np.concatenate([_counts(generator, count, n) @ table / n for count in _blocks(rounds, n)])
    lower, upper = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(lower), np.asarray(upper)


def _counts(generator: np.random.Generator, draws: int, n: int) -> Floats:
    """How often each of n queries is in each of some draws of n, (draws, n)."""
    drawn = generator.integers(0, n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def rank_groups(means: Sequence[float] | Floats, separable: NDArray[np.bool_]) -> list[int]:
    """The rank group of each system, from 1, in the order given: systems that the queries cannot tell apart share one.

    "Cannot be told apart" is not transitive: A and B may not be, B and C neither, and A and C may. So each group has a
    head: the best system is the head of the first; going down by mean (equal means in the order given), a system that
    is separable from the current head opens the next group, and is its head; any other joins. A group therefore
    promises one thing: its head could not be told from any of its members, and was told from the next head. Two
    members may differ, and a head may not be separable from the last of the group above.

    Args:
        means: (systems,).
        separable: (systems, systems), whether the difference of two is significant, after a correction for all pairs.
    """
    groups = [0] * len(means)
    group, head = 0, -1
    for system in sorted(range(len(means)), key=lambda i: -means[i]):
        if group == 0 or separable[head, system]:
            group, head = group + 1, system
        groups[system] = group
    return groups


def _checked(values: ArrayLike, *, at_least: int) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim not in (1, 2) or len(table) < at_least:
        raise InputError(f"a comparison needs the values of at least {at_least} queries; got shape {table.shape}")
    if not np.isfinite(table).all():
        raise InputError("a comparison needs finite values; some are NaN or infinite")
    return table

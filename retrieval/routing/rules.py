"""Who answers a query, an expert or a system, and how good that choice was: rules on plain arrays.

Experts: Lee et al., "RouterRetriever" (2024). An expert is chosen by the similarity of the query's vector, as the base
model makes it, to its pilots: means of the vectors of training queries on which it did best. The fallback to the base
below a margin, and that a tie among the experts on a training query goes to the one of its own domain, are additions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError

__all__ = [
    "AGGREGATES",
    "BASE",
    "Aggregate",
    "Choices",
    "Diagnosis",
    "Pilots",
    "cheapest",
    "check_margin",
    "choose",
    "diagnose",
    "joined",
    "margins_of",
    "pilots_of",
    "similarities",
    "winners",
]

Floats = NDArray[np.floating[Any]]
Aggregate = Literal["mean", "max"]

AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)
"""How an expert's similarities to its pilots become one."""

BASE = -1
"""The column that stands for no expert."""


@dataclass(frozen=True)
class Pilots:
    """The pilots of all experts.

    Attributes:
        vectors: (p, d) float32, of length 1 where they are not zero.
        experts: (p,) int64, whose each is.
        domains: (p,) int64, of which domain's queries each is the mean.
        counts: (p,) int64, of how many.
    """

    vectors: NDArray[np.float32]
    experts: NDArray[np.int64]
    domains: NDArray[np.int64]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.experts)


@dataclass(frozen=True)
class Choices:
    """Of n queries the expert that answers, BASE for none, and by how much it is above the next: both (n,)."""

    columns: NDArray[np.int64]
    margins: NDArray[np.float64]


@dataclass(frozen=True)
class Diagnosis:
    """How good the choices for n queries were.

    Attributes:
        oracle: (n,) int64, who would have answered best; the first of those who are equal.
        ceiling: (n,) float64, how well.
        regret: (n,) float64, how much of that was missed.
        hurt: (n,) bool, whether the base would have answered better.
    """

    oracle: NDArray[np.int64]
    ceiling: NDArray[np.float64]
    regret: NDArray[np.float64]
    hurt: NDArray[np.bool_]


def winners(scores: Floats, own: int) -> NDArray[np.int64]:
    """(n,) the expert with the best of scores (n, e) on each query; a tie goes to expert `own`, else to the first."""
    best = scores.max(axis=1)
    return np.where(scores[:, own] == best, own, scores.argmax(axis=1))


def pilots_of(vectors: NDArray[np.float32], won: NDArray[np.int64], domain: int) -> Pilots:
    """One pilot for each expert that won a query of a domain: the mean of the vectors (n, d) of those that it won."""
    experts, counts = np.unique(won, return_counts=True)
    means = [vectors[won == expert].mean(axis=0) for expert in experts]
    stacked = np.stack(means) if means else vectors[:0]
    return Pilots(_unit(stacked), experts, np.full(len(experts), domain, dtype=np.int64), counts.astype(np.int64))


def joined(parts: Sequence[Pilots]) -> Pilots:
    """The pilots of several domains, at least one."""
    names = ("vectors", "experts", "domains", "counts")
    return Pilots(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def similarities(queries: Floats, pilots: Pilots, experts: int, aggregate: Aggregate = "mean") -> NDArray[np.float64]:
    """(n, experts) the mean, or the largest, cosine of each query (n, d) with each expert's pilots.

    A query of zeros has similarity 0 to all; an expert without a pilot has -inf.

    Raises:
        InputError: no such aggregate.
    """
    if aggregate not in AGGREGATES:
        raise InputError(f"similarities are aggregated by {' or '.join(AGGREGATES)}; got {aggregate!r}")
    cosines = _unit(queries).astype(np.float64) @ pilots.vectors.T.astype(np.float64)
    found = np.full((len(queries), experts), -np.inf)
    for expert in np.unique(pilots.experts):
        own = cosines[:, pilots.experts == expert]
        found[:, expert] = own.mean(axis=1) if aggregate == "mean" else own.max(axis=1)
    return found


def check_margin(margin: float) -> None:
    """An InputError for a margin, or a tolerance, that is no finite number: every comparison with it would fail."""
    if not math.isfinite(margin):
        raise InputError(f"a margin, or a tolerance, must be a finite number; got {margin!r}")


def choose(scores: Floats, margin: float = 0.0) -> Choices:
    """The expert with the largest of scores (n, e), at least one each; the first of those that tie.

    BASE where it is above the next by less than `margin`, and where no expert has a pilot.
    """
    found = margins_of(scores)
    best = scores.max(axis=1)
    columns = np.where(np.isfinite(best) & (found >= margin), scores.argmax(axis=1), BASE)
    return Choices(columns, found)


def margins_of(scores: Floats) -> NDArray[np.float64]:
    """(n,) by how much the largest of scores (n, m) is above the next; above 0 where there is no next.

    Where none is finite it is 0.
    """
    padded = np.column_stack([scores, np.full(len(scores), -np.inf)])
    ordered = np.where(np.isfinite(padded), padded, 0.0)[np.arange(len(scores))[:, None], np.argsort(-padded, axis=1)]
    margins: NDArray[np.float64] = ordered[:, 0] - ordered[:, 1]
    return margins


def cheapest(expected: Floats, costs: Floats, tolerance: float = 0.0) -> NDArray[np.int64]:
    """(n,) the system with the least of costs (m,) whose expected score (n, m) is no further below the best's.

    Args:
        expected: of each system on each query.
        costs: of each system.
        tolerance: how far below the best's it may be.
    """
    good = expected >= expected.max(axis=1, keepdims=True) - tolerance
    columns: NDArray[np.int64] = np.where(good, costs, np.inf).argmin(axis=1)
    return columns


def diagnose(scores: Floats, routed: Floats, base: Floats) -> Diagnosis:
    """Compare what the choices scored with what could have been chosen.

    Args:
        scores: (n, m) of all that could answer, on each query.
        routed: (n,) of who did answer.
        base: (n,) of who answers where nobody chooses.
    """
    ceiling = scores.max(axis=1).astype(np.float64)
    return Diagnosis(scores.argmax(axis=1), ceiling, np.maximum(ceiling - routed, 0.0), routed < base)


def _unit(vectors: Floats) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return scaled

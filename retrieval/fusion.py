"""Fusion: several ranked lists of one query become one.

Every method adds up, over the lists, a weight times what the list says of a document; a document that a list lacks
gets nothing from it. They differ in what a list says:

    MinMax          (score - lowest) / (highest - lowest) of the list, 1 where all are equal
    ZScore          (score - mean) / standard deviation, counted from the lowest; 1 where all are equal
    ReciprocalRank  1 / (constant + rank): Cormack et al., "Reciprocal rank fusion" (SIGIR 2009)
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.types import Hits, ScoreKind, Signals

__all__ = ["FUSIONS", "Fusion", "MinMax", "ReciprocalRank", "ZScore", "check_weights", "fuse"]

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Fusion(ABC):
    """How lists are put together.

    Attributes:
        weights: by name of the list; 1 for a list without one. At least 0.
        depth: how many hits of each stage take part. What no stage has within it is not a hit, whatever k.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    depth: int = 1000

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if not 0 <= weight < np.inf:
                raise InputError(f"the weight of {name!r} must be a number of at least 0; got {weight!r}")
        if self.depth < 1:
            raise InputError(f"the depth of fusion must be at least 1; got {self.depth!r}")

    @property
    def kind(self) -> ScoreKind:
        """What the fused scores mean."""
        return ScoreKind.SCORE_FUSION

    @abstractmethod
    def rescale(self, scores: NDArray[np.float32]) -> Scores:
        """What a list says of its documents, given their scores, best first and at least one."""


class MinMax(Fusion):
    """The sum of scores rescaled to 0..1 within each list."""

    def rescale(self, scores: NDArray[np.float32]) -> Scores:
        """1 for the best, 0 for the last, in any order; 1 where all are equal, so that a single hit is not lost."""
        above = scores.astype(np.float64) - scores.min()
        highest = above.max()
        return above / highest if highest > 0 else np.ones_like(above)


class ZScore(Fusion):
    """The sum of scores in standard deviations of each list, above the list's last."""

    def rescale(self, scores: NDArray[np.float32]) -> Scores:
        """Standard deviations above the last hit, so that a document that the list lacks is not above one it has."""
        above = scores.astype(np.float64) - scores[-1]
        deviation = above.std()
        return above / deviation if deviation > 0 else np.ones_like(above)


@dataclass(frozen=True, kw_only=True)
class ReciprocalRank(Fusion):
    """The sum of reciprocal ranks."""

    constant: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.constant < np.inf:
            raise InputError(f"the constant of reciprocal rank fusion must be at least 0; got {self.constant!r}")

    @property
    def kind(self) -> ScoreKind:
        """Ranks alone decide."""
        return ScoreKind.RANK_FUSION

    def rescale(self, scores: NDArray[np.float32]) -> Scores:
        """1 / (constant + rank)."""
        return 1.0 / (self.constant + np.arange(1, len(scores) + 1))


FUSIONS: Mapping[str, type[Fusion]] = {"minmax": MinMax, "rrf": ReciprocalRank, "zscore": ZScore}
"""Each by the name that settings call it."""


def fuse(lists: Mapping[str, Hits], fusion: Fusion, k: int) -> Hits:
    """The best k of the fused lists, for each query; `signals` keep what each list said of each hit.

    Args:
        lists: the hits of each stage for the same n queries.
        fusion: how to put them together.
        k: how many hits to keep.
    """
    check_weights(fusion.weights, lists)
    n = len(next(iter(lists.values())))
    width = min(k, sum(hits.ordinals.shape[1] for hits in lists.values()))
    fused = Hits.empty(n, width, fusion.kind)
    signals = {name: Signals.empty(n, width) for name in lists}
    for query in range(n):
        _fuse_query(query, lists, fusion, fused, signals)
    return Hits(fused.ordinals, fused.scores, fused.counts, fused.kind, signals)


def check_weights(weights: Iterable[str], lists: Collection[str]) -> None:
    """An error if a weight is for none of the lists."""
    if unknown := [name for name in weights if name not in lists]:
        raise InputError(f"a weight is given for {unknown[0]!r}; the lists are {', '.join(lists)}")


def _fuse_query(
    query: int, lists: Mapping[str, Hits], fusion: Fusion, fused: Hits, signals: Mapping[str, Signals]
) -> None:
    rows = {name: hits.row(query) for name, hits in lists.items()}
    documents = np.unique(np.concatenate([ordinals for ordinals, _ in rows.values()]))
    sums = np.zeros(len(documents))
    for name, (ordinals, scores) in rows.items():
        if len(ordinals):
            sums[np.searchsorted(documents, ordinals)] += fusion.weights.get(name, 1.0) * fusion.rescale(scores)
    # Rounded before they are sorted: what is equal in float32 is a tie, and stands in order of ordinals.
    rounded = sums.astype(np.float32)
    best = np.argsort(-rounded, kind="stable")[: fused.scores.shape[1]]
    count = len(best)
    fused.counts[query] = count
    fused.ordinals[query, :count], fused.scores[query, :count] = documents[best], rounded[best]
    for name, (ordinals, scores) in rows.items():
        _note(signals[name], query, documents[best], ordinals, scores)


def _note(
    signals: Signals,
    query: int,
    kept: NDArray[np.int64],
    ordinals: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    """Write what one list said of the hits that were kept."""
    _, here, there = np.intersect1d(kept, ordinals, assume_unique=True, return_indices=True)
    signals.ranks[query, here] = there + 1
    signals.scores[query, here] = scores[there]

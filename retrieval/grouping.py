"""Passages grouped by document: the best passage stands for it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from retrieval.types import Hits, Signals

__all__ = ["best_of_each"]


def best_of_each(hits: Hits, groups: NDArray[np.int64], k: int) -> Hits:
    """The best hit of each group, at most k of them for each query, in their order.

    Args:
        hits: of n queries.
        groups: (documents,) the group of each ordinal.
        k: groups to keep.
    """
    places = [_firsts(groups[ordinals])[:k] for ordinals, _ in hits.rows()]
    width = min(k, hits.ordinals.shape[1])
    kept = Hits.empty(len(hits), width, hits.kind)
    signals = {name: Signals.empty(len(hits), width) for name in hits.signals}
    for query, place in enumerate(places):
        count = kept.counts[query] = len(place)
        kept.ordinals[query, :count] = hits.ordinals[query, place]
        kept.scores[query, :count] = hits.scores[query, place]
        for name, signal in hits.signals.items():
            signals[name].ranks[query, :count] = signal.ranks[query, place]
            signals[name].scores[query, :count] = signal.scores[query, place]
    return replace(kept, signals=signals)


def _firsts(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each group occurs first, in order of occurrence."""
    _, firsts = np.unique(groups, return_index=True)
    return np.sort(firsts)

"""How much of an exact search an approximate one finds."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scores", "goal_of", "recall_of"]

_SLACK = 1e-6

Scores = tuple[NDArray[np.float32], NDArray[np.int64]]
"""(n, k) scores, best first, and (n,) how many of each row are hits."""


def recall_of(found: Scores, exact: Scores) -> float:
    """The share of the exact hits that were found, on average over the queries that have any.

    A hit counts if it scores at least as well as the last exact one, so of equal scores any may be found.
    """
    recalls = []
    for scores, count, best, most in zip(*found, *exact, strict=True):
        if most:
            enough = best[most - 1] - abs(best[most - 1]) * _SLACK
            recalls.append(min((scores[:count] >= enough).sum(), most) / most)
    return float(np.mean(recalls)) if recalls else 1.0


def goal_of(recall: float, margin: float) -> float:
    """The recall to reach on queries at hand, with a part of the misses that are allowed in reserve for others."""
    return 1 - (1 - recall) * (1 - margin)

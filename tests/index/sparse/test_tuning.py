"""Tuning reaches the recall that is asked for, on its queries, and says what it reached if it cannot."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.index.kernels.block_layout import Pruning, Rows
from retrieval.index.recall import recall_of
from retrieval.index.sparse.queries import TermQueries
from retrieval.index.sparse.tuning import queries_from_rows, tune

QUERIES = TermQueries(terms=np.arange(8), weights=np.ones(8, np.float32), offsets=np.arange(9))
EXACT = np.tile(np.arange(20, 10, -1).astype(np.float32), (8, 1)), np.full(8, 10)


class Search:
    """Finds more with a greater depth and a smaller share; its time grows with both."""

    def __init__(self, most: int = 10) -> None:
        self.time, self.most = 0.0, most

    def clock(self) -> float:
        """Simulated seconds so far."""
        return self.time

    def __call__(self, queries: TermQueries, pruning: Pruning, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores of the hits found, and how many they are."""
        self.time += pruning.depth + 20 / (pruning.share + 0.01)
        found = min(int(pruning.depth / 20 * (1 - pruning.share)), self.most)
        scores = EXACT[0].copy()
        scores[:, found:] = 0
        return scores, np.full(len(queries), found)


@pytest.mark.parametrize("recall", [0.3, 0.9, 1.0])
def test_the_cheapest_parameters_that_suffice_are_found(recall: float) -> None:
    """Nothing in the grid that suffices is faster."""
    search, shares, depths = Search(), (0.5, 0.2, 0.0), (1, 5, 10, 20, 30, 60)
    found = tune(
        search, lambda queries, k: EXACT, QUERIES, recall, margin=0.0, clock=search.clock, shares=shares, depths=depths
    )
    assert found.reached
    assert found.recall >= recall
    costs = []
    for share, depth in itertools.product(shares, depths):
        other = Search()
        if recall_of(other(QUERIES, Pruning(share, 0, depth * 10, 0), 10), EXACT) >= recall:
            costs.append(other.time / len(QUERIES))
    assert found.seconds == pytest.approx(min(costs))


def test_the_best_is_given_where_nothing_suffices() -> None:
    """With the recall that it reached."""
    search = Search(most=6)
    found = tune(search, lambda queries, k: EXACT, QUERIES, 0.99, clock=search.clock)
    assert not found.reached
    assert found.recall == pytest.approx(0.6)


def test_a_margin_is_kept() -> None:
    """Half of the misses that are allowed are left to other queries."""
    search = Search()
    found = tune(search, lambda queries, k: EXACT, QUERIES, 0.8, margin=0.5, clock=search.clock)
    assert found.recall >= 0.9


def test_recall_counts_ties_fairly() -> None:
    """Any hit as good as the last exact one counts; queries without exact hits do not."""
    exact = np.array([[3, 2, 2], [1, 0, 0], [0, 0, 0]], np.float32), np.array([3, 1, 0])
    found = np.array([[2, 2, 2], [0.5, 0, 0], [0, 0, 0]], np.float32), np.array([3, 1, 0])
    assert recall_of(found, exact) == pytest.approx(0.5)


def test_queries_are_made_of_documents() -> None:
    """Of those with entries alone; terms ascend, each with its weight in the document; the same for the same seed."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 100, 50)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    terms = np.concatenate([np.sort(rng.choice(500, size, replace=False)) for size in sizes]).astype(np.uint16)
    rows = Rows(offsets, terms, rng.integers(1, 256, len(terms)).astype(np.uint8))
    queries = queries_from_rows(rows, 200)
    assert len(queries) == np.count_nonzero(sizes)
    assert np.diff(queries.offsets).min() >= 1
    pairs = set(zip(terms.tolist(), rows.weights.tolist(), strict=True))
    assert set(zip(queries.terms.tolist(), queries.weights.astype(int).tolist(), strict=True)) <= pairs
    again = queries_from_rows(rows, 200)
    np.testing.assert_array_equal(queries.terms, again.terms)


def test_tuning_without_queries_is_an_error() -> None:
    """As is a recall above 1."""
    search = Search()
    nothing = TermQueries(terms=np.empty(0, np.int64), weights=np.empty(0, np.float32), offsets=np.zeros(1, np.int64))
    with pytest.raises(InputError):
        tune(search, lambda queries, k: EXACT, nothing, 0.9)
    with pytest.raises(InputError):
        tune(search, lambda queries, k: EXACT, QUERIES, 1.1)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.index.kernels import rescoring, rescoring_reference


@given(
    seed=st.integers(0, 10_000),
    d=st.sampled_from([1, 7, 31, 32, 33, 64, 100, 384]),
    k=st.integers(1, 12),
    breadth=st.integers(1, 40),
)
def test_the_kernel_equals_its_reference_to_the_bit(seed: int, d: int, k: int, breadth: int) -> None:
    """Scores, order and counts, with equal vectors, and with fewer rows proposed than are wanted."""
    rng = np.random.default_rng(seed)
    vectors = np.repeat(rng.standard_normal((30, d)), 2, axis=0).astype(np.float32)
    queries = rng.standard_normal((4, d)).astype(np.float32)
    ordinals = np.cumsum(rng.integers(1, 5, len(vectors)))
    rows = np.stack([rng.permutation(np.append(np.arange(-20, 60), np.full(breadth, -1)))[:breadth] for _ in queries])
    rows = np.maximum(rows, -1)
    found = [(np.full((4, k), -1), np.zeros((4, k), np.float32), np.zeros(4, np.int64)) for _ in range(2)]
    rescoring.rescore(queries, vectors, ordinals, rows, *found[0])
    rescoring_reference.rescore(queries, vectors, ordinals, rows, *found[1])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("d", [3, 32, 384, 1000])
def test_products_are_right_and_do_not_depend_on_their_neighbours(d: int) -> None:
    """Against float64; and of one row alone as among many."""
    rng = np.random.default_rng(d)
    vectors, query = rng.standard_normal((50, d)).astype(np.float32), rng.standard_normal(d).astype(np.float32)
    together, scores = _scores(query, vectors, np.arange(50)), vectors.astype(np.float64) @ query.astype(np.float64)
    np.testing.assert_allclose(together, scores, rtol=1e-4, atol=1e-4)
    assert _scores(query, vectors, np.array([17]))[17] == together[17]


def _scores(query: NDArray[np.float32], vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The kernel's score of each of the rows, at its place among all."""
    n = len(rows)
    ordinals, scores = np.empty((1, n), np.int64), np.empty((1, n), np.float32)
    places = np.arange(len(vectors))
    rescoring.rescore(query[None], vectors, places, rows[None], ordinals, scores, np.empty(1, np.int64))
    found = np.full(len(vectors), np.nan, np.float32)
    found[ordinals[0]] = scores[0]
    return found

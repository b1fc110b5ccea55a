import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.index.postings.reordering import _Part, reorder

Postings = tuple[NDArray[np.int64], NDArray[np.int32]]


def postings(texts: list[set[int]], n_terms: int) -> Postings:
    """Starts and ordinals of documents, given by their terms."""
    columns = [[row for row, text in enumerate(texts) if term in text] for term in range(n_terms)]
    ordinals = np.array([row for column in columns for row in column], dtype=np.int32)
    return np.cumsum([0, *map(len, columns)]).astype(np.int64), ordinals


def subjects(n: int, seed: int) -> list[set[int]]:
    """Documents of eight subjects, shuffled: five of a subject's ten terms each, and one of any."""
    rng = np.random.default_rng(seed)
    return [
        {*(10 * rng.integers(8) + rng.choice(10, 5, replace=False)).tolist(), int(rng.integers(80))} for _ in range(n)
    ]


@given(st.lists(st.sets(st.integers(0, 7)), max_size=40), st.integers(1, 6))
def test_an_order_is_a_stable_permutation(texts: list[set[int]], leaf: int) -> None:
    """Every document once; equal ones as they stood; empty ones last; the same on any number of threads."""
    starts, ordinals = postings(texts, 8)
    order = reorder(starts, ordinals, len(texts), leaf=leaf)
    assert order.dtype == np.int32
    assert sorted(order.tolist()) == list(range(len(texts)))
    for text in map(frozenset, texts):
        assert [row for row in order if texts[row] == text] == [row for row, other in enumerate(texts) if other == text]
    filled = sum(map(bool, texts))
    assert all(texts[row] for row in order[:filled])
    np.testing.assert_array_equal(order, reorder(starts, ordinals, len(texts), leaf=leaf, threads=2))


def test_similar_documents_become_neighbours() -> None:
    """Buckets hold far fewer distinct terms than before."""
    texts = subjects(256, seed=0)
    order = reorder(*postings(texts, 80), 256, leaf=32)
    before, after = (
        sum(len(set().union(*(texts[row] for row in bucket))) for bucket in np.split(rows, 8))
        for rows in (np.arange(256), order)
    )
    assert after < 0.7 * before


def test_rare_and_very_frequent_terms_place_nothing() -> None:
    """Documents that hold no others come after those that do, in their order, and empty ones after them."""
    texts = [set(), {0}, {1}, {0, 2}, {2}, {0}, {0, 3}, {3}, set(), {0, 3}, {0, 2}]
    order = reorder(*postings(texts, 4), len(texts), leaf=4)
    assert order[-5:].tolist() == [1, 2, 5, 0, 8]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_documents_without_terms_stay_as_they_are(n: int) -> None:
    """An index may hold none at all."""
    assert reorder(np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int32), n).tolist() == list(range(n))


@given(st.integers(257, 10**8))
def test_runs_are_cut_where_buckets_and_windows_end(size: int) -> None:
    """Both halves hold documents, the left one whole windows or, within a window, whole buckets, about half of them."""
    left = _Part(0, size, 0).split(256)
    assert left % (65536 if size > 65536 else 256) == 0
    assert 0 < left < size
    assert left <= 2 * (size - left) + 2 * 65536


@pytest.mark.parametrize(
    ("starts", "ordinals", "leaf"),
    [([0, 2], [0, 5], 1), ([0, 2], [-1, 0], 1), ([0, 3], [0, 1], 1), ([1, 2], [0, 1], 1), ([0, 2, 1, 2], [0, 1], 1),
     ([], [], 1), ([0, 2], [0, 1], 0)],
)  # fmt: skip
def test_what_is_no_postings_is_refused(starts: list[int], ordinals: list[int], leaf: int) -> None:
    """Kernels write where ordinals say, so nothing else may reach them."""
    with pytest.raises(InputError):
        reorder(np.array(starts, dtype=np.int64), np.array(ordinals, dtype=np.int32), 5, leaf=leaf)

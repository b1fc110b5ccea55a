"""Keys and their selection, held to NumPy's sort."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.index.kernels.topk import floor_of_values, key_of, ordinal_of, select, sort_descending

halves = st.tuples(st.sampled_from([1, 2, 7, 2**31 - 1]), st.integers(0, 2**32 - 2))


@given(pairs=st.lists(halves, min_size=1, max_size=300, unique=True))
def test_keys_are_sorted(pairs: list[tuple[int, int]]) -> None:
    """Few keys and many, few scores and many of each: better scores first, then smaller ordinals."""
    keys = np.array([key_of(np.uint32(bits), ordinal) for bits, ordinal in pairs], dtype=np.uint64)
    found = sort_descending(keys.copy(), len(keys), np.empty_like(keys))[: len(keys)]
    expected = sorted(pairs, key=lambda pair: (-pair[0], pair[1]))
    assert [(int(key) >> 32, int(ordinal_of(key))) for key in found] == expected


@given(scores=st.lists(st.integers(0, 2**31 - 1), min_size=49, max_size=400))
def test_many_scores_are_sorted(scores: list[int]) -> None:
    """Over the whole range of bits that a score can have."""
    keys = np.array([key_of(np.uint32(bits), place) for place, bits in enumerate(scores)], dtype=np.uint64)
    found = sort_descending(keys.copy(), len(keys), np.empty_like(keys))[: len(keys)]
    np.testing.assert_array_equal(found, np.sort(keys)[::-1])


@given(values=st.lists(st.integers(0, 9), min_size=1, max_size=100), share=st.floats(0, 1))
def test_the_largest_are_moved_to_the_front(values: list[int], share: float) -> None:
    """Among many equal ones too; none is lost."""
    k = max(1, round(share * len(values)))
    array = np.array(values, dtype=np.int32)
    select(array, len(array), k)
    assert sorted(array[:k], reverse=True) == sorted(values, reverse=True)[:k]
    assert sorted(array) == sorted(values)


@given(values=st.lists(st.floats(0.125, 9.5, width=32), min_size=1, max_size=200), share=st.floats(0, 1))
def test_a_floor_is_reached_by_k_values(values: list[float], share: float) -> None:
    """And it is not far below the k-th largest."""
    k = max(1, round(share * len(values)))
    array = np.array(values, dtype=np.float32)
    floor = floor_of_values(array, len(array), k, 9.5)
    kth = np.sort(array)[-k]
    assert kth * (1 + 1e-6) >= floor
    assert floor >= kth - 9.5 / 1024 - 1e-4

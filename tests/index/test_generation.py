from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from retrieval.index.generation import grouped


@given(st.lists(st.integers(0, 1000), max_size=30))
def test_merged_segments_shrink_from_first_to_last(sizes: list[int]) -> None:
    """Neighbours are merged, so that each segment is more than twice as large as the next."""
    groups = grouped(sizes)
    assert [number for group in groups for number in group] == list(range(len(sizes)))
    totals = [sum(sizes[number] for number in group) for group in groups]
    assert all(one > 2 * other for one, other in pairwise(totals))


def test_single_documents_are_copied_a_logarithm_of_times() -> None:
    """A thousand additions of one document make at most ten segments, and copy each document at most ten times."""
    sizes: list[int] = []
    copied = 0
    for _ in range(1000):
        sizes.append(1)
        groups = grouped(sizes)
        copied += sum(sum(sizes[number] for number in group) for group in groups if len(group) > 1)
        sizes = [sum(sizes[number] for number in group) for group in groups]
        assert len(sizes) <= 10
    assert copied <= 10 * 1000

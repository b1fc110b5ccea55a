from hypothesis import given
from hypothesis import strategies as st

from retrieval.streams import SeenIds, windows


@given(calls=st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=8), max_size=12))
def test_ids_are_new_once(calls: list[list[str]]) -> None:
    """Within a call and over any number of calls, as with a plain set."""
    seen, plain = SeenIds(), set()
    for ids in calls:
        expected = []
        for id_ in ids:
            expected.append(id_ not in plain)
            plain.add(id_)
        assert seen.add(ids).tolist() == expected


def test_many_ids() -> None:
    """Beyond the size at which runs are merged."""
    seen = SeenIds()
    for start in range(0, 20_000, 1000):
        assert seen.add([str(i) for i in range(start, start + 1000)]).all()
    assert not seen.add([str(i) for i in range(20_000)]).any()


@given(st.lists(st.integers(0, 9), max_size=50), st.integers(1, 7), st.integers(1, 20))
def test_windows_are_bounded(items: list[int], count: int, characters: int) -> None:
    """Nothing is lost, and a window is as long as it may be."""
    parts = list(windows(items, lambda item: item, count, characters))
    assert [item for part in parts for item in part] == items
    for part in parts:
        assert len(part) <= count
        assert sum(part[:-1]) < characters
    for part in parts[:-1]:
        assert len(part) == count or sum(part) >= characters

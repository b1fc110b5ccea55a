from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoders.runtimes.batching import longest_first, padded, token_batches

lengths = st.lists(st.integers(0, 300), max_size=80)


@given(lengths, st.integers(1, 1000), st.sampled_from([1, 8]))
def test_every_text_is_in_one_batch(found: list[int], budget: int, multiple: int) -> None:
    """And in no other."""
    batches = token_batches(found, budget, multiple)
    assert sorted(place for batch in batches for place in batch) == list(range(len(found)))
    assert all(batches)


@given(lengths, st.integers(1, 1000), st.sampled_from([1, 8]))
def test_the_budget_holds_with_the_padding(found: list[int], budget: int, multiple: int) -> None:
    """Unless one text is longer than it."""
    for batch in token_batches(found, budget, multiple):
        width = padded(max(found[place] for place in batch), multiple)
        assert len(batch) * width <= budget or len(batch) == 1


@given(lengths, st.integers(1, 1000))
def test_batches_are_as_full_as_they_can_be(found: list[int], budget: int) -> None:
    """The next text would not have fitted."""
    batches = token_batches(found, budget)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(1, found[batch[0]]) > budget


@given(lengths, st.integers(1, 1000))
def test_the_longest_come_first(found: list[int], budget: int) -> None:
    """Of equal ones those that came first, so that the same texts always make the same batches."""
    order = [place for batch in token_batches(found, budget) for place in batch]
    assert order == sorted(range(len(found)), key=lambda place: (-found[place], place))


def test_places_by_length() -> None:
    """Of any items."""
    assert longest_first(["a", "ccc", "bb", "ddd"], len) == [1, 3, 2, 0]

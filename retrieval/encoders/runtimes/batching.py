"""Lengths of texts to batches that hold about the same number of tokens, and little padding."""

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["longest_first", "padded", "token_batches"]

T = TypeVar("T")


def longest_first(items: Sequence[T], length: Callable[[T], int]) -> list[int]:
    """Places of the items, the longest first, of equal ones the first: the largest batch fails first, if one must."""
    lengths = [length(item) for item in items]
    return sorted(range(len(items)), key=lambda place: -lengths[place])


def token_batches(lengths: Sequence[int], budget: int, multiple: int = 1) -> list[list[int]]:
    """Places of texts in batches, the longest first; each batch, padded to its longest, holds at most `budget` tokens.

    A text that is longer than the budget is a batch of its own. What is made depends on the lengths alone.

    Args:
        lengths: tokens of each text.
        budget: tokens of a batch, those of padding included; at least one.
        multiple: what each batch's length is rounded up to.
    """
    assert budget > 0
    order = longest_first(lengths, int)
    batches = []
    start = 0
    while start < len(order):
        rows = max(1, budget // padded(max(1, lengths[order[start]]), multiple))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def padded(length: int, multiple: int) -> int:
    """The length, rounded up to a multiple."""
    return -(-length // multiple) * multiple

import pytest

from retrieval.beir_eval.wording import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "query", "1 query"),
        (2, "query", "2 queries"),
        (0, "cell", "0 cells"),
        (1, "test collection", "1 test collection"),
    ],
)
def test_things_are_counted_in_words(number: int, noun: str, text: str) -> None:
    """One of them is one."""
    assert counted(number, noun) == text

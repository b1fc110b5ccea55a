import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoders.runtimes import pipeline
from retrieval.encoders.runtimes.pipeline import Batching, run_model

torch = pytest.importorskip("torch")

texts_of_words = st.lists(st.lists(st.sampled_from("abc"), max_size=12).map(" ".join), max_size=40)


@pytest.fixture(autouse=True)
def _few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few texts make several chunks."""
    monkeypatch.setattr(pipeline, "_TOKENIZED_AT_ONCE", 7)


class Toy:
    """A tokenizer of words and a model that adds up their numbers, and remembers what it was given."""

    def __init__(self, *, left: bool = False) -> None:
        self.left = left
        self.shapes: list[tuple[int, int]] = []

    def tokenize(self, texts: list[str]) -> dict[str, Any]:
        """Numbers, a mask, the number of words, and something else."""
        rows = [[ord(word) for word in text.split()] for text in texts]
        width = max(map(len, rows), default=0)
        ids, mask = torch.zeros((len(rows), width), dtype=torch.long), torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):
            kept = slice(width - len(row), width) if self.left else slice(0, len(row))
            ids[i, kept], mask[i, kept] = torch.tensor(row, dtype=torch.long), 1
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "sizes": torch.tensor([len(row) for row in rows]),
            "kind": "t",
        }

    def forward(self, features: dict[str, Any]) -> Any:
        """The sum of each row."""
        assert features["kind"] == "t"
        assert (features["attention_mask"].sum(1) == features["sizes"]).all()
        self.shapes.append(tuple(features["input_ids"].shape))
        return (features["input_ids"] * features["attention_mask"]).sum(1)


def expected(texts: list[str]) -> list[int]:
    """What the toy makes of each by itself."""
    return [sum(map(ord, text.split())) for text in texts]


@given(texts_of_words, st.integers(1, 40), st.sampled_from([1, 4]), st.booleans())
def test_results_are_in_the_order_of_the_texts(texts: list[str], tokens: int, multiple: int, left: bool) -> None:
    """Whatever the batches are, on whichever side the padding; all are told of, and no batch holds too much."""
    toy, told = Toy(left=left), []
    batching = Batching(tokens=tokens, multiple=multiple)
    assert run_model(texts, toy.tokenize, toy.forward, lambda sums: sums.tolist(), batching, told.append) == expected(
        texts
    )
    assert sum(told) == len(texts)
    assert all(rows * width <= tokens or rows == 1 for rows, width in toy.shapes)


def test_pairs_of_texts_go_through_it_too() -> None:
    """As a cross-encoder reads them: whoever tokenises them says how long they are."""
    toy, pairs = Toy(), [("a", "b c"), ("a", ""), ("a b", "c"), ("a", "b b b b")] * 5

    def tokenize(some: list[tuple[str, str]]) -> dict[str, Any]:
        return toy.tokenize([" ".join(pair) for pair in some])

    found = run_model(
        pairs,
        tokenize,
        toy.forward,
        lambda sums: sums.tolist(),
        Batching(tokens=8),
        length=lambda pair: sum(map(len, pair)),
    )
    assert found == expected([" ".join(pair) for pair in pairs])


def test_texts_that_cannot_be_taken_apart_go_through_whole() -> None:
    """As where there is no padding: as many at a time as there are characters for."""
    toy, texts = Toy(), ["a b", "b", "a a a", "", "c c"] * 4
    batching = Batching(tokens=3, whole=True)
    assert run_model(texts, toy.tokenize, toy.forward, lambda sums: sums.tolist(), batching) == expected(texts)
    assert sum(rows for rows, _ in toy.shapes) == len(texts)
    assert len(toy.shapes) > 1


def test_a_mask_with_holes_is_left_as_it_is() -> None:
    """Nothing is cut off where it cannot be said what is padding."""

    def tokenize(texts: list[str]) -> dict[str, Any]:
        mask = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0]])[: len(texts)]
        return {"input_ids": torch.arange(8).view(2, 4)[: len(texts)], "attention_mask": mask}

    found = run_model(
        ["a", "b"],
        tokenize,
        lambda features: (features["input_ids"] * features["attention_mask"]).sum(1),
        lambda sums: sums.tolist(),
        Batching(tokens=8),
    )
    assert found == [1 + 3, 4 + 6]


def test_tokenising_is_one_chunk_ahead_and_no_more() -> None:
    """In a thread of its own; memory is bounded."""
    toy, tokenized, ahead, threads = Toy(), 0, [], set()
    lock = threading.Lock()

    def tokenize(texts: list[str]) -> dict[str, Any]:
        nonlocal tokenized
        with lock:
            tokenized += len(texts)
        threads.add(threading.get_ident())
        return toy.tokenize(texts)

    done = 0

    def forward(features: dict[str, Any]) -> Any:
        nonlocal done
        done += len(features["input_ids"])
        with lock:
            ahead.append(tokenized - done)
        return toy.forward(features)

    run_model(["a b c"] * 70, tokenize, forward, lambda sums: sums.tolist(), Batching(tokens=6))
    assert max(ahead) <= 2 * 7
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("where", ["tokenize", "forward", "fetch"])
def test_an_error_surfaces(where: str) -> None:
    """In the thread or out of it, with what was wrong; and no thread is left."""
    toy, before = Toy(), threading.active_count()

    def fail(given: Any) -> Any:
        raise ValueError(f"in {where}")

    steps = {"tokenize": toy.tokenize, "forward": toy.forward, "fetch": lambda sums: sums.tolist(), where: fail}
    with pytest.raises(ValueError, match=f"in {where}"):
        run_model(["a b"] * 30, *steps.values(), Batching(tokens=4))  # type: ignore[arg-type]
    assert threading.active_count() == before


def test_no_texts() -> None:
    """Nothing is asked of the model."""
    toy = Toy()
    assert run_model([], toy.tokenize, toy.forward, lambda sums: sums.tolist(), Batching(tokens=4)) == []
    assert toy.shapes == []

"""PAIR equals its formula written out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from retrieval.training.losses.contrastive import contrastive  # noqa: E402
from retrieval.training.losses.passages import pair  # noqa: E402
from tests.training.losses.references import gradient, gradients_hold, made, tensor  # noqa: E402


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6), st.floats(0, 1))
def test_pair_equals_the_reference(seed: int, b: int, n: int, alpha: float) -> None:
    """With any passages left out as known positives; what a passage scores with itself is not read."""
    rng = np.random.default_rng(seed)
    queries, passages = made(seed, b, n), made(seed + 1, b, n)
    targets, known = rng.integers(0, n, b), rng.random((b, n)) < 0.3
    expected = 0.0
    for i, target in enumerate(targets):
        negatives = [j for j in range(n) if j != target and not known[i, j]]
        own = math.exp(queries[i, target])
        from_query = -math.log(own / (own + sum(math.exp(queries[i, j]) for j in negatives)))
        from_passage = -math.log(own / (own + sum(math.exp(passages[i, j]) for j in negatives)))
        expected += ((1 - alpha) * from_query + alpha * from_passage) / b
    passages[np.arange(b), targets] = np.inf
    loss = pair(tensor(queries), tensor(passages), tensor(targets), tensor(known), alpha=alpha)
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_pair_by_hand() -> None:
    """Odds of 3 to 1 from the query, and of 3 to 6 from its positive, whose odds with itself, 99, do not count."""
    queries, passages = torch.log(torch.tensor([[3.0, 1.0]])), torch.log(torch.tensor([[99.0, 6.0]]))
    loss = pair(queries, passages, torch.tensor([0]), alpha=0.25)
    assert loss.item() == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(3))


def test_the_second_stage_is_the_usual_loss() -> None:
    """Without alpha passages are not read, whatever they hold."""
    queries, targets = tensor(made(0, 3, 5)), torch.tensor([0, 1, 2])
    loss = pair(queries, torch.full((3, 5), torch.nan), targets, alpha=0.0, temperature=0.5)
    assert loss.item() == contrastive(queries, targets, temperature=0.5).item()


def test_a_positive_is_driven_from_negative_passages() -> None:
    """The gradient lowers their scores with it, and leaves alone what is known and what is itself."""
    known = torch.tensor([[False, False, True]])
    moved = gradient(lambda p: pair(torch.zeros(1, 3).double(), p, torch.tensor([0]), known), tensor(made(0, 1, 3)))
    assert moved[0, 1] > 0
    assert moved[0, [0, 2]].tolist() == [0, 0]


def test_gradients_are_those_of_finite_differences() -> None:
    """For queries and for passages."""
    queries, passages = made(0, 3, 4), made(1, 3, 4)
    targets, known = torch.tensor([0, 1, 3]), torch.tensor([[False, True, False, False]] * 3)
    weights = tensor(np.random.default_rng(0).random((3, 4)))
    rest = {"alpha": 0.3, "temperature": 2.0, "weights": weights}
    assert gradients_hold(lambda s: pair(s, tensor(passages), targets, known, **rest), queries)
    assert gradients_hold(lambda s: pair(tensor(queries), s, targets, known, **rest), passages)

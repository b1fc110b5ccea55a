"""The reconstructed coupled estimation does what its formulas say, and what they are for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from retrieval.training.losses import coupled  # noqa: E402
from retrieval.training.losses.coupled import (  # noqa: E402
    cet_style_loss,
    cet_style_negative_weights,
    cet_style_probability,
    cet_style_propensity,
)
from tests.training.losses.references import gradient, gradients_hold, made, softmax, tensor  # noqa: E402


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6), st.sampled_from([0.5, 1.0, 4.0]))
def test_all_of_it_equals_the_reference(seed: int, b: int, n: int, temperature: float) -> None:
    """From both models' scores to the loss of relevance, list by list."""
    relevance, selection = made(seed, b, n), made(seed + 1, b, n)
    reference = np.random.default_rng(seed).integers(0, n, b)
    total = 0.0
    for f, g, ref in zip(relevance, selection, reference, strict=True):
        chances = softmax(g)
        propensity = min(max(chances[ref] / chances[0], 0.1), 10)
        relevant, selected = 1 / (1 + np.exp(f[0] - f)), 1 / (1 + np.exp(g[0] - g))
        weights = np.clip(1 - relevant * (1 - selected), 0.2, 1)
        weights[0] = 1
        odds = weights * np.exp(f / temperature)
        total -= propensity * math.log(odds[0] / odds.sum())
    f, g = tensor(relevance), tensor(selection)
    weights = cet_style_negative_weights(cet_style_probability(f), cet_style_probability(g), floor=0.2)
    loss = cet_style_loss(f, cet_style_propensity(g, tensor(reference)), weights, temperature=temperature)
    assert loss.item() == pytest.approx(total / b, rel=1e-9, abs=1e-12)


def test_by_hand() -> None:
    """Propensities of 2 and of the clip's ends; odds of 3 to half of 2; weights from both probabilities."""
    others = torch.log(torch.tensor([[1.0, 2.0], [1e9, 1.0], [1.0, 1e9], [1.0, 9.0]]))
    found = cet_style_propensity(others, torch.tensor([1, 1, 1, 0]))
    assert found.tolist() == pytest.approx([2, 0.1, 10, 1])
    scores = torch.log(torch.tensor([[3.0, 2.0]]))
    loss = cet_style_loss(scores, torch.tensor([2.0]), torch.tensor([[0.0, 0.5]]))
    assert loss.item() == pytest.approx(2 * math.log(4 / 3))
    weights = cet_style_negative_weights(
        torch.tensor([[1.0, 0.5, 1.0, 1.0]]), torch.tensor([[0.0, 0.5, 1.0, 0.0]]), floor=0.3
    )
    assert weights.tolist() == [pytest.approx([1, 0.75, 1, 0.3])]


def test_what_the_pool_missed_counts_little_and_a_true_hard_negative_fully() -> None:
    """Of two documents that look as relevant, the one that the pool would have shown stays a negative."""
    relevance = torch.tensor([[0.0, 3.0, 3.0, -9.0]])
    selection = torch.tensor([[0.0, -5.0, 5.0, -5.0]])
    _, missed, shown, easy = cet_style_negative_weights(
        cet_style_probability(relevance), cet_style_probability(selection), floor=0.05
    )[0].tolist()
    assert missed < 0.1
    assert min(shown, easy) > 0.99


def test_a_probability_does_not_fall_with_the_length_of_a_list() -> None:
    """Unlike a softmax: two documents can both be likely, and others beside them change nothing."""
    short, long = torch.tensor([[0.0, 4.0, 4.0]]), torch.tensor([[0.0, 4.0, 4.0, 4.0, 4.0]])
    assert (cet_style_probability(short)[0, 1:] > 0.9).all()
    assert torch.equal(cet_style_probability(long)[:, :3], cet_style_probability(short))


def test_extreme_scores_stay_within_the_clip() -> None:
    """Where the softmax of either document is 0 in float32, which would be 0 / 0."""
    others = torch.tensor([[-500.0, -700.0, 0.0], [-700.0, -500.0, 0.0]])
    assert cet_style_propensity(others, torch.tensor([1, 1])).tolist() == pytest.approx([0.1, 10.0])


def test_weights_of_one_are_the_usual_loss() -> None:
    """Which is how training starts."""
    scores = tensor(made(0, 3, 5))
    usual = torch.nn.functional.cross_entropy(scores, torch.zeros(3, dtype=torch.long)).item()
    assert cet_style_loss(scores, torch.ones(3)).item() == pytest.approx(usual)
    assert cet_style_loss(scores, torch.ones(3), torch.ones(3, 5)).item() == pytest.approx(usual)


def test_no_gradient_goes_into_weights() -> None:
    """Neither into the other model nor, through the weights, into the one that learns."""
    f, g = tensor(made(0, 2, 4)).requires_grad_(), tensor(made(1, 2, 4)).requires_grad_()
    weights = cet_style_negative_weights(cet_style_probability(f), cet_style_probability(g))
    propensity = cet_style_propensity(g, torch.tensor([1, 2]))
    assert not weights.requires_grad
    assert not propensity.requires_grad
    constants = propensity.clone(), weights.clone()
    cet_style_loss(f, propensity, weights).backward()
    assert g.grad is None
    assert torch.equal(f.grad, gradient(lambda s: cet_style_loss(s, *constants), f.detach()))


def test_gradients_are_those_of_finite_differences() -> None:
    """With weights, one of them 0."""
    weights = tensor(np.array([[1, 0.5, 0, 1], [1, 1, 0.2, 0.1]]))
    propensity = tensor(np.array([0.5, 3.0]))
    assert gradients_hold(lambda s: cet_style_loss(s, propensity, weights, temperature=2.0), made(0, 2, 4))


def test_it_is_called_a_reconstruction() -> None:
    """By its module, and by every function whose formula is this project's."""
    assert "RECONSTRUCTION" in coupled.__doc__
    assert all("erived for this project" in getattr(coupled, name).__doc__ for name in coupled.__all__)
    assert all(name.startswith("cet_style") for name in coupled.__all__)

"""Losses equal slow references and cases worked out by hand, and their gradients are those of finite differences."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from retrieval.training.losses.contrastive import contrastive  # noqa: E402
from retrieval.training.losses.distillation import kl_divergence, margin_mse  # noqa: E402
from retrieval.training.losses.sparsity import flops, l1, quadratic_ramp  # noqa: E402
from tests.training.losses.references import Floats, gradient, gradients_hold, made, tensor  # noqa: E402


def slow_contrastive(scores: Floats, targets: NDArray, known: NDArray, temperature: float, weights: Floats) -> float:
    """One query after the other, one document after the other."""
    total = 0.0
    for row, target in enumerate(targets):
        kept = [j for j in range(scores.shape[1]) if j == target or not known[row, j]]
        odds = [math.exp(scores[row, j] / temperature) * (1 if j == target else weights[row, j]) for j in kept]
        total -= math.log(odds[kept.index(target)] / sum(odds))
    return total / len(targets)


def slow_kl(scores: Floats, teacher: Floats, temperature: float) -> float:
    """Over each query's documents that the teacher knows."""
    total = 0.0
    for given_scores, wanted_scores in zip(scores, teacher, strict=True):
        kept = np.flatnonzero(wanted_scores > -np.inf)
        wanted = np.exp(wanted_scores[kept] / temperature)
        given_ = np.exp(given_scores[kept] / temperature)
        wanted, given_ = wanted / wanted.sum(), given_ / given_.sum()
        total += sum(t * (math.log(t) - math.log(s)) for t, s in zip(wanted, given_, strict=True))
    return total / len(scores) * temperature**2


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 7), st.sampled_from([0.5, 1.0, 20.0]))
def test_contrastive_equals_the_reference(seed: int, b: int, n: int, temperature: float) -> None:
    """With any documents left out as known positives, the target never among them, and with weights of any others."""
    rng = np.random.default_rng(seed)
    scores, targets, known = made(seed, b, n), rng.integers(0, n, b), rng.random((b, n)) < 0.3
    weights = np.maximum(rng.random((b, n)) - 0.2, 0)
    for given_weights, all_weights in ((None, np.ones((b, n))), (tensor(weights), weights)):
        loss = contrastive(
            tensor(scores), tensor(targets), tensor(known), temperature=temperature, weights=given_weights
        )
        expected = slow_contrastive(scores, targets, known, temperature, all_weights)
        assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_contrastive_by_hand() -> None:
    """Scores of log 3 against log 1: the softmax is 3/4; a known positive beside it changes nothing."""
    scores = torch.log(torch.tensor([[3.0, 1.0, 99.0]]))
    loss = contrastive(scores, torch.tensor([0]), torch.tensor([[True, False, True]]))
    assert loss.item() == pytest.approx(-math.log(3 / 4))
    alone = contrastive(scores, torch.tensor([0]), torch.tensor([[True, True, True]]))
    assert alone.item() == 0


def test_a_weight_counts_a_negative_in_part() -> None:
    """Half of odds of 2 stands in the denominator, nothing of what weighs 0, and all of the target."""
    scores, weights = torch.log(torch.tensor([[3.0, 2.0, 99.0]])), torch.tensor([[0.0, 0.5, 0.0]])
    loss = contrastive(scores, torch.tensor([0]), weights=weights)
    assert loss.item() == pytest.approx(-math.log(3 / 4))
    moved = gradient(lambda s: contrastive(s, torch.tensor([0]), weights=weights), scores)
    assert moved[0].tolist() == pytest.approx([-1 / 4, 1 / 4, 0])
    known = torch.tensor([[True, True, True]])
    assert contrastive(scores, torch.tensor([0]), known, weights=weights).item() == 0
    learned = weights.clone().requires_grad_()
    assert not contrastive(scores, torch.tensor([0]), weights=learned).requires_grad


def test_half_precision_is_compared_in_full() -> None:
    """Scores that come in half types give what the same numbers give in float32, in float32."""
    scores, teacher = tensor(made(0, 3, 4)).to(torch.bfloat16), tensor(made(1, 3, 4)).to(torch.float16)
    for loss in (
        lambda s, _: contrastive(s, torch.arange(3)),
        kl_divergence,
        lambda s, t: margin_mse(s[:, 0], s[:, 1:], t[:, 0], t[:, 1:]),
        lambda s, _: flops(s),
        lambda s, _: l1(s),
    ):
        assert loss(scores, teacher).dtype == torch.float32
        assert loss(scores, teacher).item() == loss(scores.float(), teacher.float()).item()


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6), st.sampled_from([0.5, 1.0, 4.0]))
def test_kl_equals_the_reference(seed: int, b: int, n: int, temperature: float) -> None:
    """Also where the teacher does not know some documents."""
    scores, teacher = made(seed, b, n), made(seed + 1, b, n)
    unknown = np.random.default_rng(seed).random((b, n)) < 0.3
    unknown[:, 0] = False
    teacher[unknown] = -np.inf
    loss = kl_divergence(tensor(scores), tensor(teacher), temperature=temperature)
    assert loss.item() == pytest.approx(slow_kl(scores, teacher, temperature), rel=1e-4, abs=1e-5)


def test_kl_by_hand() -> None:
    """A teacher of 3/4 and 1/4 against an even student; and none where they agree up to a shift."""
    teacher = torch.log(torch.tensor([[3.0, 1.0]]))
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert kl_divergence(torch.zeros(1, 2), teacher).item() == pytest.approx(expected)
    assert kl_divergence(teacher + 5, teacher).item() == pytest.approx(0, abs=1e-6)


def test_margin_mse_by_hand() -> None:
    """Margins of 2 and 5 where 1 and 1 are wanted: (1 + 16) / 2."""
    loss = margin_mse(torch.tensor([6.0]), torch.tensor([[4.0, 1.0]]), torch.tensor([3.0]), torch.tensor([[2.0, 2.0]]))
    assert loss.item() == 8.5


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 4))
def test_margin_mse_equals_the_reference(seed: int, b: int, k: int) -> None:
    """Pair by pair; a shift of the teacher's scores changes nothing."""
    student, teacher = made(seed, b, k + 1), made(seed + 1, b, k + 1)
    pairs = [
        ((student[i, 0] - student[i, j]) - (teacher[i, 0] - teacher[i, j])) ** 2
        for i in range(b)
        for j in range(1, k + 1)
    ]
    for shift in (0, 7):
        s, t = tensor(student), tensor(teacher + shift)
        loss = margin_mse(s[:, 0], s[:, 1:], t[:, 0], t[:, 1:])
        assert loss.item() == pytest.approx(np.mean(pairs), rel=1e-4)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6))
def test_regularisers_equal_the_reference(seed: int, b: int, v: int) -> None:
    """Term by term, and vector by vector."""
    weights = made(seed, b, v)
    by_term = sum((sum(abs(weights[i, j]) for i in range(b)) / b) ** 2 for j in range(v))
    by_vector = sum(sum(abs(weights[i, j]) for j in range(v)) for i in range(b)) / b
    assert flops(tensor(weights)).item() == pytest.approx(by_term, rel=1e-5)
    assert l1(tensor(weights)).item() == pytest.approx(by_vector, rel=1e-5)


def test_regularisers_by_hand() -> None:
    """Two vectors that share one term of two: (1 + 3)/2 squared, and 1/2 squared."""
    weights = torch.tensor([[1.0, 0.0], [3.0, -1.0]])
    assert flops(weights).item() == 4.25
    assert l1(weights).item() == 2.5


def test_the_ramp_is_quadratic_and_then_level() -> None:
    """Nothing at first, a quarter half way, all from the end of the ramp; all at once without a ramp."""
    assert [quadratic_ramp(8.0, step, 10) for step in (0, 5, 10, 99)] == [0.0, 2.0, 8.0, 8.0]
    assert quadratic_ramp(8.0, 0, 0) == 8.0


def test_gradients_are_those_of_finite_differences() -> None:
    """Of every loss, with what is left out left out."""
    scores, teacher = made(3, 3, 4), tensor(made(4, 3, 4))
    teacher[0, 2] = -torch.inf
    targets, known = torch.tensor([0, 1, 3]), torch.tensor([[False, True, False, False]] * 3)
    weights = tensor(np.random.default_rng(3).random((3, 4)))
    assert gradients_hold(lambda s: contrastive(s, targets, known, temperature=2.0, weights=weights), scores)
    assert gradients_hold(lambda s: kl_divergence(s, teacher, temperature=2.0), scores)
    wanted = teacher[:, 3], teacher[:, [0, 1, 3]]
    assert gradients_hold(lambda s: margin_mse(s[:, 0], s[:, 1:], *wanted), scores)
    assert gradients_hold(flops, scores)
    assert gradients_hold(l1, scores)

"""Distillation within batches and lists: slow references, optima, and which side learns."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from retrieval.errors import InputError  # noqa: E402
from retrieval.training.losses.adversarial import ranker  # noqa: E402
from retrieval.training.losses.distillation import (  # noqa: E402
    dynamic_listwise,
    in_batch_margin_mse,
    kl_divergence,
    margin_mse,
)
from tests.training.losses.references import (  # noqa: E402
    Floats,
    descended,
    gradient,
    gradients_hold,
    made,
    softmax,
    tensor,
)

DIRECTIONS = ("teacher-student", "student-teacher")


def slow_in_batch(scores: Floats, teacher: Floats) -> float:
    """Each query's positive with every other passage, in two halves."""
    b, n = scores.shape
    halves: dict[bool, list[float]] = {True: [], False: []}
    for i, j in np.ndindex(b, n):
        if i != j:
            margin, wanted = scores[i, i] - scores[i, j], teacher[i, i] - teacher[i, j]
            halves[j < b].append((margin - wanted) ** 2)
    means = [np.mean(half) for half in halves.values() if half]
    return float(np.mean(means)) if means else 0.0


def slow_listwise(scores: Floats, teacher: Floats, kl_weight: float, direction: str) -> float:
    total = 0.0
    for student, wanted in zip(scores, teacher, strict=True):
        kept = np.flatnonzero(wanted > -np.inf)
        a, b = softmax(wanted[kept]), softmax(student[kept])
        first, second = (a, b) if direction == "teacher-student" else (b, a)
        divergence = sum(p * (math.log(p) - math.log(q)) for p, q in zip(first, second, strict=True))
        total += -math.log(a[0]) + kl_weight * divergence
    return total / len(scores)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(0, 3))
def test_in_batch_margins_equal_the_reference(seed: int, b: int, k: int) -> None:
    """Also with one query, and without negatives; a teacher that is shifted by query changes nothing."""
    scores, teacher = made(seed, b, b + b * k), made(seed + 1, b, b + b * k)
    expected = slow_in_batch(scores, teacher)
    shifted = teacher + made(seed + 2, b, 1)
    assert in_batch_margin_mse(tensor(scores), tensor(teacher)).item() == pytest.approx(expected, rel=1e-9)
    assert in_batch_margin_mse(tensor(scores), tensor(shifted)).item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_in_batch_margins_by_hand() -> None:
    """Margins of 1 and 3 to the other positive, of 2, 2, 0, 0 to negatives, where the teacher sees none."""
    scores = torch.tensor([[2.0, 1.0, 0.0, 0.0], [0.0, 3.0, 3.0, 3.0]])
    assert in_batch_margin_mse(scores, torch.zeros(2, 4)).item() == ((1 + 9) / 2 + (4 + 4) / 4) / 2


def test_in_batch_margins_vanish_at_the_teacher() -> None:
    """And their gradient with them; the teacher gets none."""
    teacher = tensor(made(0, 3, 6)).requires_grad_()
    student = teacher.detach() + 5
    assert in_batch_margin_mse(student, teacher).item() == pytest.approx(0, abs=1e-12)
    assert gradient(lambda s: in_batch_margin_mse(s, teacher), student).abs().max() < 1e-12
    assert not in_batch_margin_mse(student, teacher).requires_grad


@settings(max_examples=30)
@given(
    st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6), st.sampled_from([0.0, 0.25, 1.0]),
    st.sampled_from(DIRECTIONS), st.booleans(),
)  # fmt: skip
def test_listwise_equals_the_reference(seed: int, b: int, n: int, weight: float, direction: str, grad: bool) -> None:
    """In both directions, also where lists are shorter than others; what gets a gradient does not change it."""
    scores, teacher = made(seed, b, n), made(seed + 1, b, n)
    absent = np.random.default_rng(seed).random((b, n)) < 0.3
    absent[:, 0] = False
    teacher[absent] = -np.inf
    loss = dynamic_listwise(
        tensor(scores), tensor(teacher), kl_weight=weight, kl_direction=direction, teacher_grad=grad
    )
    assert loss.item() == pytest.approx(slow_listwise(scores, teacher, weight, direction), rel=1e-9, abs=1e-12)


def test_listwise_by_hand() -> None:
    """A teacher of 3/4 and 1/4 against an even student, each way."""
    teacher, even = torch.log(torch.tensor([[3.0, 1.0]])), torch.zeros(1, 2)
    forward = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    backward = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    for direction, divergence in zip(DIRECTIONS, (forward, backward), strict=True):
        loss = dynamic_listwise(even, teacher, kl_weight=2.0, kl_direction=direction)
        assert loss.item() == pytest.approx(math.log(4 / 3) + 2 * divergence)
    with pytest.raises(InputError, match="kl_direction"):
        dynamic_listwise(even, teacher, kl_weight=1.0, kl_direction="both")


def test_the_divergence_alone_does_not_train_the_teacher_unless_asked() -> None:
    """The trap of a port: without more, the teacher's gradient is that of judgements alone."""
    scores, teacher = tensor(made(0, 2, 4)), tensor(made(1, 2, 4))
    judged = gradient(ranker, teacher)
    for direction in DIRECTIONS:
        rest = {"kl_weight": 1.0, "kl_direction": direction}
        apart = gradient(lambda t, rest=rest: dynamic_listwise(scores, t, **rest), teacher)
        assert torch.allclose(apart, judged)
        mutual = gradient(lambda t, rest=rest: dynamic_listwise(scores, t, teacher_grad=True, **rest), teacher)
        assert not torch.allclose(mutual, judged)


def test_a_weight_of_one_by_the_length_is_the_published_mean() -> None:
    """Which averages the divergence over queries and over the documents of a list."""
    scores, teacher = tensor(made(0, 2, 4)), tensor(made(1, 2, 4))
    published = torch.nn.functional.kl_div(
        scores.log_softmax(dim=1), teacher.log_softmax(dim=1), log_target=True, reduction="none"
    ).mean()
    loss = dynamic_listwise(scores, teacher, kl_weight=1 / 4) - ranker(teacher)
    assert loss.item() == pytest.approx(published.item())


def test_divergences_are_least_at_the_teacher() -> None:
    """Descent leads to the teacher's probabilities from elsewhere, in both directions."""
    teacher, start = tensor(made(5, 2, 4)) / 3, tensor(made(6, 2, 4)) / 3
    losses = [lambda s, d=d: dynamic_listwise(s, teacher, kl_weight=1.0, kl_direction=d) for d in DIRECTIONS]
    for loss in (*losses, lambda s: kl_divergence(s, teacher)):
        assert gradient(loss, teacher + 3).abs().max().item() == pytest.approx(0, abs=1e-12)
        assert torch.allclose(descended(loss, start, steps=300, rate=2.0).softmax(1), teacher.softmax(1), atol=1e-3)


def test_gradients_are_those_of_finite_differences() -> None:
    """For the student, and for a teacher that learns too."""
    scores, teacher = made(0, 3, 6), made(1, 3, 6)
    absent = tensor(made(1, 3, 6)).masked_fill(torch.eye(3, 6).bool().roll(1, dims=1), -torch.inf)
    assert gradients_hold(lambda s: in_batch_margin_mse(s, tensor(teacher)), scores)
    for direction in DIRECTIONS:
        rest = {"kl_weight": 0.5, "kl_direction": direction, "teacher_grad": True}
        assert gradients_hold(lambda s, rest=rest: dynamic_listwise(s, absent, **rest), scores)
        assert gradients_hold(lambda t, rest=rest: dynamic_listwise(tensor(scores), t, **rest), teacher)


def test_half_precision_is_compared_in_full() -> None:
    """Scores that come in half types give what the same numbers give in float32, in float32."""
    scores, teacher = tensor(made(0, 2, 4)).to(torch.bfloat16), tensor(made(1, 2, 4)).to(torch.float16)
    for loss in (in_batch_margin_mse, lambda s, t: dynamic_listwise(s, t, kl_weight=1.0)):
        assert loss(scores, teacher).dtype == torch.float32
        assert loss(scores, teacher).item() == loss(scores.float(), teacher.float()).item()
    assert margin_mse(scores[:, 0], scores[:, 1:], teacher[:, 0], teacher[:, 1:]).dtype == torch.float32

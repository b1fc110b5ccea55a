"""AR2's losses equal slow references, and each pulls to where it should."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from retrieval.errors import InputError  # noqa: E402
from retrieval.training.losses.adversarial import adversarial, ar2_retriever, distilled, ranker, rewards  # noqa: E402
from tests.training.losses.references import (  # noqa: E402
    Floats,
    descended,
    gradient,
    gradients_hold,
    made,
    softmax,
    tensor,
)


def slow_retriever(
    retriever: Floats, judge: Floats, weight: float, temperature: float, reduction: str
) -> tuple[float, float, float]:
    """The adversarial part, the distilled part and the whole, list by list over what is there."""
    deceiving, taught = 0.0, 0.0
    for scores, judged in zip(retriever, judge, strict=True):
        kept = np.flatnonzero(judged > -np.inf)
        chances, wanted = softmax(scores[kept]), softmax(judged[kept] / temperature)
        reward = [math.log(math.exp(judged[0]) / (math.exp(judged[0]) + math.exp(judged[i]))) for i in kept]
        deceiving += sum(r * math.log(p) for r, p in zip(reward, chances, strict=True))
        taught -= sum(t * math.log(p) for t, p in zip(wanted, chances, strict=True))
    deceiving, taught = deceiving / (len(retriever) if reduction == "mean" else 1), taught / len(retriever)
    return deceiving, taught, weight * deceiving + (1 - weight) * taught


@settings(max_examples=30)
@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.integers(1, 6),
    st.floats(0, 1),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.sampled_from(["mean", "sum"]),
)
def test_the_retrievers_loss_equals_the_reference(
    seed: int, b: int, n: int, weight: float, temperature: float, reduction: str
) -> None:
    """Also where lists are shorter than others."""
    retriever, judge = made(seed, b, n), made(seed + 1, b, n)
    absent = np.random.default_rng(seed).random((b, n)) < 0.3
    absent[:, 0] = False
    judge[absent] = -np.inf
    expected = slow_retriever(retriever, judge, weight, temperature, reduction)
    scores, judged = tensor(retriever), tensor(judge)
    loss = ar2_retriever(scores, judged, adversarial_weight=weight, temperature=temperature, reduction=reduction)
    assert loss.item() == pytest.approx(expected[2], rel=1e-9, abs=1e-12)
    assert distilled(scores, judged, temperature=temperature).item() == pytest.approx(expected[1], rel=1e-9, abs=1e-12)
    listed = scores.masked_fill(tensor(absent), -torch.inf)
    mean = expected[0] / (b if reduction == "sum" else 1)
    assert adversarial(listed, rewards(judged)).item() == pytest.approx(mean, rel=1e-9, abs=1e-12)


def test_by_hand() -> None:
    """A ranker of odds 3 to 1, and a retriever that finds both alike."""
    judge, even = torch.log(torch.tensor([[3.0, 1.0]])), torch.zeros(1, 2)
    assert ranker(judge).item() == pytest.approx(math.log(4 / 3))
    assert rewards(judge).tolist() == [pytest.approx([math.log(1 / 2), math.log(3 / 4)])]
    assert adversarial(even, rewards(judge)).item() == pytest.approx(math.log(3 / 8) * math.log(1 / 2))
    assert distilled(even, judge).item() == pytest.approx(math.log(2))


def test_the_reduction_is_of_the_adversarial_part_alone() -> None:
    """The trap of the published code: with a list twice, its sum doubles and the other mean stays."""
    scores, judge = tensor(made(0, 1, 4)), tensor(made(1, 1, 4))
    twice, judged = torch.cat([scores, scores]), torch.cat([judge, judge])
    once = adversarial(scores, rewards(judge)).item()
    summed = ar2_retriever(twice, judged, reduction="sum").item()
    assert summed == pytest.approx(once + distilled(scores, judge).item() / 2)
    assert ar2_retriever(twice, judged).item() == pytest.approx(ar2_retriever(scores, judge).item())
    with pytest.raises(InputError, match="reduction"):
        ar2_retriever(scores, judge, reduction="none")


def test_rewards_of_a_sure_ranker_are_finite() -> None:
    """Where exp(1000) is not: certain of the positive 0, deceived by as much as the scores differ."""
    found = rewards(torch.tensor([[1000.0, 0.0, 2000.0]]))
    assert found.tolist() == [pytest.approx([math.log(1 / 2), 0, -1000])]


def test_no_gradient_goes_into_the_ranker() -> None:
    """The retriever's loss trains the retriever, whatever the ranker's scores hang on."""
    retriever, judge = tensor(made(0, 2, 4)).requires_grad_(), tensor(made(1, 2, 4)).requires_grad_()
    ar2_retriever(retriever, judge).backward()
    assert judge.grad is None
    assert retriever.grad is not None
    assert not rewards(judge).requires_grad


def test_the_retriever_turns_to_what_deceives_the_ranker() -> None:
    """The document that the ranker prefers to the positive gains most; the optimum shares by the rewards."""
    reward = rewards(torch.tensor([[1.0, -1.0, 4.0]], dtype=torch.float64))
    even = torch.zeros(1, 3, dtype=torch.float64)
    moved = gradient(lambda s: adversarial(s, reward), even)
    assert moved[0].argmin() == 2
    assert moved[0].argmax() == 1
    optimum = descended(lambda s: adversarial(s, reward), even, steps=300).softmax(dim=1)
    assert torch.allclose(optimum, reward / reward.sum())


def test_distillation_is_least_at_the_ranker() -> None:
    """There it is as large as the entropy of the ranker's probabilities, and has no gradient."""
    judge = tensor(made(0, 2, 5))
    wanted = (judge / 2).softmax(dim=1)
    loss = lambda s: distilled(s, judge, temperature=2.0)  # noqa: E731
    assert loss(judge / 2 + 7).item() == pytest.approx(-(wanted * wanted.log()).sum().item() / 2)
    assert gradient(loss, judge / 2).abs().max().item() == pytest.approx(0, abs=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    """Of both sides, with a document left out."""
    scores, judge = made(0, 2, 4), tensor(made(1, 2, 4))
    judge[0, 2] = -torch.inf
    assert gradients_hold(ranker, scores)
    assert gradients_hold(lambda s: ar2_retriever(s, judge, adversarial_weight=0.3, temperature=2.0), scores)


def test_half_precision_is_compared_in_full() -> None:
    """Scores that come in half types give what the same numbers give in float32, in float32."""
    scores, judge = tensor(made(0, 2, 4)).to(torch.bfloat16), tensor(made(1, 2, 4)).to(torch.bfloat16)
    assert ranker(judge).item() == ranker(judge.float()).item()
    assert ar2_retriever(scores, judge).dtype == torch.float32
    assert ar2_retriever(scores, judge).item() == ar2_retriever(scores.float(), judge.float()).item()

"""Losses of pairs equal references that go pair by pair, and avoid what is known to go wrong in published code."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from retrieval.errors import InputError  # noqa: E402
from retrieval.training.losses.pairwise import lambda_rank, pairwise_softmax, rank_net  # noqa: E402
from tests.training.losses.references import Floats, gradient, gradients_hold, made, tensor  # noqa: E402


def cost(better: float, worse: float) -> float:
    return math.log(1 + math.exp(worse - better))


def slow_star(in_batch: Floats, hard: Floats, known_in_batch: NDArray, known_hard: NDArray) -> float:
    """Two blocks, as they are published: (b, b) with the positives on the diagonal, (b, b * k) hard negatives."""
    total, count = 0.0, 0
    for block, known in ((in_batch, known_in_batch), (hard, known_hard)):
        for i, j in np.ndindex(*block.shape):
            if not known[i, j] and not (block is in_batch and i == j):
                total, count = total + cost(in_batch[i, i], block[i, j]), count + 1
    return total / count if count else 0.0


def slow_lambda_rank(scores: Floats, relevant: NDArray, present: NDArray, metric_cut: int) -> float:
    """With both sides of each pair and their number doubled, as it is published."""
    total = 0.0
    for query, labels, there in zip(scores, relevant, present, strict=True):
        places = np.flatnonzero(there)
        gain = {i: 1 / (i + 1) if i + 1 <= metric_cut else 0.0 for i in places}
        parts, pairs = 0.0, 0
        for i in places:
            for j in places:
                if labels[i] != labels[j]:
                    pairs += 1
                    better, worse = (i, j) if labels[i] else (j, i)
                    parts += abs(gain[i] - gain[j]) * cost(query[better], query[worse])
        total += parts / pairs if pairs else 0.0
    return total / len(scores)


def slow_rank_net(scores: Floats, teacher: Floats) -> float:
    costs = [
        cost(query[i], query[j])
        for query, wanted in zip(scores, teacher, strict=True)
        for i, j in np.ndindex(len(query), len(query))
        if wanted[i] > wanted[j] > -np.inf
    ]
    return float(np.mean(costs)) if costs else 0.0


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(0, 2), st.sampled_from([0.5, 1.0, 20.0]))
def test_pairwise_softmax_equals_the_two_blocks_of_star(seed: int, b: int, k: int, temperature: float) -> None:
    """Side by side, with any documents left out as known positives."""
    rng = np.random.default_rng(seed)
    scores, known = made(seed, b, b + b * k), rng.random((b, b + b * k)) < 0.3
    expected = slow_star(scores[:, :b] / temperature, scores[:, b:] / temperature, known[:, :b], known[:, b:])
    loss = pairwise_softmax(tensor(scores), torch.arange(b), tensor(known), temperature=temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_pairwise_softmax_by_hand() -> None:
    """Odds of 3 and of 1, then of 2: the mean is over three pairs, not over the means of two queries."""
    scores = torch.log(torch.tensor([[3.0, 1.0, 3.0], [1.0, 2.0, 1.0]]))
    known = torch.tensor([[True, False, False], [True, True, False]])
    loss = pairwise_softmax(scores, torch.tensor([0, 1]), known)
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2) + math.log(3 / 2)) / 3)


def test_no_pair_is_no_loss_and_no_gradient() -> None:
    """Where everything is known to be relevant, and where a list holds one kind of document."""
    scores, everything = made(0, 2, 2), torch.ones(2, 2, dtype=torch.bool)
    for loss in (
        lambda s: pairwise_softmax(s, torch.arange(2), everything),
        lambda s: lambda_rank(s, everything, metric_cut=5),
        lambda s: rank_net(s, torch.zeros(2, 2)),
    ):
        assert loss(tensor(scores)).item() == 0
        assert gradient(loss, tensor(scores)).abs().max().item() == 0


def test_a_weight_of_a_pair_is_that_of_its_negative() -> None:
    """Half a negative halves its odds; one of weight 0 makes no pair, and the target's own weight is not read."""
    scores = torch.log(torch.tensor([[1.0, 4.0, 9.0]]))
    loss = pairwise_softmax(scores, torch.tensor([0]), weights=torch.tensor([[0.0, 0.5, 0.0]]))
    assert loss.item() == pytest.approx(math.log(1 + 0.5 * 4))


def test_half_precision_is_compared_in_full() -> None:
    """Scores that come in half types give what the same numbers give in float32, in float32."""
    scores = tensor(made(1, 3, 6)).to(torch.bfloat16)
    relevant = torch.tensor([[True, False, False, True, False, False]] * 3)
    for loss in (
        lambda s: pairwise_softmax(s, torch.arange(3)),
        lambda s: lambda_rank(s, relevant, metric_cut=6),
        lambda s: rank_net(s, relevant.float()),
    ):
        assert loss(scores).dtype == torch.float32
        assert loss(scores).item() == loss(scores.float()).item()


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 7), st.integers(1, 8))
def test_lambda_rank_equals_the_reference(seed: int, b: int, m: int, metric_cut: int) -> None:
    """With both sides of pairs halved, and any places padded: what stands there is not read."""
    rng = np.random.default_rng(seed)
    scores, relevant, present = made(seed, b, m), rng.random((b, m)) < 0.4, rng.random((b, m)) < 0.8
    expected = slow_lambda_rank(scores, relevant, present, metric_cut)
    scores[~present] = rng.choice([np.nan, np.inf, -np.inf, 7.0])
    moved = gradient(lambda s: lambda_rank(s, tensor(relevant), tensor(present), metric_cut=metric_cut), tensor(scores))
    loss = lambda_rank(tensor(scores), tensor(relevant), tensor(present), metric_cut=metric_cut)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert torch.isfinite(moved).all()
    assert (moved[~tensor(present)] == 0).all()


def test_lambda_rank_by_hand() -> None:
    """The relevant one at rank 2: its exchange with rank 1 is worth 1/2, that with rank 3, 1/6."""
    scores = torch.log(torch.tensor([[3.0, 1.0, 1.0]]))
    relevant = torch.tensor([[False, True, False]])
    loss = lambda_rank(scores, relevant, metric_cut=10)
    assert loss.item() == pytest.approx((math.log(4) / 2 + math.log(2) / 6) / 2)
    beside = lambda_rank(torch.cat([scores, scores]), torch.cat([relevant, ~relevant & relevant]), metric_cut=10)
    assert beside.item() == pytest.approx(loss.item() / 2), "a query without a pair counts 0"


def test_a_positive_that_was_not_found_is_worth_the_ranks_of_negatives() -> None:
    """It stands beyond the cut and gains nothing there, so each pair weighs 1 / rank of its negative."""
    loss = lambda_rank(torch.zeros(1, 3), torch.tensor([[False, False, True]]), metric_cut=2)
    assert loss.item() == pytest.approx(math.log(2) * (1 + 1 / 2) / 2)


def test_lambda_rank_reads_ranks_off_the_columns() -> None:
    """The order of the search counts and not that of the scores, which dropout can change."""
    scores, relevant = torch.tensor([[0.0, 5.0, 1.0]]), torch.tensor([[True, False, False]])
    turned = lambda_rank(scores.flip(1), relevant.flip(1), metric_cut=3)
    assert turned.item() != pytest.approx(lambda_rank(scores, relevant, metric_cut=3).item())


def test_lambda_rank_always_pulls_a_relevant_document_up() -> None:
    """At any score: in an early version of the published code, it is pulled down from above the others."""
    for score in (-5.0, 0.0, 5.0):
        scores = torch.tensor([[0.0, score]])
        moved = gradient(lambda s: lambda_rank(s, torch.tensor([[False, True]]), metric_cut=2), scores)
        assert moved[0, 0] > 0 > moved[0, 1]


def test_a_cut_that_silences_every_pair_is_refused() -> None:
    """A published default comes to that."""
    with pytest.raises(InputError, match="metric_cut"):
        lambda_rank(torch.zeros(1, 2), torch.tensor([[True, False]]), metric_cut=0)
    with pytest.raises(TypeError):
        lambda_rank(torch.zeros(1, 2), torch.tensor([[True, False]]))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6))
def test_rank_net_equals_the_reference(seed: int, b: int, n: int) -> None:
    """With ties of the teacher and with documents that it leaves out, whose scores are not read."""
    rng = np.random.default_rng(seed)
    scores, teacher = made(seed, b, n), rng.integers(0, 3, (b, n)).astype(float)
    teacher[rng.random((b, n)) < 0.2] = rng.choice([np.nan, -np.inf])
    expected = slow_rank_net(scores, teacher)
    scores[~(teacher > -np.inf)] = np.nan
    assert rank_net(tensor(scores), tensor(teacher)).item() == pytest.approx(expected, rel=1e-9)
    assert torch.isfinite(gradient(lambda s: rank_net(s, tensor(teacher)), tensor(scores))).all()


def test_rank_net_by_hand() -> None:
    """Of three documents two tie: two pairs, with odds of 3 and of 1/2."""
    scores = torch.log(torch.tensor([[3.0, 6.0, 1.0]]))
    ranks = torch.tensor([[1.0, 2.0, 2.0]])
    assert rank_net(scores, -ranks).item() == pytest.approx((math.log(3) + math.log(4 / 3)) / 2)


def test_gradients_are_those_of_finite_differences() -> None:
    """Also with documents left out."""
    scores, rng = made(2, 3, 6), np.random.default_rng(2)
    known, weights, relevant = (tensor(rng.random((3, 6)) < 0.3) for _ in range(3))
    teacher = tensor(made(3, 3, 6))
    teacher[0, 1] = -torch.inf
    assert gradients_hold(
        lambda s: pairwise_softmax(s, torch.arange(3), known, temperature=2.0, weights=1 - weights.double()), scores
    )
    assert gradients_hold(lambda s: lambda_rank(s, relevant, ~known, metric_cut=4), scores)
    assert gradients_hold(lambda s: rank_net(s, teacher), scores)

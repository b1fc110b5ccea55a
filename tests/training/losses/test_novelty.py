"""Of a sub-topic only the passage that the model likes best is wanted, and duplicates weigh as much as the rest."""

import math

import pytest

torch = pytest.importorskip("torch")

from retrieval.training.losses.novelty import alike_loss, duplicate_loss, novelty_targets  # noqa: E402
from retrieval.training.losses.pairwise import rank_net  # noqa: E402


def of(*numbers: list[int]) -> torch.Tensor:
    """(b, n, 10) bool: each passage is of the sub-topic of its number."""
    return torch.nn.functional.one_hot(torch.tensor(numbers), 10).bool()


def test_the_best_of_a_subtopic_takes_its_largest_target() -> None:
    """By ranks, as in the paper, the others get 0; what is alone keeps its own."""
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.2, 0.8]])
    ranks = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]])
    found = novelty_targets(scores, ranks, of([7, 3, 7, 3, 9]))
    assert found.tolist() == [[0.0, 4.0, 5.0, 0.0, 1.0]]


def test_the_first_of_equal_ones_speaks_for_its_subtopic() -> None:
    """So that two copies, which no model tells apart, are not both wanted."""
    found = novelty_targets(torch.zeros(1, 3), torch.tensor([[0.2, 0.4, 0.3]]), of([1, 1, 1]))
    torch.testing.assert_close(found, torch.tensor([[0.4, -0.8, -0.8]]))


def test_a_passage_may_be_of_several_subtopics_or_none() -> None:
    """It speaks if it is the best of one of them, with the largest target among those; of none it keeps its own."""
    scores = torch.tensor([[3.0, 2.0, 1.0, 0.0, 9.0]])
    targets = torch.tensor([[1.0, 5.0, 4.0, 2.0, 3.0]])
    members = torch.tensor([[[1, 0], [1, 1], [0, 1], [1, 1], [0, 0]]], dtype=torch.bool)
    assert novelty_targets(scores, targets, members).tolist() == [[5.0, 5.0, 0.0, 0.0, 3.0]]


def test_what_the_teacher_does_not_know_is_left_out() -> None:
    """It speaks for nothing, and makes no pair in RankNet."""
    unknown = float("nan")
    scores = torch.tensor([[9.0, 1.0, 2.0], [0.0, 1.0, 2.0]], requires_grad=True)
    targets = torch.tensor([[unknown, 1.0, 2.0], [unknown, unknown, unknown]])
    found = novelty_targets(scores, targets, of([4, 4, 5], [4, 4, 5]))
    assert found[0, 1:].tolist() == [1.0, 2.0]
    assert found[0, 0].isnan()
    assert found[1].isnan().all()
    assert not found.requires_grad
    assert rank_net(scores, found).item() == pytest.approx(math.log1p(math.exp(-1.0)))


def test_without_subtopics_in_common_targets_stay() -> None:
    """Of any list."""
    targets = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(novelty_targets(-targets, targets, of(*[[*range(6)]] * 3)), targets)


def test_duplicates_weigh_as_much_as_the_rest() -> None:
    """Two of n, (n - 2) / 2 each."""
    logits = torch.tensor([[2.0, -1.0, 0.0, 0.5, 3.0, -2.0]])
    told = torch.tensor([[True, False, False, False, True, False]])
    costs = torch.nn.functional.softplus(torch.where(told, -logits, logits))
    expected = (2 * costs[told].sum() + costs[~told].sum()) / 6
    torch.testing.assert_close(duplicate_loss(logits, told), expected)


def test_what_says_the_same_is_told_of_each_passage() -> None:
    """By hand: the costs of a passage's pairs are summed, itself left out, and the mean taken over passages."""
    logits = torch.tensor([[[9.0, 2.0, -1.0], [2.0, -9.0, 0.0], [-1.0, 0.0, 5.0]]])
    alike = torch.tensor([[[True, True, False], [True, True, False], [False, False, True]]])
    same, other, unsure = (torch.nn.functional.softplus(torch.tensor(value)).item() for value in (-2.0, -1.0, 0.0))
    assert alike_loss(logits, alike).item() == pytest.approx((2 * same + 2 * other + 2 * unsure) / 3)
    assert alike_loss(logits[:, :1, :1], alike[:, :1, :1]).item() == 0

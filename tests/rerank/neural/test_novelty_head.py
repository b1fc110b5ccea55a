"""What a passage loses to those of its set that say the same and score higher."""

from math import exp, log

import pytest

torch = pytest.importorskip("torch")

from retrieval.rerank.neural.novelty import NoveltyHead  # noqa: E402

SAME, OTHER, MANY = torch.zeros(4), torch.tensor([9.0, 0, 0, 0]), torch.tensor([0, 9.0, 0, 0])
ONE_SET = torch.zeros(4, dtype=torch.int64)


@pytest.fixture
def head() -> NoveltyHead:
    """Says of states that are the same that they say the same, and of those that are 9 apart that they do not."""
    made = NoveltyHead(4, torch.Generator())
    with torch.no_grad():
        made.weight.zero_()
        made.weight[:4] = torch.eye(4)
        made.bias.fill_(20.0)
    return made


def test_each_passage_before_it_halves_what_is_left(head: NoveltyHead) -> None:
    """Log 2 of the score for each one that says the same and scores higher; others lose nothing."""
    states, scores = torch.stack([SAME, OTHER, SAME, SAME]), torch.tensor([1.0, 9.0, 3.0, -2.0])
    expected = torch.tensor([1 - log(2), 9, 3, -2 - 2 * log(2)])
    torch.testing.assert_close(head(states, scores, ONE_SET), expected, atol=1e-5, rtol=0)


def test_equal_ones_share_the_loss(head: NoveltyHead) -> None:
    """Half of each is before the other, what rounding makes of them being nothing; nearly equal ones nearly so."""
    states, scores = torch.stack([SAME, SAME]), torch.tensor([1.0, 1.0])
    torch.testing.assert_close(head(states, scores, ONE_SET[:2]), scores - log(2) / 2, atol=1e-5, rtol=0)
    moved = head(states, scores + torch.tensor([0.0, 5e-6]), ONE_SET[:2])
    torch.testing.assert_close(moved, scores - log(2) / 2, atol=1e-5, rtol=0)
    before = 1 / (1 + exp(-(0.02 - 1e-4) / 0.01))
    found = head(states, torch.tensor([1.0, 1.02]), ONE_SET[:2])
    assert found.tolist() == pytest.approx([1 - log(2) * before, 1.02 - log(2) * (1 - before)], abs=1e-5)


def test_passages_of_other_sets_take_nothing(head: NoveltyHead) -> None:
    """Nor does a passage from itself."""
    states, scores = torch.stack([SAME, SAME, SAME]), torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(head(states, scores, torch.tensor([0, 1, 2])), scores, atol=1e-6, rtol=0)
    assert head(states[:0], scores[:0], torch.zeros(0, dtype=torch.int64)).shape == (0,)


def test_what_says_the_same_is_near(head: NoveltyHead) -> None:
    """The log-odds fall with the square of the distance; autocast makes them no coarser."""
    states = torch.stack([SAME, OTHER, MANY])
    expected = torch.tensor([[20.0, 20 - 81, 20 - 81], [20 - 81, 20, 20 - 162], [20 - 81, 20 - 162, 20]])
    torch.testing.assert_close(head.alike(states), expected, atol=1e-4, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        found = head.alike(states + 100.3)
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)
    assert head.alike(states.expand(2, 3, 4)).shape == (2, 3, 3)

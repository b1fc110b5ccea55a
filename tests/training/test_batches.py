"""Batches depend on seed and step alone, and every process has its part of the same one."""

from collections import Counter

import pytest

torch = pytest.importorskip("torch")

from retrieval.training.batches import Draw, draw  # noqa: E402
from retrieval.training.data import Example, TrainingData  # noqa: E402

DATA = TrainingData(
    texts=[f"t{row}" for row in range(20)],
    examples=[
        Example(f"q{n}", f"query {n}", (n, n + 1), tuple(range(10, 10 + n)), {n: 0.9, 10: 0.5} if n % 2 else {})
        for n in range(7)
    ],
)
DRAW = Draw(queries=4, negatives=3, seed=5)


def test_an_epoch_sees_each_query_once() -> None:
    """And batches run on over its end."""
    seen = Counter(example.id for step in range(7) for example in draw(DATA, DRAW, step).examples)
    assert set(seen.values()) == {4}
    first = [example.id for step in range(2) for example in draw(DATA, DRAW, step).examples][:7]
    second = [example.id for step in range(1, 4) for example in draw(DATA, DRAW, step).examples][3:10]
    assert len(set(first)) == len(set(second)) == 7
    assert first != second


def test_a_step_is_the_same_every_time_and_another_seed_another() -> None:
    """Whatever was drawn before it."""
    steps = [draw(DATA, DRAW, step).rows for step in range(5)]
    assert draw(DATA, DRAW, 3).rows == steps[3]
    assert [draw(DATA, Draw(queries=4, negatives=3, seed=6), step).rows for step in range(5)] != steps


def test_processes_share_a_batch() -> None:
    """Together they have what one has alone."""
    whole = draw(DATA, DRAW, 2)
    parts = [draw(DATA, DRAW, 2, rank=rank, world=2) for rank in range(2)]
    assert [example.id for part in parts for example in part.examples] == [
        whole.examples[place].id for place in (0, 2, 1, 3)
    ]
    assert sorted(row for part in parts for row in part.rows) == sorted(whole.rows)


def test_rows_are_positives_then_negatives_of_each_query() -> None:
    """From the query's own as far as it has any; what is relevant is marked wherever it stands."""
    for step in range(6):
        batch = draw(DATA, DRAW, step)
        for place, example in enumerate(batch.examples):
            assert batch.rows[batch.targets[place]] in example.positives
            own = batch.rows[4 + 3 * place : 7 + 3 * place]
            count = min(3, len(example.negatives))
            assert len(set(own[:count]) & set(example.negatives)) == count
            assert batch.known[place].tolist() == [row in example.positives for row in batch.rows]


def test_places_say_where_examples_stand() -> None:
    """Of every process' part."""
    for rank in range(2):
        batch = draw(DATA, DRAW, 3, rank=rank, world=2)
        assert [DATA.examples[place] for place in batch.places] == batch.examples


def test_the_teacher_speaks_of_its_own_queries_only() -> None:
    """A negative it does not list scores 0; a query whose positive it does not list is not a number throughout."""
    batch = draw(DATA, DRAW, 0)
    columns = torch.arange(16.0).repeat(4, 1)
    assert batch.own(columns).tolist() == [[n, 4 + 3 * n, 5 + 3 * n, 6 + 3 * n] for n in range(4)]
    for place, example in enumerate(batch.examples):
        rows = [batch.rows[int(column)] for column in batch.own(columns)[place]]
        told = batch.teacher[place]
        if batch.rows[place] in example.scores:
            assert told.tolist() == pytest.approx([example.scores.get(row, 0) for row in rows])
        else:
            assert told.isnan().all()


def test_a_document_that_must_be_no_negative_is_masked() -> None:
    """As one that is relevant is, wherever it stands."""
    examples = [Example("q0", "query", (0,), (2,)), Example("q1", "other", (1,), (3,), neither=(0,))]
    data = TrainingData([f"t{row}" for row in range(4)], examples)
    batch = draw(data, Draw(queries=2, negatives=1, seed=0), 0)
    asked = [example.id for example in batch.examples].index("q1")
    assert [batch.rows[column] for column in batch.known[asked].nonzero()[:, 0].tolist()] == batch.rows[:2]

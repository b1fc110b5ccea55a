from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.beir_eval.leaderboard import figures
from retrieval.beir_eval.leaderboard.board import Board, make_board
from retrieval.beir_eval.leaderboard.charts import bar_chart, cost_chart
from retrieval.beir_eval.leaderboard.data import read_scores
from tests.beir_eval.leaderboard.making import COST, write_results


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, ".5000"), (-0.25, "-.2500"), (0.0, ".0000"), (1.0, "1.0000"), (12.5, "12.5000")]
)
def test_a_score_has_four_digits(value: float, text: str) -> None:
    """Without a zero in front."""
    assert figures.score(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.05318, "0.0532"), (6.0, "6"), (123.4, "123"), (45678.9, "45,679"), (0, "0"), (0.1, "0.1")]
)
def test_a_cost_has_three_digits(value: float, text: str) -> None:
    """Or all of those before the point."""
    assert figures.number(value) == text


def test_costs_of_a_column_have_one_form(board: Board, tmp_path: Path) -> None:
    """As many digits behind the point as show two of the least; so their points stand below each other."""
    for system, milliseconds in (("fast", 0.0556), ("slow", 1234.5678), ("free", 0)):
        write_results(tmp_path, "set", system, [0.1, 0.2], cost={**COST, "p50_ms": milliseconds})
    made = make_board(read_scores(tmp_path))
    kind, *_ = figures.costs_of(made)
    texts = {row.system: figures.shown(row.cost, kind) for row in made.rows}
    assert texts == {"fast": "0.056", "slow": "1,234.568", "free": "0.000"}
    assert figures.shown({}, kind) == "–"
    assert [figures.shown(board.rows[0].cost, kind) for kind in figures.costs_of(board)][1:3] == ["6.0", "200"]


@given(st.floats(0.001, 1e6), st.floats(1.0, 1e4))
def test_ticks_are_around_what_they_measure(low: float, factor: float) -> None:
    """A few of them, ascending."""
    high = low * factor
    for ticks in (figures.plain_ticks(low, high), figures.decades(low, high)):
        assert ticks == sorted(set(ticks))
        assert ticks[0] <= low * 1.001
        assert ticks[-1] >= high * 0.999
        assert 2 <= len(ticks) <= 12


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1))
def test_nothing_beats_a_point_of_the_front(points: list[tuple[int, int]]) -> None:
    """And whatever is not on it is beaten, or equalled, by one that is."""
    front = [points[i] for i in figures.pareto(points)]
    for cost, quality in front:
        assert not any((c <= cost and q > quality) or (c < cost and q >= quality) for c, q in points)
    assert all(any(c <= cost and q >= quality for c, q in front) for cost, quality in points)


def test_bars_begin_at_zero_and_share_a_scale(board: Board) -> None:
    """So that their lengths can be compared, also between sets."""
    ratios = []
    for column in board.sets:
        for bar in bar_chart(board, column).bars:
            entry = board.entry(board.rows[bar.row], column)
            assert entry
            ratios.append(bar.length / entry.value)
            assert bar.low <= bar.high
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=0.01)


def test_points_lie_in_the_picture_and_names_beside_them_do_not_meet(board: Board) -> None:
    """Dearer is farther right, better is higher; systems without costs are not there."""
    chart = cost_chart(board, board.sets[0], figures.COSTS[0])
    assert chart
    assert [board.rows[point.row].system for point in chart.points] == ["good", "alike", "bad"]
    good, alike, bad = chart.points
    assert bad.x < good.x < alike.x
    assert good.y < alike.y < bad.y
    assert all(chart.left <= point.x <= chart.width and 0 <= point.y <= chart.bottom for point in chart.points)
    assert len({(point.label_x, point.label_y) for point in chart.points}) == 3
    assert [point.is_best for point in chart.points] == [True, False, True]

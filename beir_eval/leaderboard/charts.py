"""Where everything stands in the page's pictures: coordinates, of which the template makes SVG."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from retrieval.beir_eval.leaderboard.board import Board, Column
from retrieval.beir_eval.leaderboard.figures import CostKind, decades, number, pareto, plain_ticks, score

__all__ = ["BarChart", "CostChart", "Point", "bar_chart", "cost_chart"]

# In units of the pictures, which are pixels where they are not made smaller to fit.
_WIDTH = 400
_LETTER = 7.2
_LINE = 13


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A line across, and what stands at its end."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """A system among costs and scores, and where its name stands."""

    x: float
    y: float
    row: int
    is_best: bool
    is_hollow: bool
    label_x: float
    label_y: float
    anchor: str
    told: str


@dataclass(frozen=True, kw_only=True)
class CostChart:
    """Quality against cost, with the front of those that nothing beats in both."""

    width: int
    height: int
    left: float
    bottom: float
    across: Sequence[Tick]
    up: Sequence[Tick]
    points: Sequence[Point]
    front: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A system's score, from zero, with its interval where it has one."""

    y: float
    length: float
    low: float | None
    high: float | None
    row: int
    is_level: bool
    text: str
    label: str


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """Scores on one set."""

    width: int
    height: int
    left: float
    text_at: float
    bars: Sequence[Bar]
    ticks: Sequence[Tick]


def cost_chart(board: Board, column: Column, kind: CostKind) -> CostChart | None:
    """Quality against a cost on a set; None unless two systems or more have that cost."""
    known = [
        (number_, entry)
        for number_, row in enumerate(board.rows)
        if (entry := board.entry(row, column)) and (entry.cost.get(kind.key) or 0) > 0
    ]
    if len(known) < 2:
        return None
    height, left, right, top, bottom = 300, 40.0, 14.0, 14.0, 266.0
    values = [(entry.cost[kind.key] / kind.scale, entry.value) for _, entry in known]
    costs, scores = zip(*values, strict=True)
    across, up = decades(min(costs), max(costs)), plain_ticks(min(scores), max(scores))
    x = _scale(math.log10(across[0]), math.log10(across[-1]), left + 12, _WIDTH - right - 12)
    y = _scale(up[0], up[-1], bottom, top)
    front = pareto(values)
    at = [(x(math.log10(cost)), y(quality)) for cost, quality in values]
    names = [board.rows[row].system for row, _ in known]
    labels = _labels(at, names, _lines([at[i] for i in front]), (left + 8, _WIDTH, bottom))
    points = [
        Point(
            x=round(at[i][0], 1),
            y=round(at[i][1], 1),
            row=row,
            is_best=i in front,
            is_hollow=bool(entry.cost.get("stored_queries")),
            label_x=labels[i].x,
            label_y=labels[i].y,
            anchor=labels[i].anchor,
            told=f"{board.rows[row].system}: {score(entry.value)}, {number(values[i][0])} {kind.unit}",
        )
        for i, (row, entry) in enumerate(known)
    ]
    return CostChart(
        width=_WIDTH,
        height=height,
        left=left,
        bottom=bottom,
        across=[Tick(at=round(x(math.log10(tick)), 1), text=number(tick)) for tick in across],
        up=_score_ticks(up, y),
        points=points,
        front=[(round(at[i][0], 1), round(at[i][1], 1)) for i in front],
    )


def bar_chart(board: Board, column: Column) -> BarChart:
    """The systems' scores on a set, in the board's order, on one scale from zero for all sets."""
    entries = [(i, row, entry) for i, row in enumerate(board.rows) if (entry := board.entry(row, column))]
    highest = max(
        entry.value if entry.high is None else entry.high
        for row in board.rows
        for each in board.sets
        if (entry := board.entry(row, each)) is not None
    )
    left = min(150.0, 12 + _LETTER * max(len(row.system) for row in board.rows))
    pitch, top, right = 24, 6, 52
    ticks = plain_ticks(0.0, highest, 4)
    x = _scale(0.0, ticks[-1], left, _WIDTH - right)
    height = top + pitch * len(entries) + 22
    bars = [
        Bar(
            y=top + pitch * place,
            length=round(x(entry.value) - left, 1),
            low=None if entry.low is None else round(x(max(entry.low, 0.0)), 1),
            high=None if entry.high is None else round(x(entry.high), 1),
            row=i,
            is_level=entry.group == 1,
            text=score(entry.value) + ("†" if entry.is_imported else ""),
            label=_cut(row.system, left - 8),
        )
        for place, (i, row, entry) in enumerate(entries)
    ]
    return BarChart(
        width=_WIDTH, height=height, left=left, text_at=_WIDTH - right + 6, bars=bars, ticks=_score_ticks(ticks, x)
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _score_ticks(ticks: Sequence[float], scale: Callable[[float], float]) -> list[Tick]:
    """Ticks of an axis of scores, with as many digits as the step between them needs; zero is plain."""
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    texts = [f"{tick:.{digits}f}".removeprefix("0") or "0" if tick else "0" for tick in ticks]
    return [Tick(at=round(scale(tick), 1), text=text) for tick, text in zip(ticks, texts, strict=True)]


def _cut(text: str, width: float) -> str:
    """A text as far as there is room for it."""
    letters = int(width / _LETTER)
    return text if len(text) <= letters else text[: letters - 1] + "…"


Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge."""


@dataclass(frozen=True, kw_only=True)
class _Label:
    x: float
    y: float
    anchor: str
    box: Box


# Where a name may stand beside its point, the best place first: to the right and left, then above and below.
_PLACES = ((9, 4, "start"), (-9, 4, "end"), (8, -7, "start"), (8, 14, "start"), (-8, -7, "end"), (-8, 14, "end"))
_FARTHER = ((10, -18, "start"), (10, 26, "start"), (-10, -18, "end"), (-10, 26, "end"))


def _lines(front: Sequence[tuple[float, float]]) -> list[Box]:
    """The lines of a front: across at the height of each point, up at the next."""
    pairs = list(pairwise(front))
    across = [(one[0], one[1] - 1, other[0], one[1] + 1) for one, other in pairs]
    return across + [(other[0] - 1, other[1], other[0] + 1, one[1]) for one, other in pairs]


def _labels(
    points: Sequence[tuple[float, float]], names: Sequence[str], lines: Sequence[Box], edges: tuple[float, float, float]
) -> list[_Label]:
    """A place for each name where it covers no other name, no point and no line, as far as there is one.

    `edges` are the left, the right and the lower one.
    """
    left, right, bottom = edges
    dots = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    placed: dict[int, _Label] = {}
    for i in sorted(range(len(points)), key=lambda i: points[i][1]):
        taken = [*lines, *(label.box for label in placed.values()), *(dot for j, dot in enumerate(dots) if j != i)]
        tried = [_label(points[i], names[i], place) for place in (*_PLACES, *_FARTHER)]
        inside = [each for each in tried if each.box[0] >= left and each.box[2] <= right and each.box[3] <= bottom]
        placed[i] = min(inside or tried, key=lambda label: sum(_overlap(label.box, box) for box in taken))
    return [placed[i] for i in range(len(points))]


def _label(point: tuple[float, float], name: str, place: tuple[int, int, str]) -> _Label:
    x, y, anchor = point[0] + place[0], point[1] + place[1], place[2]
    width = _LETTER * len(name)
    start = x if anchor == "start" else x - width
    return _Label(x=round(x, 1), y=round(y, 1), anchor=anchor, box=(start, y - _LINE + 3, start + width, y + 3))


def _overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)

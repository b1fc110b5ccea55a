"""Numbers as they are read: on the page, in its pictures and in tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retrieval.beir_eval.leaderboard.board import Board, Entry, Row
from retrieval.beir_eval.measures import JUDGED

__all__ = [
    "COSTS",
    "IMPORTED",
    "CostKind",
    "costs_of",
    "group_of",
    "has_imported",
    "has_judged",
    "pareto",
    "plain_ticks",
    "score",
    "sets_of",
    "share",
    "shown",
    "title_of",
    "told",
]


@dataclass(frozen=True)
class CostKind:
    """A cost that can be looked at.

    Attributes:
        key: in an entry's cost.
        title: of a column or an axis.
        unit: behind its numbers.
        scale: what one unit is worth.
        digits: behind the point, in a table.
    """

    key: str
    title: str
    unit: str
    scale: float = 1.0
    digits: int = 0


COSTS = (
    CostKind("p50_ms", "Median time per query", "ms"),
    CostKind("index_bytes", "Index", "MB", 1e6),
    CostKind("peak_memory_bytes", "Peak memory", "MB", 1e6),
)


IMPORTED = "imported as a mean: without values of queries it has no interval and no rank group, and is in no test"
"""What † behind a score says."""


def costs_of(board: Board) -> tuple[CostKind, ...]:
    """The costs that are known of any system, with the price if there is one."""
    price = (CostKind("per_million", "Price of a million queries", board.price.currency),) if board.price else ()
    known = [cost for row in board.rows for cost in (row.cost, *(entry.cost for entry in row.entries.values()))]
    kinds = (kind for kind in (*COSTS, *price) if any(cost.get(kind.key) is not None for cost in known))
    return tuple(replace(kind, digits=_digits(board, kind)) for kind in kinds)


def _digits(board: Board, kind: CostKind) -> int:
    """As many that the least of a cost has two that count: one form for all, whose points stand below each other."""
    values = [value / kind.scale for row in board.rows if (value := row.cost.get(kind.key))]
    return max(0, 1 - math.floor(math.log10(min(values)))) if values else 0


def score(value: float) -> str:
    """Of a measure: four digits, without a zero in front."""
    text = f"{value:.4f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def has_judged(board: Board) -> bool:
    """Whether Judged@10 is known of any entry."""
    return any(entry.judged is not None for row in board.rows for entry in row.entries.values())


def title_of(board: Board) -> str:
    """What a cell of a table holds."""
    return f"{board.measure} ({JUDGED})" if has_judged(board) else board.measure


def has_imported(board: Board) -> bool:
    """Whether any entry is a mean without values of queries."""
    return any(entry.is_imported for row in board.rows for entry in row.entries.values())


def told(entry: Entry | None, best: str = "{}", imported: str = "†") -> str:
    """A score as a table of text has it, with Judged@10 behind it where that is known.

    Args:
        entry: None where a system lacks the set.
        best: the form of the highest.
        imported: the sign behind a mean that was imported.
    """
    if entry is None:
        return "–"
    text = best.format(score(entry.value)) if entry.is_best else score(entry.value)
    text += imported if entry.is_imported else ""
    return text if entry.judged is None else f"{text} ({share(entry.judged)})"


def group_of(entry: Entry | None) -> str:
    """A rank group; a dash where there is none."""
    return "–" if entry is None or entry.group is None else str(entry.group)


def sets_of(board: Board, row: Row) -> str:
    """How many sets a system has, if it lacks some; its costs are those of these."""
    return "" if len(row.entries) == len(board.columns) else f"{len(row.entries)} of {len(board.columns)} sets"


def share(value: float) -> str:
    """Of hits, as Judged@10 is: two digits."""
    return f"{value:.2f}".removeprefix("0")


def shown(cost: Mapping[str, Any], kind: CostKind) -> str:
    """A cost in its unit, with as many digits as all of its column; a dash where it is not known."""
    value = cost.get(kind.key)
    return "–" if value is None else f"{value / kind.scale:,.{kind.digits}f}"


def number(value: float) -> str:
    """Three digits of it, or all of those before the point."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from the first at or below `low` to the first at or above `high`."""
    span = max(high - low, 1e-3 * abs(high)) or 1.0  # of values that are nearly one, still several ticks
    rough = span / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around some numbers above 0; powers alone where that would be many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    first = max(i for i, tick in enumerate(fine) if tick <= low * 1.0001)
    last = min((i for i, tick in enumerate(fine) if tick >= high * 0.9999), default=len(fine) - 1)
    chosen = fine[first : max(last, first + 1) + 1]
    return chosen if len(chosen) <= 7 else [10.0**power for power in powers]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """The points, of a cost and a quality, that no other beats in one and equals in the other; by cost ascending."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front

"""A board as one HTML file that needs nothing else: style, script, pictures and data are in it."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from retrieval.beir_eval.leaderboard import figures
from retrieval.beir_eval.leaderboard.board import Board, Column, Entry
from retrieval.beir_eval.leaderboard.charts import CostChart, bar_chart, cost_chart
from retrieval.beir_eval.leaderboard.figures import CostKind
from retrieval.beir_eval.wording import counted

__all__ = ["render_page"]

# Characters of a query's text.
_SHOWN = 200

_TEMPLATES = Path(__file__).parent


def render_page(board: Board, *, title: str = "Retrieval leaderboard") -> str:
    """The page; what comes from results is text in it, never markup.

    Whatever the page may load or run is named in its content security policy: its own style and script.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(score=figures.score, share=figures.share, shown=figures.shown)
    environment.filters.update(
        counted=counted, sets=figures.sets_of, group=figures.group_of, told=_told, pretty=_pretty
    )
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    kinds = figures.costs_of(board)
    cost_sets = _cost_sets(board, kinds)
    return environment.get_template("page.html").render(
        title=title,
        board=board,
        kinds=kinds,
        cost_sets=cost_sets,
        measured=[(place, row) for place, row in enumerate(board.rows) if row.is_measured],
        has_imported=figures.has_imported(board),
        imported=figures.IMPORTED,
        has_judged=figures.has_judged(board),
        has_hollow=any(point.is_hollow for _, charts in cost_sets for _, chart in charts for point in chart.points),
        bar_charts=[(column, bar_chart(board, column)) for column in board.sets],
        facts=_facts(board),
        data=Markup(_data(board)),
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_digest=digest,
    )


def _cost_sets(board: Board, kinds: Sequence[CostKind]) -> list[tuple[Column, list[tuple[CostKind, CostChart]]]]:
    """The pictures of cost, for each set that has some."""
    found = []
    for column in board.sets:
        charts = [(kind, chart) for kind in kinds if (chart := cost_chart(board, column, kind))]
        if charts:
            found.append((column, charts))
    return found


def _told(value: Any) -> str:
    """A single cost, whatever its unit."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return figures.number(value) if isinstance(value, int | float) else str(value)


def _pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()


def _data(board: Board) -> str:
    """What the script draws from, as JSON that cannot end the element it stands in."""
    content = {
        "measure": board.measure,
        "baseline": board.baseline,
        "systems": [row.system for row in board.rows],
        "sets": [
            {
                "name": column.name,
                "queries": column.queries,
                "texts": [_cut(text) for text in column.texts],
                "values": [_values(row.entries.get(column.name)) for row in board.rows],
            }
            for column in board.columns
        ],
    }
    return orjson.dumps(content).decode().replace("<", "\\u003c")


def _cut(text: str) -> str:
    """A query as it stands in a table; some are whole articles."""
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _values(entry: Entry | None) -> list[float] | None:
    return None if entry is None or entry.values is None else [round(value, 4) for value in entry.values.tolist()]


def _facts(board: Board) -> dict[str, Any]:
    """What a reader should know of all results: machines, versions, problems."""
    scores = [score for row in board.rows for entry in row.entries.values() for score in entry.scores]
    machines = dict.fromkeys(
        f"{score.environment.get('processor', '?')}, {score.environment.get('platform', '?')}"
        for score in scores
        if score.per_query  # nobody knows where imported ones were measured
    )
    problems = dict.fromkeys(
        f"{score.dataset}: {problem}" for score in scores for problem in score.environment.get("problems", [])
    )
    versions: dict[str, dict[str, None]] = {}
    for score in scores:
        for name, version in score.environment.get("versions", {}).items():
            versions.setdefault(name, {})[str(version)] = None
    told = {name: " and ".join(several) for name, several in versions.items()}
    return {"machines": list(machines), "problems": list(problems), "versions": told}

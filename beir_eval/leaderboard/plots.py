"""A board's pictures as files, for papers and slides: PNG and SVG, by matplotlib."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.beir_eval.leaderboard.board import Board, Column, Floats, Row
from retrieval.beir_eval.leaderboard.charts import Point, cost_chart
from retrieval.beir_eval.leaderboard.figures import costs_of, score
from retrieval.errors import MissingExtraError
from retrieval.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["write_plots"]

_INK, _SOFT, _FAINT, _QUIET = "#17202e", "#55606f", "#dfe3e8", "#a9b6c6"
_ACCENT, _LOSS = "#1f5fae", "#b4532a"
_FORMATS = ("png", "svg")


def write_plots(board: Board, folder: Path) -> list[Path]:
    """Write cost, sets and differences, each as .png and .svg; where they are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots", "pictures in files") from error
    folder.mkdir(parents=True, exist_ok=True)
    style: dict[Any, Any] = {
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": "retrieval",
        "text.parse_math": False,
    }
    paths = []
    with matplotlib.rc_context(style):
        pictures = {"cost": _cost(board), "sets": _sets(board), "differences": _differences(board)}
        for name, figure in pictures.items():
            for suffix in _FORMATS if figure else ():
                paths.append(folder / f"{name}.{suffix}")
                write_whole(paths[-1], _drawn(figure, suffix))
    return paths


def _drawn(figure: "Figure | None", suffix: str) -> bytes:
    assert figure
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix, dpi=200, metadata={"Date": None} if suffix == "svg" else None)
    return picture.getvalue()


def _axes(count: int, height: float) -> "tuple[Figure, list[Axes]]":
    """Pictures side by side, three in a row."""
    from matplotlib.figure import Figure

    across = min(count, 3)
    down = -(-count // across)
    figure = Figure(figsize=(3.6 * across, height * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def _plain(axis: "Axes", title: str, *, grid: Any) -> None:
    axis.set_title(title, loc="left", fontsize=9, fontweight="bold", color=_INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_SOFT)
    axis.tick_params(colors=_SOFT, labelsize=8)
    axis.grid(axis=grid, color=_FAINT, linewidth=0.8)
    axis.set_axisbelow(True)


def _cost(board: Board) -> "Figure | None":
    """Quality against each cost, on all sets together or on the one there is; None if no cost is known of two."""
    charts = [(kind, chart) for kind in costs_of(board) if (chart := cost_chart(board, board.sets[0], kind))]
    if not charts:
        return None
    figure, axes = _axes(len(charts), 2.9)
    for axis, (kind, chart) in zip(axes, charts, strict=True):
        x, y = zip(*chart.front, strict=True)
        axis.step(x, y, where="post", color=_ACCENT, alpha=0.55, linewidth=1.2)
        for point in chart.points:
            _point(axis, point, board.rows[point.row].system)
        # The page's coordinates, in which names have their places: y grows downwards.
        axis.set_xlim(chart.left, chart.width)
        axis.set_ylim(chart.bottom, 0)
        axis.set_xticks([tick.at for tick in chart.across], [tick.text for tick in chart.across])
        axis.set_yticks([tick.at for tick in chart.up], [tick.text for tick in chart.up])
        axis.set_ylabel(board.measure, color=_SOFT)
        _plain(axis, f"{kind.title}, {kind.unit}", grid="y")
    return figure


def _point(axis: "Axes", point: Point, name: str) -> None:
    colour, ink = (_ACCENT, _INK) if point.is_best else (_QUIET, _SOFT)
    filled = "none" if point.is_hollow else colour
    axis.plot(point.x, point.y, "o", color=colour, markerfacecolor=filled, markersize=5, clip_on=False)
    side = "left" if point.anchor == "start" else "right"
    axis.text(
        point.label_x, point.label_y, name, ha=side, va="baseline", fontsize=7.5, color=ink, path_effects=[_halo()]
    )


def _halo() -> Any:
    """White around a name, where it lies on a line."""
    from matplotlib.patheffects import withStroke

    return withStroke(linewidth=2, foreground="white")


def _sets(board: Board) -> "Figure":
    """Bars from zero with intervals, set by set."""
    figure, axes = _axes(len(board.sets), 0.9 + 0.24 * len(board.rows))
    for axis, column in zip(axes, board.sets, strict=True):
        entries = [(row.system, entry) for row in board.rows if (entry := board.entry(row, column))]
        places = np.arange(len(entries))[::-1]
        values = [entry.value for _, entry in entries]
        ends = [(e.value if e.low is None else e.low, e.value if e.high is None else e.high) for _, e in entries]
        errors = np.abs(np.array(ends).T - values)
        colours = [_ACCENT if entry.group == 1 else _QUIET for _, entry in entries]
        axis.barh(places, values, color=colours, height=0.7, xerr=errors, error_kw={"ecolor": _INK, "elinewidth": 1})
        axis.set_yticks(places, [name for name, _ in entries])
        for place, (_, entry), (_, high) in zip(places, entries, ends, strict=True):
            sign = "†" if entry.is_imported else ""
            axis.text(high, place, f"  {score(entry.value)}{sign}", va="center", fontsize=7, color=_INK)
        axis.set_xlim(0, max(high for _, high in ends) * 1.25)
        _plain(axis, "mean of all sets" if column is board.overall else column.name, grid="x")
    return figure


def _differences(board: Board) -> "Figure | None":
    """Each query's difference to the baseline, the best other system's; None if there is no other."""
    others = [row for row in board.rows if row.is_measured and row.system != board.baseline]
    base = next((row for row in board.rows if row.system == board.baseline), None)
    if base is None or not others:
        return None
    pairs = [(each.name, _values(others[0], each), _values(base, each)) for each in board.columns]
    known = [(name, own - other) for name, own, other in pairs if own is not None and other is not None]
    if not known:
        return None
    figure, axes = _axes(len(known), 2.4)
    for axis, (name, values) in zip(axes, known, strict=True):
        _waterfall(axis, np.sort(values)[::-1])
        _plain(axis, name, grid="y")
    title = f"{others[0].system} minus {board.baseline}, {board.measure} by query"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure


def _values(row: Row, column: Column) -> Floats | None:
    entry = row.entries.get(column.name)
    return entry.values if entry else None


def _waterfall(axis: "Axes", values: Any) -> None:
    at = np.arange(len(values))
    axis.fill_between(at, np.maximum(values, 0), step="mid", color=_ACCENT, linewidth=0)
    axis.fill_between(at, np.minimum(values, 0), step="mid", color=_LOSS, linewidth=0)
    axis.axhline(0, color=_SOFT, linewidth=0.8)
    axis.set_xticks([])
    axis.set_xlabel(f"{np.sum(values > 0)} better, {np.sum(values < 0)} worse", color=_SOFT)

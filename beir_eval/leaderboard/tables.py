"""A board as tables: Markdown and LaTeX to be read, CSV with every digit to go on with."""

import csv
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from retrieval.beir_eval.leaderboard.board import Board
from retrieval.beir_eval.leaderboard.figures import (
    IMPORTED,
    costs_of,
    group_of,
    has_imported,
    sets_of,
    shown,
    title_of,
    told,
)
from retrieval.beir_eval.measures import JUDGED
from retrieval.files import write_whole

__all__ = ["to_csv", "to_latex", "to_markdown", "write_tables"]


def write_tables(board: Board, folder: Path) -> list[Path]:
    """Write table.md, table.csv and table.tex; where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    makers: Mapping[str, Callable[[Board], str]] = {"md": to_markdown, "csv": to_csv, "tex": to_latex}
    paths = []
    for suffix, make in makers.items():
        paths.append(folder / f"table.{suffix}")
        write_whole(paths[-1], make(board).encode())
    return paths


def to_markdown(board: Board) -> str:
    """A table of GitHub's Markdown, the highest of each column in bold."""
    head, rows = _cells(board, _markdown_text, "**{}**")
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    note = f"\n† {IMPORTED}\n" if has_imported(board) else ""
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + note


def to_latex(board: Board) -> str:
    r"""A tabular of LaTeX, with the rules of booktabs; the highest of each column is in \textbf."""
    head, rows = _cells(board, _latex_text, r"\textbf{{{}}}", r"$^\dagger$")
    lines = [rf"{' & '.join(line)} \\" for line in (head, *rows)]
    note = rf"\multicolumn{{{len(head)}}}{{l}}{{\footnotesize $^\dagger$ {IMPORTED}}} \\"
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            *([note] if has_imported(board) else []),
            r"\end{tabular}",
            "",
        ]
    )


def to_csv(board: Board) -> str:
    """A line for each system and set: value, interval, group, and every cost, with all their digits."""
    keys = list(dict.fromkeys(key for row in board.rows for entry in row.entries.values() for key in entry.cost))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    beside = [] if board.measure == JUDGED else [JUDGED]
    writer.writerow(["system", "set", "queries", board.measure, "low", "high", "group", *beside, *keys])
    for row in board.rows:
        for column in board.sets:
            if entry := board.entry(row, column):
                queries = "" if entry.values is None else len(entry.values)
                numbers = [entry.value, entry.low, entry.high, entry.group, *([entry.judged] if beside else [])]
                costs = [entry.cost.get(key) for key in keys]
                writer.writerow([row.system, column.name, queries, *numbers, *costs])
    return text.getvalue()


def _cells(
    board: Board, text: Callable[[str], str], bold: str, imported: str = "†"
) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table that is read."""
    kinds = costs_of(board)
    sets = [*board.columns, *([board.overall] if board.overall else [])]
    head = [title_of(board)]
    for column in sets:
        head += [column.name, "group"] if board.shows_group(column) else [column.name]
    head += [f"{kind.title}, {kind.unit}" for kind in kinds]
    rows = []
    for row in board.rows:
        cells = [text(f"{row.system} ({sets_of(board, row)})" if sets_of(board, row) else row.system)]
        for column in sets:
            entry = board.entry(row, column)
            groups = [group_of(entry)] if board.shows_group(column) else []
            cells += [told(entry, bold, imported), *groups]
        rows.append([*cells, *(shown(row.cost, kind) for kind in kinds)])
    return [text(title) for title in head], rows


def _markdown_text(text: str) -> str:
    """A text that Markdown and the HTML in it take for nothing else."""
    return re.sub(r"([\\`*_{}\[\]<>|#~&])", r"\\\1", text).replace("\n", " ")


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def _latex_text(text: str) -> str:
    """A text that LaTeX takes for nothing else."""
    return "".join(_LATEX.get(sign, sign) for sign in text).replace("\n", " ")

"""`retrieval eval leaderboard`: results become a page, pictures and tables."""

import math
from pathlib import Path
from typing import Annotated

import typer

from retrieval.beir_eval.leaderboard.board import Board, Price, make_board
from retrieval.beir_eval.leaderboard.data import read_scores
from retrieval.beir_eval.leaderboard.figures import IMPORTED, group_of, has_imported, title_of, told
from retrieval.cli.console import print_json, print_table, say
from retrieval.cli.options import JsonOption
from retrieval.errors import InputError
from retrieval.files import write_whole

__all__ = ["leaderboard"]


def leaderboard(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS...", exists=True, file_okay=False, help="Folders with results, at any depth below them."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page: one file of HTML that needs no other.")
    ] = None,
    measure: Annotated[
        str | None, typer.Option(metavar="NAME", help="What is compared; by default the first measure of the results.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="SYSTEM", help="What differences are taken from, at first.")
    ] = None,
    title: Annotated[str, typer.Option(help="The page's title.")] = "Retrieval leaderboard",
    price_per_hour: Annotated[
        float | None, typer.Option(metavar="PRICE", help="Of the machine, for the price of a million queries.")
    ] = None,
    currency: Annotated[str, typer.Option(metavar="CODE", help="Of that price.")] = "EUR",
    tables: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the table as Markdown, CSV and LaTeX there.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the pictures as PNG and SVG there.")] = None,
    json: JsonOption = False,
) -> None:
    """Compare what RUNS measured: systems in rank groups, with intervals, beside what they cost."""
    if price_per_hour is not None and not 0 < price_per_hour < math.inf:
        raise InputError(f"--price-per-hour must be above 0; got {price_per_hour}")
    price = Price(per_hour=price_per_hour, currency=currency) if price_per_hour else None
    board = make_board(read_scores(*runs), measure=measure, baseline=baseline, price=price)
    for each in board.left_out:
        say(f"note: not shown: {each}, of the same group")
    if out:
        from retrieval.beir_eval.leaderboard.page import render_page

        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, render_page(board, title=title).encode())
        say(f"{out}: systems: {len(board.rows)}, sets: {len(board.columns)}")
    if tables:
        from retrieval.beir_eval.leaderboard.tables import write_tables

        say(", ".join(map(str, write_tables(board, tables))))
    if plots:
        from retrieval.beir_eval.leaderboard.plots import write_plots

        say(", ".join(map(str, write_plots(board, plots))))
    if json:
        print_json(_content(board))
    else:
        _show(board)


def _show(board: Board) -> None:
    head, rows = ["system"], [[row.system] for row in board.rows]
    for column in board.sets:
        has_group = board.shows_group(column)
        head += [column.name, "group"] if has_group else [column.name]
        for row, cells in zip(board.rows, rows, strict=True):
            entry = board.entry(row, column)
            cells += [told(entry), group_of(entry)] if has_group else [told(entry)]
    print_table(head, rows, title=title_of(board))
    if has_imported(board):
        say(f"† {IMPORTED}")


def _content(board: Board) -> list[dict[str, object]]:
    """Every entry, as JSON."""
    return [
        {
            "system": row.system,
            "set": column.name,
            "value": entry.value,
            "interval": None if entry.is_imported else [entry.low, entry.high],
            "group": entry.group,
            "judged": entry.judged,
            "cost": entry.cost,
        }
        for row in board.rows
        for column in board.sets
        if (entry := board.entry(row, column))
    ]

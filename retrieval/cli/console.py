"""What every command shows: talk on stderr, tables and JSON on stdout, progress on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import typer
from rich.console import Console

from retrieval.protocols import Progress, silent

_WIDEST = 100_000

# What stages of work are counted in, where that is not documents.
_UNITS = {
    "cells": "cells",
    "mine": "queries",
    "query vectors": "queries",
    "teacher's scores": "pairs",
    "training": "steps",
}

__all__ = ["print_json", "print_table", "progress", "say"]


def say(message: str) -> None:
    """A line of talk."""
    typer.echo(message, err=True)


def print_json(content: Any, *, indent: bool = True) -> None:
    """A JSON document, or one line of JSON."""
    typer.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2 if indent else None).decode())


def print_table(columns: list[str], rows: list[list[str]], *, title: str | None = None, figures: bool = True) -> None:
    """A table; the columns after the first are figures, or texts. Never cut off, also in a pipe."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number and figures else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # Cells are texts: a file's name may look like rich's markup.
    Console(width=_WIDEST, markup=False, emoji=False, highlight=False).print(table)


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar for each stage of work, with its rate and the time left, where stderr is a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield silent
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            name = stage.partition(",")[0]
            if name not in tasks:
                tasks[name] = bars.add_task(stage, total=total, rate="")
            elapsed = bars.tasks[tasks[name]].elapsed or 0.0
            rate = f"{_figure(done / elapsed)} {_UNITS.get(name, 'documents')}/s" if elapsed > 0 else ""
            bars.update(tasks[name], description=stage, completed=done, total=total, rate=rate)

        yield show


def _figure(rate: float) -> str:
    """Of slow work with two digits behind the point."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2f}"

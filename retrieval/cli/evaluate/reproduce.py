"""`retrieval eval reproduce`: do the commands still give the figures that are expected of them?"""

import sys
import tempfile
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from retrieval.beir_eval.reproducing import (
    Cell,
    Condition,
    Conditions,
    choose,
    judge,
    read_conditions,
    without_results,
)
from retrieval.beir_eval.results import read_results
from retrieval.cli.console import print_json, print_table, say
from retrieval.cli.evaluate.exchange import score
from retrieval.cli.evaluate.run import run
from retrieval.cli.options import JsonOption
from retrieval.errors import RetrievalError

__all__ = ["reproduce"]

# What a condition's command may be.
_commands = typer.Typer()
_commands.command("run")(run)
_commands.command("score")(score)


def reproduce(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Conditions with expected values, YAML.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the collections are, if not where FILE says.", show_default=False),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Conditions of this name, as 'lexical-*'; repeatable.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep indexes and results, for another time.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run commands whose figures are known, and tell for each figure whether it is OK, close or FAIL.

    A condition whose collection is not there is skipped, and said. Exits with 1 if any figure fails.
    """
    conditions = read_conditions(file)
    if data:
        conditions = conditions.model_copy(update={"data": data})
    chosen = choose(conditions.conditions, only or [])
    with tempfile.TemporaryDirectory() as folder:
        cells = [cell for condition in chosen for cell in _cells(condition, conditions, out or Path(folder))]
    if json:
        print_json([asdict(cell) for cell in cells])
    else:
        _show(cells)
    verdicts = Counter(cell.verdict for cell in cells)
    say(", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    if verdicts["FAIL"]:
        raise typer.Exit(1)


def _cells(condition: Condition, conditions: Conditions, out: Path) -> list[Cell]:
    if missing := condition.missing(conditions.data):
        say(f"{condition.name}: skipped: {missing} is not there")
        return without_results(condition, "skipped", f"{missing} is not there")
    arguments = condition.arguments(conditions.data, out / condition.name)
    say(f"{condition.name}: retrieval eval {' '.join(arguments)}")
    try:
        code = _run(arguments)
    except RetrievalError as error:
        return without_results(condition, "FAIL", str(error))
    if code:
        return without_results(condition, "FAIL", f"the command left with exit code {code}")
    return judge(condition, read_results(out / condition.name), conditions)


def _run(arguments: list[str]) -> int:
    """Run a command of `retrieval eval` as it is typed, its tables among the talk; its exit code."""
    try:
        with redirect_stdout(sys.stderr):
            typer.main.get_command(_commands)(arguments)
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def _show(cells: list[Cell]) -> None:
    rows = [
        [
            cell.condition,
            cell.system,
            cell.measure,
            f"{cell.expected:.4f}",
            "" if cell.found is None else f"{cell.found:.4f}",
            "" if cell.found is None else f"{cell.found - cell.expected:+.4f}",
            f"{cell.verdict}: {cell.reason}" if cell.reason else cell.verdict,
        ]
        for cell in cells
    ]
    print_table(["condition", "system", "measure", "expected", "found", "difference", ""], rows, figures=False)

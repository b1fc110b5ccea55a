"""`retrieval eval run SUITE.toml`: systems × data sets, some at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.beir_eval.leaderboard.data import read_scores
from retrieval.beir_eval.suites import read_suite
from retrieval.cli.console import print_json, print_table, progress, say
from retrieval.cli.options import OnErrorName
from retrieval.errors import InputError
from retrieval.evaluating.cells import Cell, Place
from retrieval.evaluating.suites import cells_of, run_suite

__all__ = ["JobsOption", "RootOption", "run_file"]

RootOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Of a suite: what its folders are relative to; by default its own.",
    ),
]
JobsOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Of a suite: processes side by side, which are slower for it.")
]

# What can be said beside a suite; all else stands in it.
_BESIDE = {"data", "out", "root", "jobs", "device", "threads", "overwrite", "restart", "on_error", "json"}


def run_file(context: typer.Context) -> None:
    """Run what a suite's cells lack, and show the scores of all of them; options are those of `eval run`."""
    _check_options(context)
    given = context.params
    suite, place = read_suite(given["data"]), _place(given)
    cells = cells_of(suite, place)

    def tell(cell: Cell, is_new: bool) -> None:
        say(f"{cell.name}: {'done' if is_new else 'there already'}")

    with progress() as show:
        run_suite(cells, jobs=given["jobs"], progress=show, on_cell=tell)
    say(f"{place.out}: {len(cells)} cells; as a page: retrieval eval leaderboard {place.out} --out report.html")
    scores = [read_scores(cell.folder)[0] for cell in cells]
    if given["json"]:
        print_json([{"dataset": s.dataset, "system": s.system, "measures": s.measures} for s in scores])
    else:
        rows = [[s.dataset, s.system, *(f"{value:.4f}" for value in s.measures.values())] for s in scores]
        print_table(["data set", "system", *suite.measures], rows)


def _place(given: Mapping[str, Any]) -> Place:
    same = {name: given[name] for name in ("out", "device", "threads", "overwrite", "restart")}
    data = given["root"] or given["data"].parent
    return Place(data=data, skip=given["on_error"] is OnErrorName.SKIP, **same)


def _check_options(context: typer.Context) -> None:
    """Settings of systems would be ignored here, and figures credited to them."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in _BESIDE:
            raise InputError(f"--{name.replace('_', '-')} stands in the suite, where each system can have its own")

"""`retrieval eval run SUITE.toml`: systems × data sets, some at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.beir_eval.leaderboard.data import read_scores
from retrieval.beir_eval.suites import Suite, read_suite
from retrieval.beir_eval.wording import counted
from retrieval.cli.console import print_json, print_table, progress, say
from retrieval.cli.options import OnErrorName
from retrieval.errors import InputError
from retrieval.evaluating.cells import Cell
from retrieval.evaluating.places import Place
from retrieval.evaluating.suites import cells_of, run_suite

__all__ = ["JobsOption", "ModelsOption", "RootOption", "run_file"]

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
ModelsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Of a suite: what {models} stands for in it; without it, systems that need it are left out.",
    ),
]
JobsOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Of a suite: processes side by side, which are slower for it.")
]

# What can be said beside a suite; all else stands in it.
_BESIDE = {"data", "out", "root", "models", "jobs", "device", "threads", "overwrite", "restart", "on_error", "json"}


def run_file(context: typer.Context) -> None:
    """Run what a suite's cells lack, and show the scores of all of them; options are those of `eval run`."""
    _check_options(context)
    given = context.params
    place = _place(given)
    suite = _possible(read_suite(given["data"]), place)
    cells = cells_of(suite, place)

    def tell(cell: Cell, is_new: bool) -> None:
        say(f"{cell.name}: {'done' if is_new else 'there already'}")

    with progress() as show:
        run_suite(cells, jobs=given["jobs"], progress=show, on_cell=tell)
    done = counted(len(cells), "cell")
    say(f"{place.out}: {done}; as a page: retrieval eval leaderboard {place.out} --out report.html")
    scores = [read_scores(cell.folder)[0] for cell in cells]
    if given["json"]:
        print_json([{"dataset": s.dataset, "system": s.system, "measures": s.measures} for s in scores])
    else:
        names = list(dict.fromkeys(name for s in scores for name in s.measures))
        rows = [[s.dataset, s.system, *(_shown(s.measures.get(name)) for name in names)] for s in scores]
        print_table(["data set", "system", *names], rows)


def _shown(value: float | None) -> str:
    """A measure's mean; cells of an earlier version may lack Judged@10."""
    return "–" if value is None else f"{value:.4f}"


def _possible(suite: Suite, place: Place) -> Suite:
    """The suite without the systems that need a folder of models, where none is given; they are named."""
    lacking = [system.name for system in suite.systems if system.needs_models and not place.models]
    if not lacking:
        return suite
    need = f"{', '.join(lacking)}: in a folder of models, which --models DIR names"
    if len(lacking) == len(suite.systems):
        raise InputError(need)
    say(f"note: left out: {need}")
    return suite.model_copy(update={"systems": [each for each in suite.systems if each.name not in lacking]})


def _place(given: Mapping[str, Any]) -> Place:
    same = {name: given[name] for name in ("out", "device", "threads", "overwrite", "restart")}
    data, models = given["root"] or given["data"].parent, given["models"]
    return Place(
        data=data, models=models.resolve() if models else None, skip=given["on_error"] is OnErrorName.SKIP, **same
    )


def _check_options(context: typer.Context) -> None:
    """Settings of systems would be ignored here, and figures credited to them."""
    if context.params["index"]:
        raise InputError("--index is for a folder: a suite builds its indexes, which its systems share")
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in _BESIDE:
            raise InputError(f"--{name.replace('_', '-')} stands in the suite, where each system can have its own")

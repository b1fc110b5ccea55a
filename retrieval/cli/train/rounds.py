"""`retrieval train rounds`: a job of several rounds, from a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.console import print_json, progress, say
from retrieval.cli.options import DeviceOption, JsonOption, RestartOption, ThreadsOption
from retrieval.cli.train.telling import draw_curves, is_spokesman, use_threads
from retrieval.learning.dense import needs_torch
from retrieval.learning.rounds import Round, read_job, run_job
from retrieval.training.plotting import needs_matplotlib

if TYPE_CHECKING:
    from retrieval.training.trainer import Outcome

__all__ = ["rounds"]


def rounds(
    job: Annotated[Path, typer.Argument(metavar="JOB.toml", help="What the rounds are.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where each round has a folder.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="DATA", help="In place of the job's; repeatable.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="In place of the job's.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the job's.", show_default=False)] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the curves of each round: curves.png.")] = False,
    restart: RestartOption = False,
    json: JsonOption = False,
) -> None:
    """Run a job of several rounds; interrupted, the same command goes on where it was.

    Each round trains the model of the one before: [[round]] with a method, as dense, star, adore, and its settings.
    """
    needs_torch()
    if plot:
        needs_matplotlib()
    use_threads(threads)
    changes = {"data": [str(path) for path in data] if data else None, "model": model, "seed": seed, "device": device}
    found = read_job(job, **changes)

    def tell(number: int, each: Round, outcome: "Outcome") -> None:
        best = f", best at step {outcome.best.step}: dev nDCG@10 {outcome.best.score:.4f}" if outcome.best else ""
        if is_spokesman():
            say(f"round {number}, {each.method}: {outcome.model}, {outcome.steps} steps{best}")
        if plot:
            draw_curves(outcome.model.parent)

    with progress() as show:
        outcomes = run_job(found, out, restart=restart, progress=show, on_round=tell)
    if json and is_spokesman():
        print_json([{"model": str(one.model), "steps": one.steps, "best": one.best} for one in outcomes])

"""`retrieval eval`: measure systems on a test collection, and compare what was measured."""

import typer

from retrieval.cli.evaluate.compare import compare_systems
from retrieval.cli.evaluate.run import run

__all__ = ["app"]

app = typer.Typer(help="Measure systems on a test collection.", no_args_is_help=True)
app.command("run")(run)
app.command("compare")(compare_systems)


@app.callback()
def group() -> None:
    """Measure systems on a test collection."""

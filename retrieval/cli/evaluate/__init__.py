"""`retrieval eval`: measure systems on a test collection, and compare what was measured."""

import typer

from retrieval.cli.evaluate.compare import compare_systems
from retrieval.cli.evaluate.exchange import export_results, import_results, score
from retrieval.cli.evaluate.leaderboard import leaderboard
from retrieval.cli.evaluate.reproduce import reproduce
from retrieval.cli.evaluate.run import run

__all__ = ["app"]

app = typer.Typer(help="Measure systems on a test collection.", no_args_is_help=True)
app.command("run")(run)
app.command("score")(score)
app.command("compare")(compare_systems)
app.command("reproduce")(reproduce)
app.command("export")(export_results)
app.command("import")(import_results)
app.command("leaderboard")(leaderboard)


@app.callback()
def group() -> None:
    """Measure systems on a test collection."""

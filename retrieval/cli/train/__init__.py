"""`retrieval train`: improve encoders, one command per method."""

import typer

from retrieval.cli.train.dense import commands
from retrieval.cli.train.rounds import rounds
from retrieval.cli.train.splade import splade

__all__ = ["app"]

app = typer.Typer(help="Train encoders.", no_args_is_help=True)
commands(app)
app.command("splade")(splade)
app.command("rounds")(rounds)


@app.callback()
def group() -> None:
    """Train encoders."""

"""`retrieval train`: improve encoders, one command per method."""

import typer

from retrieval.cli.train.cross_encoder import cross_encoder
from retrieval.cli.train.dense import commands
from retrieval.cli.train.fields import command_of
from retrieval.cli.train.rounds import rounds
from retrieval.cli.train.splade import splade
from retrieval.training.settings import CrossEncoderSettings, DataSettings, TrainerSettings

__all__ = ["app"]

app = typer.Typer(help="Train encoders.", no_args_is_help=True)
commands(app)
app.command("cross-encoder")(command_of(cross_encoder, CrossEncoderSettings, TrainerSettings, DataSettings))
app.command("splade")(splade)
app.command("rounds")(rounds)


@app.callback()
def group() -> None:
    """Train encoders."""

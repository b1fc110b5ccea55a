"""`retrieval train`: improve encoders, one command per method."""

import typer

from retrieval.cli.train.cross_encoder import cross_encoder, set_encoder
from retrieval.cli.train.dense import commands
from retrieval.cli.train.fields import command_of
from retrieval.cli.train.rounds import rounds
from retrieval.cli.train.splade import splade
from retrieval.training.ranker_settings import CrossEncoderSettings, SetEncoderSettings
from retrieval.training.settings import DataSettings, TrainerSettings

__all__ = ["app"]

app = typer.Typer(help="Train encoders.", no_args_is_help=True)
commands(app)
app.command("cross-encoder")(command_of(cross_encoder, CrossEncoderSettings, TrainerSettings, DataSettings))
app.command("set-encoder")(command_of(set_encoder, SetEncoderSettings, TrainerSettings, DataSettings))
app.command("splade")(splade)
app.command("rounds")(rounds)


@app.callback()
def group() -> None:
    """Train encoders."""

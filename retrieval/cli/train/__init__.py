"""`retrieval train`: improve encoders, one command per method."""

import typer

from retrieval.cli.train.average import average
from retrieval.cli.train.dense import commands
from retrieval.cli.train.fields import command_of
from retrieval.cli.train.reranker import reranker
from retrieval.cli.train.rounds import rounds
from retrieval.cli.train.router import EXPERT_SKIPPED, router, system_router
from retrieval.cli.train.splade import splade
from retrieval.training.expert_settings import ExpertSettings
from retrieval.training.ranker_settings import CrossEncoderSettings, SetEncoderSettings
from retrieval.training.settings import DataSettings, TrainerSettings

__all__ = ["app"]

app = typer.Typer(help="Train encoders.", no_args_is_help=True)
commands(app)
for name, settings, skip, told in (
    (
        "cross-encoder",
        CrossEncoderSettings,
        ("subtopics",),
        "Train a cross-encoder, on lists of hard negatives or a teacher's scores.",
    ),
    ("set-encoder", SetEncoderSettings, (), "Train a set-encoder, which reads the passages of a query side by side."),
):
    made = command_of(reranker, settings, TrainerSettings, DataSettings, skip=skip)
    app.command(name, help=told)(made)
app.command("router")(command_of(router, ExpertSettings, TrainerSettings, DataSettings, skip=EXPERT_SKIPPED))
app.command("system-router")(system_router)
app.command("splade")(splade)
app.command("rounds")(rounds)
app.command("average")(average)


@app.callback()
def group() -> None:
    """Train encoders."""

"""`retrieval train` for dense encoders: one command for each method, its options made of its settings."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.console import progress
from retrieval.cli.options import JsonOption, RestartOption, ThreadsOption
from retrieval.cli.train.fields import command_of
from retrieval.cli.train.telling import draw_curves, report, tell, use_threads
from retrieval.learning.dense import METHODS, learn, needs_torch, read_data, steps_of
from retrieval.training.plotting import needs_matplotlib
from retrieval.training.settings import DataSettings, DenseSettings, TrainerSettings, check_negatives

__all__ = ["commands"]

DataArgument = Annotated[
    list[Path],
    typer.Argument(metavar="DATA...", help="BEIR folders, .jsonl of query, pos and neg, or .tsv of triples."),
]
ModelOption = Annotated[str, typer.Option(metavar="MODEL", help="What to begin with: minilm, a folder or a hub id.")]
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="Where the model goes, with its log and checkpoints.")]
EpochsOption = Annotated[float, typer.Option(help="Times that each query is seen.")]
StepsOption = Annotated[int | None, typer.Option(min=0, help="Or: batches to learn from.", show_default=False)]
IndexOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Index with a dense part of MODEL; without it one is built.", show_default=False),
]

PlotOption = Annotated[bool, typer.Option("--plot", help="Draw loss and dev scores when done: curves.png.")]

_HELP = {
    "dense": "Train a dense encoder: a positive against all documents of the batch, and hard negatives.",
    "star": "STAR: static hard negatives, found by the model as it begins, stabilised by the batch's documents.",
    "adore": "ADORE: the query side alone, against what a search of the frozen index finds at every step.",
    "ar2": "AR2: a retriever and a ranker learn against each other, in turns, on what the retriever finds.",
    "cet": "CET-style, a reconstruction: models of relevance and of selection correct the bias of pooled judgements.",
    "tas-b": "TAS-Balanced: batches of one topic, pairs of balanced margins, a teacher of pairs and one of batches.",
    "rocketqa": "RocketQAv2: a ranker that learns from judgements, and a retriever that follows it on the same lists.",
    "pair": "PAIR: a positive passage is to be closer to its query than to other passages, too.",
}
# What plays no part in a method.
_SKIPPED: dict[str, tuple[str, ...]] = {
    "ar2": ("refresh",),
    "cet": ("ranker_warmup",),
    "tas-b": ("negatives_per_query", "refresh"),
    "adore": ("negatives_per_query", "document_length", "mined", "refresh", "cached", "negatives", "negatives_depth"),
}


def commands(app: typer.Typer) -> None:
    """Add a command for each method."""
    for name, settings in METHODS.items():
        unused = [*(["index"] if name != "adore" else []), *(["teacher_run"] if name != "tas-b" else [])]
        skip = [*unused, *_SKIPPED.get(name, ())]
        made = command_of(_method(name), settings, TrainerSettings, DataSettings, skip=skip)
        app.command(name, help=_HELP[name])(made)


def _method(name: str) -> Callable[..., None]:
    def run(
        settings: DenseSettings,
        optimising: TrainerSettings,
        given: DataSettings,
        data: DataArgument,
        model: ModelOption,
        out: OutOption,
        epochs: EpochsOption = 1.0,
        steps: StepsOption = None,
        restart: RestartOption = False,
        threads: ThreadsOption = None,
        plot: PlotOption = False,
        json: JsonOption = False,
        index: IndexOption = None,
    ) -> None:
        needs_torch()
        if plot:
            needs_matplotlib()
        use_threads(threads)
        check_negatives(settings, given)
        training, sets = read_data(data, given, settings.seed)
        report(training, sets)
        wanted = steps_of(epochs, training, settings.batch) if steps is None else steps
        corpus = data[0] if len(data) == 1 and data[0].is_dir() else None
        with progress() as show:
            outcome = learn(
                name,
                model,
                training,
                sets,
                settings,
                replace(optimising, steps=wanted),
                out,
                corpus=corpus,
                index=index,
                restart=restart,
                progress=show,
            )
        if plot:
            draw_curves(out)
        tell(outcome, json=json)

    return run

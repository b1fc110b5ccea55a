"""`retrieval train cross-encoder` and `set-encoder`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.console import progress
from retrieval.cli.options import JsonOption, RestartOption, ThreadsOption
from retrieval.cli.train.dense import DataArgument, EpochsOption, OutOption, PlotOption, StepsOption
from retrieval.cli.train.telling import draw_curves, report, tell, use_threads
from retrieval.errors import InputError
from retrieval.learning.dense import needs_torch, read_data, steps_of
from retrieval.learning.rerankers import learn_ranker
from retrieval.training.plotting import needs_matplotlib
from retrieval.training.ranker_settings import CrossEncoderSettings
from retrieval.training.settings import DataSettings, TrainerSettings

__all__ = ["reranker"]

ModelOption = Annotated[
    str,
    typer.Option(metavar="MODEL", help="A cross-encoder, or an encoder that gets a head: minilm, a folder, a hub id."),
]
DevRunOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="RUN", help="TREC run whose hits are reranked to judge the model; one for each folder of dev data."
    ),
]
DepthOption = Annotated[int, typer.Option(min=1, help="Hits of it that are reranked.")]
SubtopicsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Lines of query, sub-topic, document and grade, as TREC's: they teach --novelty, or else RankNet.",
    ),
]


def reranker(
    settings: CrossEncoderSettings,
    optimising: TrainerSettings,
    given: DataSettings,
    data: DataArgument,
    model: ModelOption,
    out: OutOption,
    dev_run: DevRunOption = None,
    dev_depth: DepthOption = 100,
    subtopics: SubtopicsOption = None,
    epochs: EpochsOption = 1.0,
    steps: StepsOption = None,
    restart: RestartOption = False,
    threads: ThreadsOption = None,
    plot: PlotOption = False,
    json: JsonOption = False,
) -> None:
    """Train the kind of reranker that the settings are of, on lists of hard negatives or on a teacher."""
    needs_torch()
    if plot:
        needs_matplotlib()
    use_threads(threads)
    training, sets = read_data(data, given, settings.seed)
    if len(dev_run or []) != len(sets):
        raise InputError(
            f"{len(sets)} folders of dev data, and {len(dev_run or [])} runs to rerank",
            hint="search with the dev queries, and give --dev-run FILE for each folder",
        )
    report(training, sets)
    wanted = steps_of(epochs, training, settings.batch) if steps is None else steps
    with progress() as show:
        outcome = learn_ranker(
            model,
            training,
            list(zip(sets, dev_run or [], strict=True)),
            settings,
            replace(optimising, steps=wanted),
            out,
            depth=dev_depth,
            subtopics=subtopics,
            restart=restart,
            progress=show,
        )
    if plot:
        draw_curves(out)
    tell(outcome, json=json)

"""`retrieval train router` and `system-router`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.console import print_json, progress, say
from retrieval.cli.options import (
    AggregateName,
    AggregateOption,
    DeviceOption,
    JsonOption,
    MarginOption,
    MovedOption,
    RestartOption,
    ThreadsOption,
)
from retrieval.cli.reranking import RerankOption, RerankPrecisionOption, make_reranking
from retrieval.cli.train.dense import EpochsOption, StepsOption
from retrieval.cli.train.telling import told_of, use_threads
from retrieval.indexing import Index
from retrieval.learning.routers.expert_training import Making, domains_of
from retrieval.training.expert_settings import ExpertSettings
from retrieval.training.settings import DataSettings, TrainerSettings

if TYPE_CHECKING:
    from retrieval.training.trainer import Outcome

__all__ = [
    "EXPERT_SKIPPED",
    "DomainsArgument",
    "IndexesOption",
    "LrOption",
    "NegativesOption",
    "router",
    "system_router",
    "told_on",
]

EXPERT_SKIPPED = ("cached", "document_length", "mined", "pseudo_positives", "refresh", "teacher_run")
"""What plays no part for an expert."""

DomainsArgument = Annotated[
    list[Path], typer.Argument(metavar="DATA...", help="BEIR folders, each a domain, and the name of its expert.")
]
IndexesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--index",
        metavar="DIR",
        help="Index of the documents: one for all, or one for each folder; without it they are built.",
        show_default=False,
    ),
]
NegativesOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE", help="Hard negatives, mined or a TREC run: one file for each folder.", show_default=False
    ),
]
LrOption = Annotated[float, typer.Option(help="The highest learning rate.")]
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="The router's folder.")]


def router(
    settings: ExpertSettings,
    optimising: TrainerSettings,
    given: DataSettings,
    data: DomainsArgument,
    model: Annotated[str, typer.Option(metavar="MODEL", help="The base, which encodes all documents.")],
    out: OutOption,
    index: IndexesOption = None,
    negatives: NegativesOption = None,
    aggregate: AggregateOption = AggregateName.MEAN,
    margin: MarginOption = 0.0,
    epochs: EpochsOption = 1.0,
    steps: StepsOption = None,
    lr: LrOption = 1e-4,
    restart: RestartOption = False,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Train an expert for each domain, and find for each training query who serves it best."""
    from retrieval.learning.routers.experts import make_router

    use_threads(threads)
    domains = domains_of(data, negatives or [], index or [])
    making = Making(settings=settings, optimising=replace(optimising, lr=lr), given=given, epochs=epochs, steps=steps)
    with progress() as show:
        made = make_router(
            domains,
            model,
            making,
            out,
            aggregate=aggregate.value,
            margin=margin,
            restart=restart,
            progress=show,
            on_expert=told_on,
        )
    say(f"{out}: {len(made.experts)} experts, {len(made.pilots.counts)} pilots")
    if json:
        print_json(made.model_dump(mode="json"))


def told_on(name: str, outcome: "Outcome") -> None:
    """Say that an expert has been trained."""
    say(f"expert {name}: {told_of(outcome)}")


def system_router(
    data: DomainsArgument,
    out: OutOption,
    index: Annotated[
        list[Path], typer.Option(metavar="DIR", help="Index of the documents: one for all, or one for each folder.")
    ],
    using: Annotated[
        str, typer.Option(metavar="NAMES", help="Systems to choose among; with --rerank as hybrid@0,hybrid@50.")
    ] = "lexical,dense,hybrid",
    split: Annotated[str, typer.Option(help="Whose queries to learn from: qrels/SPLIT.tsv.")] = "train",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Let a cheaper system answer if it is expected to be no more than this worse.")
    ] = 0.0,
    rerank: RerankOption = None,
    rerank_precision: RerankPrecisionOption = None,
    restart: RestartOption = False,
    dense: MovedOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Learn which queries lexical, sparse, dense or hybrid search serves best, by what a lexical search tells."""
    from retrieval.learning.routers.systems import make_system_router

    domains = domains_of(data, [], index)
    opened = [Index.open(domain.index) for domain in domains if domain.index]
    names = [name.strip() for name in using.split(",")]
    with progress() as show:
        made = make_system_router(
            data,
            opened,
            names,
            out,
            split=split,
            reranking=make_reranking(rerank, None, None, device, rerank_precision),
            tolerance=tolerance,
            restart=restart,
            model=dense,
            device=device,
            threads=threads,
            progress=show,
        )
    say(
        f"{out}: {len(names)} systems, learned from {sum(made.queries.values())} queries; best of them all: {made.base}"
    )
    if json:
        print_json(made.model_dump(mode="json"))

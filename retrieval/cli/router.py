"""`retrieval router`: change a router over experts, show a router, and measure it."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from retrieval.beir_eval.datasets import Collection, check_fit, load_collection
from retrieval.cli.console import print_json, print_table, progress, say
from retrieval.cli.options import (
    AggregateName,
    DeviceOption,
    JsonOption,
    MovedOption,
    ThreadsOption,
)
from retrieval.cli.reranking import RerankOption, RerankPrecisionOption, make_reranking
from retrieval.cli.train.dense import EpochsOption, StepsOption
from retrieval.cli.train.fields import command_of
from retrieval.cli.train.router import (
    EXPERT_SKIPPED,
    DomainsArgument,
    IndexesOption,
    LrOption,
    NegativesOption,
    told_on,
)
from retrieval.cli.train.telling import use_threads
from retrieval.errors import InputError
from retrieval.files import write_whole
from retrieval.indexing import Index
from retrieval.learning.routers.expert_training import Making, domains_of
from retrieval.routing.experts import ExpertRouter
from retrieval.routing.manifest import ExpertsManifest, SystemsManifest, read_router
from retrieval.routing.opening import open_router
from retrieval.training.expert_settings import ExpertSettings
from retrieval.training.settings import DataSettings, TrainerSettings

app = typer.Typer(help="Routers: change, show and measure them.", no_args_is_help=True)

RouterArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The router.")]


@app.callback()
def group() -> None:
    """Routers: change, show and measure them; `retrieval train router` and `system-router` make them."""


def add(
    settings: ExpertSettings,
    optimising: TrainerSettings,
    given: DataSettings,
    directory: RouterArgument,
    data: DomainsArgument,
    index: IndexesOption = None,
    negatives: NegativesOption = None,
    epochs: EpochsOption = 1.0,
    steps: StepsOption = None,
    lr: LrOption = 1e-4,
    dense: MovedOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Train more experts for the router at DIR; no index changes, and pilots are found anew."""
    from retrieval.learning.routers.experts import add_experts

    use_threads(threads)
    making = Making(settings=settings, optimising=replace(optimising, lr=lr), given=given, epochs=epochs, steps=steps)
    with progress() as show:
        made = add_experts(
            directory,
            domains_of(data, negatives or [], index or []),
            making,
            model=dense,
            progress=show,
            on_expert=told_on,
        )
    _tell(directory, made, json=json)


app.command("add")(command_of(add, ExpertSettings, TrainerSettings, DataSettings, skip=EXPERT_SKIPPED))


@app.command()
def remove(
    directory: RouterArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The expert.")],
    json: JsonOption = False,
) -> None:
    """Take an expert out of the router at DIR, and its domain's pilots; no index changes."""
    from retrieval.learning.routers.experts import remove_expert

    _tell(directory, remove_expert(directory, name), json=json)


def _tell(directory: Path, made: ExpertsManifest, *, json: bool) -> None:
    say(f"{directory}: {', '.join(made.names)}; {len(made.pilots.counts)} pilots")
    if json:
        print_json(made.model_dump(mode="json"))


@app.command()
def info(directory: RouterArgument, json: JsonOption = False) -> None:
    """Show what the router at DIR is made of."""
    manifest = read_router(directory)
    if json:
        print_json(manifest.model_dump(mode="json"))
    elif isinstance(manifest, ExpertsManifest):
        _show_experts(manifest)
    else:
        _show_systems(manifest)


def _show_experts(manifest: ExpertsManifest) -> None:
    """Of how many queries of each domain each expert's pilots are the means."""
    say(f"experts of {manifest.base.model}; {manifest.aggregate} similarity, margin {manifest.margin:g}")
    pilots = manifest.pilots
    won = dict(zip(zip(pilots.domains, pilots.experts, strict=True), pilots.counts, strict=True))
    rows = [
        [expert.name, str(expert.queries), *(str(won.get((domain, place), 0)) for domain in range(len(manifest.names)))]
        for place, expert in enumerate(manifest.experts)
    ]
    print_table(["expert", "trained on", *(f"best on {name}" for name in manifest.names)], rows)


def _show_systems(manifest: SystemsManifest) -> None:
    """What each system costs, and which features speak for it."""
    learned = ", ".join(f"{count} of {name}" for name, count in manifest.queries.items())
    say(f"systems, learned from {learned}; the best of all: {manifest.base}; tolerance {manifest.tolerance:g}")
    rows = [
        [one.name, f"{one.milliseconds:.2f}", f"{one.intercept:.4f}", *(f"{c:+.4f}" for c in one.coefficients)]
        for one in manifest.systems
    ]
    print_table(["system", "ms/query", "mean", *manifest.features], rows)


@app.command("eval")
def evaluate(
    directory: RouterArgument,
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="BEIR folders.")],
    index: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Index of the documents: one for all, or one for each folder; by default those of training.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which judgements: qrels/SPLIT.tsv.")] = "test",
    aggregate: Annotated[
        AggregateName | None, typer.Option(help="In place of the router's own.", show_default=False)
    ] = None,
    margin: Annotated[float | None, typer.Option(help="In place of the router's own.", show_default=False)] = None,
    keep_self: Annotated[bool, typer.Option("--keep-self", help="Keep a document whose id is the query's.")] = False,
    rerank: RerankOption = None,
    rerank_precision: RerankPrecisionOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all of it here, each query's part too, as JSON.")
    ] = None,
    dense: MovedOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Compare the router with each expert or system, and with the best choice that there was for each query."""
    from retrieval.learning.routers.evaluating import evaluate_router, rows_of

    router = open_router(directory, device, model=dense)
    if isinstance(router, ExpertRouter) and rerank:
        raise InputError("--rerank is for a router over systems that says how deep to rerank")
    if isinstance(router, ExpertRouter):
        router = router.with_rule(aggregate.value if aggregate else None, margin)
    elif (aggregate, margin) != (None, None):
        raise InputError("--aggregate and --margin are for a router over experts")
    pairs = _data(directory, data, index or [], split, keep_self=keep_self)
    with progress() as show:
        report = evaluate_router(
            router,
            pairs,
            reranking=make_reranking(rerank, None, None, device, rerank_precision),
            model=dense,
            keep_self=keep_self,
            device=device,
            threads=threads,
            progress=show,
        )
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
        say(f"{out}: every query's choice, similarities, margin, oracle and regret")
    if json:
        print_json(report)
    else:
        print_table(*rows_of(report))


def _data(
    directory: Path, data: list[Path], indexes: list[Path], split: str, *, keep_self: bool
) -> list[tuple[Collection, Index]]:
    """Each folder's queries, and the index of its documents."""
    manifest = read_router(directory)
    trained: dict[str, Any] = {}
    if isinstance(manifest, ExpertsManifest):
        trained = {expert.data: directory / expert.index for expert in manifest.experts}
    found = []
    for domain in domains_of(data, [], indexes):
        path = domain.index or trained.get(str(domain.folder.resolve()))
        if path is None:
            raise InputError(f"{domain.folder}: which index has its documents?", hint="name it: --index DIR")
        index, collection = Index.open(path), load_collection(domain.folder, split, on_error="skip")
        fit = check_fit(collection, index.documents.all_document_ids())
        for note in (*collection.problems, *fit.notes(keep_self=keep_self)):
            say(f"note: {note}")
        found.append((collection, index))
    return found

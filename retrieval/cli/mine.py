"""`retrieval mine`: hard negatives out of what indexes and runs find."""

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from retrieval.beir_eval.datasets import Collection, load_collection
from retrieval.cli.console import print_json, print_table, progress, say
from retrieval.cli.options import (
    DepthOption,
    DeviceOption,
    FusionOption,
    JsonOption,
    MovedOption,
    OnErrorName,
    QueryVectorsOption,
    ThreadsOption,
    WeightOption,
    make_fusion,
)
from retrieval.errors import InputError
from retrieval.fusion import Fusion
from retrieval.index_models import load_query_encoder, load_sparse_query_encoder
from retrieval.indexing import Index
from retrieval.learning.mining import IndexSource, MiningReport, RunSource, Source
from retrieval.learning.mining import mine as mine_into
from retrieval.pipeline import Retriever, fuses, parse_using, usual_mode
from retrieval.protocols import SparseEncoder
from retrieval.training.mining import MiningSettings, Scorer
from retrieval.vectors import StoredQueries

# ruff: noqa: D101 - the names say it

_DEFAULTS = MiningSettings()


class SampleName(StrEnum):
    UNIFORM = "uniform"
    TOP = "top"
    SIMANS = "simans"


class MarginByName(StrEnum):
    SEARCH = "search"
    CROSS_ENCODER = "cross-encoder"


def mine(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder in BEIR's layout.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where negatives.jsonl and audit.tsv go.")],
    index: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Index of the corpus to search; repeatable.")
    ] = None,
    using: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Modes of search, each a source: lexical, sparse, dense, lexical+sparse, ..., hybrid; with commas.",
            show_default="all that the index has, fused",
        ),
    ] = None,
    run: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="TREC run to take candidates from; repeatable.")
    ] = None,
    split: Annotated[str, typer.Option(help="Whose queries: qrels/SPLIT.tsv.")] = "train",
    first: Annotated[int, typer.Option(min=1, help="Best rank of a candidate.")] = _DEFAULTS.first,
    last: Annotated[int, typer.Option(min=1, help="Worst rank.")] = _DEFAULTS.last,
    count: Annotated[int, typer.Option(min=1, help="Negatives of a query from each source.")] = _DEFAULTS.count,
    sample: Annotated[
        SampleName, typer.Option(help="Which of those left: at random, the first, or near the positive's score.")
    ] = SampleName.UNIFORM,
    simans_a: Annotated[float, typer.Option(help="a of exp(-a (s - s+ - b)²).")] = _DEFAULTS.simans_a,
    simans_b: Annotated[float, typer.Option(help="b of it.")] = _DEFAULTS.simans_b,
    margin: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Keep only scores below this share of the best positive's, as 0.95.",
            show_default=False,
        ),
    ] = None,
    margin_absolute: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", help="Or only scores lower than it by more than this.", show_default=False),
    ] = None,
    margin_by: Annotated[
        MarginByName, typer.Option(help="Whose scores: the search's, or probabilities of --denoise.")
    ] = MarginByName.SEARCH,
    near_duplicate: Annotated[
        float, typer.Option(help="Similarity (Jaccard, of trigrams of words) to a positive from which none is kept.")
    ] = _DEFAULTS.near_duplicate,
    denoise: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Cross-encoder that reads every candidate.", show_default=False)
    ] = None,
    below: Annotated[float, typer.Option(help="Its probability below which one may be kept.")] = _DEFAULTS.below,
    above: Annotated[float, typer.Option(help="And above which one is a pseudo-positive.")] = _DEFAULTS.above,
    audit: Annotated[int, typer.Option(min=0, help="Likeliest false negatives to list, of kept and of dropped.")] = 100,
    on_error: Annotated[
        OnErrorName, typer.Option(help="What to do with hits and judgements that do not fit.")
    ] = OnErrorName.STOP,
    fusion: FusionOption = None,
    weight: WeightOption = None,
    depth: DepthOption = None,
    dense: MovedOption = None,
    sparse: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Where the sparse part's model is now, or which one made its vectors."),
    ] = None,
    query_vectors: QueryVectorsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = _DEFAULTS.seed,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Mine hard negatives for the queries of DATA from indexes and runs.

    Relevant documents and near-duplicates of them are never among them. A margin and --denoise keep out what nobody
    judged and is likely relevant; audit.tsv lists the likeliest that are left, to be read.
    """
    if not index and not run:
        raise typer.BadParameter("give what finds candidates: --index DIR or --run FILE")
    if not index and (using, dense, sparse, query_vectors) != (None, None, None, None):
        raise InputError("--using, --dense, --sparse and --query-vectors are for --index")
    settings = MiningSettings(
        first=first,
        last=last,
        count=count,
        sample=sample.value,
        relative_margin=margin,
        absolute_margin=margin_absolute,
        margin_by=margin_by.value,
        near_duplicate=near_duplicate,
        below=below,
        above=above,
        simans_a=simans_a,
        simans_b=simans_b,
        seed=seed,
    )
    opened = [Index.open(path) for path in index or []]
    modes = list(dict.fromkeys(name.strip() for name in using.split(","))) if using else []
    can_fuse = any(fuses(mode) for each in opened for mode in modes or [usual_mode(each)])
    fused = make_fusion(fusion, weight, depth, fuses=can_fuse)
    collection = load_collection(data, split, on_error=on_error.value)
    sources: list[Source] = []
    for each in opened:
        stored = StoredQueries.read(query_vectors, collection.queries) if query_vectors else None
        sources += _searches(each, modes or [None], fused, stored, dense, sparse, device, threads)
    sources += [RunSource(path, collection.qrels) for path in run or []]
    scorer = _cross_encoder(denoise, device) if denoise else None
    with progress() as show:
        report = mine_into(
            data,
            collection,
            sources,
            settings,
            out,
            scorer=scorer,
            audit=audit,
            on_error=on_error.value,
            progress=show,
        )
    _tell(report, collection, out, has_margin=settings.has_margin and margin_by is MarginByName.SEARCH)
    if json:
        print_json(asdict(report))
    else:
        total = sum(report.candidates.values())
        rows = [[name, f"{n:,}", f"{n / total:.1%}"] for name, n in report.candidates.items()]
        print_table(["candidates", f"{total:,}", "share"], rows)


def _searches(
    index: Index,
    modes: Sequence[str | None],
    fusion: Fusion,
    stored: StoredQueries | None,
    dense: str | None,
    sparse: str | None,
    device: str | None,
    threads: int | None,
) -> list[IndexSource]:
    """Each mode of search over an index, with one model for all that need it."""
    needed = {stage for mode in modes for stage in (mode and parse_using(mode)) or index.parts}
    encoder = load_query_encoder(index, device, model=dense) if "dense" in needed and index.dense else None
    query_side: SparseEncoder | StoredQueries | None = stored
    if "sparse" in needed and index.sparse and stored is None:
        query_side = load_sparse_query_encoder(index, device, model=sparse)
    return [
        IndexSource(
            Retriever(
                index,
                using=mode,
                fusion=fusion,
                encoder=encoder,
                sparse_encoder=query_side,
                by_document=True,
                device=device,
                threads=threads,
            )
        )
        for mode in modes
    ]


def _cross_encoder(model: str, device: str | None) -> Scorer:
    from retrieval.rerank.cross_encoder import PairScorer

    return PairScorer(model, device=device).scores


def _tell(report: MiningReport, collection: Collection, out: Path, *, has_margin: bool) -> None:
    for note in report.notes:
        say(f"note: {note}")
    queries = report.queries
    said = {
        "without positive": "without a positive, left out",
        "without candidates": "without a candidate in the range",
        "without negatives": "without a negative that could be kept",
        "fallback": "with negatives from below the range only",
        **(
            {"without positive score": "without a score of a positive, where the margin kept all"} if has_margin else {}
        ),
    }
    for name, what in said.items():
        if queries.get(name):
            say(f"note: queries {what}: {queries[name]} of {len(collection.queries)}")
    if report.unknown:
        say(f"note: hits that the corpus lacks, left out: {report.unknown}")
    pseudo = f" and {report.positives:,} pseudo-positives" if report.positives else ""
    say(f"{out}: {report.negatives:,} negatives{pseudo} for {queries.get('mined', 0):,} queries")

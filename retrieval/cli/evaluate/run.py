"""`retrieval eval run`: systems that search an index are measured on a test collection."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.beir_eval.datasets import Collection, check_fit, load_collection
from retrieval.beir_eval.evaluation import write_results
from retrieval.cli.console import print_json, progress, say
from retrieval.cli.evaluate.options import (
    USUAL_MEASURES,
    KeepSelfOption,
    MeasuresOption,
    SplitOption,
    TiesOption,
    split_measures,
)
from retrieval.cli.evaluate.output import show_results
from retrieval.cli.evaluate.suite import JobsOption, ModelsOption, RootOption, run_file
from retrieval.cli.options import (
    BatchTokensOption,
    DenseOption,
    DepthOption,
    DeviceOption,
    DimensionsOption,
    EngineName,
    EngineOption,
    FusionOption,
    JsonOption,
    LanguageOption,
    OnErrorName,
    PrecisionOption,
    PresetOption,
    QueryVectorsOption,
    RestartOption,
    RouterOption,
    RuntimeOption,
    SparseOption,
    SparseVectorsOption,
    ThreadsOption,
    WeightOption,
    encoding_options,
    make_fusion,
    make_lexical,
    sparse_source,
)
from retrieval.cli.reranking import (
    RerankDepthOption,
    RerankOption,
    RerankPrecisionOption,
    RerankWeightOption,
    make_reranking,
)
from retrieval.corpus import read_documents
from retrieval.describing import machine
from retrieval.encoders.dense import load_encoder
from retrieval.encoders.sparse import load_sparse_encoder
from retrieval.errors import InputError
from retrieval.evaluating.costs import BuildTime
from retrieval.evaluating.running import evaluate, index_for
from retrieval.fusion import check_weights
from retrieval.index_models import load_query_encoder, load_sparse_query_encoder
from retrieval.indexing import Index, LexicalOptions, LuceneOptions
from retrieval.pipeline import ROUTED, Retriever, fuses, parse_using, routed_stages
from retrieval.protocols import Encoder, SparseEncoder
from retrieval.reranking import Reranking
from retrieval.routing.experts import ExpertRouter
from retrieval.routing.opening import Router, open_router
from retrieval.routing.systems import SystemRouter
from retrieval.vectors import StoredQueries, VectorFile

_LANGUAGE = "english"


def run(
    context: typer.Context,
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder in BEIR's layout, or a suite of systems and data: a .toml.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where runs and results.json go, and a new index.")],
    using: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="Systems: lexical, sparse, dense, lexical+sparse, ..., hybrid, routed; with commas."
        ),
    ] = "lexical",
    index: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The index to search; without it, one is built in OUT/index.")
    ] = None,
    split: SplitOption = "test",
    measures: MeasuresOption = USUAL_MEASURES,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits per query.")] = 1000,
    keep_self: KeepSelfOption = False,
    ties: TiesOption = None,
    dense: DenseOption = None,
    sparse: SparseOption = None,
    sparse_vectors: SparseVectorsOption = None,
    query_vectors: QueryVectorsOption = None,
    lexical_engine: EngineOption = EngineName.NATIVE,
    bm25: PresetOption = None,
    language: LanguageOption = _LANGUAGE,
    fusion: FusionOption = None,
    weight: WeightOption = None,
    depth: DepthOption = None,
    rerank: RerankOption = None,
    rerank_depth: RerankDepthOption = None,
    rerank_weight: RerankWeightOption = None,
    rerank_precision: RerankPrecisionOption = None,
    router: RouterOption = None,
    on_error: Annotated[OnErrorName, typer.Option(help="What to do with judgements that do not fit.")] = (
        OnErrorName.STOP
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an index at OUT/index that was built otherwise.")
    ] = False,
    restart: RestartOption = False,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    runtime: RuntimeOption = None,
    dimensions: DimensionsOption = None,
    batch_tokens: BatchTokensOption = None,
    threads: ThreadsOption = None,
    root: RootOption = None,
    models: ModelsOption = None,
    jobs: JobsOption = 1,
    json: JsonOption = False,
) -> None:
    """Evaluate systems on DATA: one TREC run each, results.json, and a table; or all that a suite names."""
    if data.suffix == ".toml":
        run_file(context)
        return
    if root or models or jobs != 1:
        raise InputError("--data, --models and --jobs are for a suite, which is a .toml")
    names = _systems(using, router)
    chosen = split_measures(measures)  # an unknown one stops before an index is built
    collection = load_collection(data, split, on_error=on_error.value)
    if index:
        _check_given((lexical_engine, bm25, language), (precision, runtime, dimensions, batch_tokens))
    chosen_by = open_router(router, device, model=dense) if router else None
    can_fuse = any(fuses(name, chosen_by.manifest if chosen_by else None) for name in names)
    settings = make_fusion(fusion, weight, depth, fuses=can_fuse)
    asked = [query.text for query in collection.queries]
    reranking = make_reranking(rerank, rerank_depth, None, device, rerank_precision, asked, weight=rerank_weight)
    source: SparseEncoder | VectorFile | None = None
    built: BuildTime | None = None
    if index:
        opened = Index.open(index)
        needed = _stages([name for name in names if not _encodes_itself(name, chosen_by)], chosen_by, opened.parts)
        encoder = load_query_encoder(opened, device, model=dense) if "dense" in needed else None
        ids = opened.documents.all_document_ids()
    else:
        needed = _needed(names, chosen_by, dense, sparse or sparse_vectors)
        encoding = encoding_options(device, precision, runtime, batch_tokens)
        encoder = load_encoder(dense, dimensions=dimensions, **encoding) if dense else None
        given = sparse_source(sparse, sparse_vectors)
        source = load_sparse_encoder(given, **encoding) if isinstance(given, str) else given
        ids = (document.id for document in read_documents(data))
    check_weights(settings.weights, sorted(needed))
    without_own = _told_fit(collection, ids, keep_self=keep_self)
    if not index:
        options = make_lexical(bm25, language, engine=lexical_engine)
        opened, built = _index(data, out / "index", options, encoder, source, overwrite=overwrite, restart=restart)
    given_queries = (collection, source, query_vectors, sparse, device)
    query_side = _query_side(opened, *given_queries) if "sparse" in needed else None
    # Collections judge documents, also where passages are indexed.
    shared: dict[str, Any] = {"fusion": settings, "by_document": True, "threads": threads}
    shared |= {"encoder": encoder, "sparse_encoder": query_side}
    retrievers = [
        Retriever(opened, using=name, rerank=how, router=chosen_by if name == ROUTED else None, **shared)
        for name in names
        for how in _ways(name, chosen_by, reranking)
    ]
    results = evaluate(
        collection,
        retrievers,
        measures=chosen,
        k=k,
        without_own=without_own,
        ties=ties.value if ties else None,
        built=built,
    )
    content = write_results(out, collection, results, {**machine(), **_of_index(opened)})
    say(f"{out}: results.json and a run of {', '.join(retriever.name for retriever in retrievers)}")
    if json:
        print_json(content)
    else:
        show_results(collection, results)


def _check_given(lexical: tuple[object, ...], encoding: tuple[object, ...]) -> None:
    """An error where the settings of a new index are given, and an index is."""
    if lexical != (EngineName.NATIVE, None, _LANGUAGE):
        raise InputError(
            "--lexical-engine, --bm25 and --language are for a new index; the one of --index has settings of its own"
        )
    if any(value is not None for value in encoding):
        raise InputError("--precision, --runtime, --dimensions and --batch-tokens are for a new index")


def _index(
    data: Path,
    path: Path,
    options: LexicalOptions | LuceneOptions,
    encoder: Encoder | None,
    source: SparseEncoder | VectorFile | None,
    **how: Any,
) -> tuple[Index, BuildTime | None]:
    """The index that `index_for` finds or builds, and what that took."""
    with progress() as show:
        opened, is_new, built = index_for(data, path, options, encoder, source, **how, progress=show)
    say(f"{path}: {'built' if is_new else 'using the index that is there'}")
    return opened, built


def _told_fit(collection: Collection, ids: Iterable[str], *, keep_self: bool) -> bool:
    """Say what does not fit the corpus; whether a query's own document is to be left out."""
    fit = check_fit(collection, ids)
    collection.problems.extend(fit.notes(keep_self=keep_self))
    for problem in collection.problems:
        say(f"note: {problem}")
    return bool(fit.own) and not keep_self


def _systems(using: str, router: Path | None) -> list[str]:
    """The names, each once; checked before an index is built for them."""
    names = list(dict.fromkeys(name.strip() for name in using.split(",")))
    if (ROUTED in names) != (router is not None):
        raise InputError("routed search and a router go together", hint="--using routed --router DIR")
    for name in names:
        if name != ROUTED:
            parse_using(name)
    return names


def _stages(names: Sequence[str], router: Router | None, there: Sequence[str]) -> set[str]:
    """What these systems search with, where these stages are there."""
    modes = set(names) - {ROUTED}
    routed = routed_stages(router.manifest) if router and ROUTED in names else ()
    return {*routed, *(stage for mode in modes for stage in parse_using(mode) or there)}


def _encodes_itself(name: str, router: Router | None) -> bool:
    return name == ROUTED and isinstance(router, ExpertRouter)


def _ways(name: str, router: Router | None, reranking: Reranking | None) -> list[Reranking | None]:
    """Without a reranker, and with it; a router that says how deep to rerank has it always."""
    always = name == ROUTED and isinstance(router, SystemRouter) and router.manifest.reranker is not None
    return [reranking] if always or reranking is None else [None, reranking]


def _needed(names: Sequence[str], router: Router | None, dense: str | None, sparse: object) -> set[str]:
    """The parts that a new index must have for these systems; an error if nothing says what makes one of them."""
    given = ["lexical", *(["dense"] if dense else []), *(["sparse"] if sparse else [])]
    needed = _stages(names, router, given if len(given) > 1 else ["dense"])
    if "dense" in needed - {*given}:
        raise InputError("dense search needs a model", hint="name one: --dense minilm")
    if "sparse" in needed - {*given}:
        raise InputError(
            "sparse search needs a model or vectors", hint="name one: --sparse MODEL, --sparse-vectors FILE"
        )
    return needed


def _query_side(
    index: Index,
    collection: Collection,
    source: SparseEncoder | VectorFile | None,
    vectors: Path | None,
    model: str | None,
    device: str | None,
) -> SparseEncoder | StoredQueries:
    """What gives the collection's queries their sparse vectors."""
    if vectors:
        return StoredQueries.read(vectors, collection.queries)
    if source is None or isinstance(source, VectorFile):
        return load_sparse_query_encoder(index, device, model=model)
    return source


def _of_index(index: Index) -> dict[str, Any]:
    return {"index_bytes": index.bytes, "index": index.manifest.provenance.model_dump(mode="json")}

"""`retrieval search`: one question, or a file of them."""

import textwrap
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from retrieval.beir_eval.runs import format_run, make_run
from retrieval.cli.console import print_json, say
from retrieval.cli.options import (
    DepthOption,
    DeviceOption,
    FusionOption,
    JsonOption,
    MovedOption,
    QueryVectorsOption,
    RouterOption,
    ThreadsOption,
    WeightOption,
    make_fusion,
    parse_filter,
)
from retrieval.cli.reranking import (
    BudgetOption,
    RerankDepthOption,
    RerankOption,
    RerankPrecisionOption,
    RerankWeightOption,
    make_reranking,
)
from retrieval.corpus import read_queries
from retrieval.files import is_unicode, write_whole
from retrieval.index_models import load_query_encoder, load_sparse_query_encoder
from retrieval.indexing import Index
from retrieval.pipeline import Retriever, fuses, usual_mode
from retrieval.routing.opening import open_router
from retrieval.types import Hit, Query, Route, TermSignal
from retrieval.vectors import StoredQueries, read_vectors

_SNIPPET = 200
# Tokens of a sparse score that are shown.
_TERMS = 12


class By(StrEnum):
    """What a hit is, in an index of passages."""

    PASSAGE = "passage"
    DOCUMENT = "document"


class RunFormat(StrEnum):
    """Forms of a batch's answers."""

    TREC = "trec"
    JSONL = "jsonl"


def search(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The index.")],
    query: Annotated[str | None, typer.Argument(metavar="QUERY", help="The question.")] = None,
    k: Annotated[int, typer.Option("-k", min=0, help="Hits per query.")] = 10,
    using: Annotated[
        str | None,
        typer.Option(help="lexical, sparse, dense, some as lexical+sparse, hybrid: all there are, or routed."),
    ] = None,
    fusion: FusionOption = None,
    weight: WeightOption = None,
    depth: DepthOption = None,
    by: Annotated[
        By, typer.Option(help="Of an index of passages: answer with passages, or with documents by their best one.")
    ] = By.PASSAGE,
    filter: Annotated[
        str | None, typer.Option(metavar="JSON", help='By metadata, as {"year": {"$gte": 2020}}.')
    ] = None,
    rerank: RerankOption = None,
    rerank_depth: RerankDepthOption = None,
    rerank_weight: RerankWeightOption = None,
    rerank_precision: RerankPrecisionOption = None,
    budget_ms: BudgetOption = None,
    router: RouterOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each stage said of a hit.")] = False,
    json: JsonOption = False,
    queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Answer every query of a JSONL, TSV or CSV file."),
    ] = None,
    format: Annotated[RunFormat, typer.Option(help="Form of the answers to --queries.")] = RunFormat.TREC,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the answers to --queries here.")] = None,
    tag: Annotated[str, typer.Option(help="The run's name in TREC form.")] = "retrieval",
    dense: MovedOption = None,
    sparse: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Where the sparse part's model is now, or which one made its vectors."),
    ] = None,
    query_vectors: QueryVectorsOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Answer QUERY, or each query of a file, from the index at DIR."""
    batch = queries is not None or query_vectors is not None
    if (query is None) != batch:
        raise typer.BadParameter("give either QUERY or --queries FILE")
    if out is not None and not batch:
        raise typer.BadParameter("--out goes with --queries FILE")
    if query is not None and not is_unicode(query):
        raise typer.BadParameter("QUERY is not text in UTF-8")
    if query_vectors is not None and sparse is not None:
        raise typer.BadParameter("--query-vectors and --sparse exclude each other")
    if query_vectors is not None and queries is None and using != "sparse":
        raise typer.BadParameter("--query-vectors without the texts of --queries FILE is for --using sparse")
    index = Index.open(directory)
    asked = _queries(queries, query_vectors) if batch else []
    chosen_by = open_router(router, device, model=dense) if router else None
    can_fuse = fuses(using or usual_mode(index), chosen_by.manifest if chosen_by else None)
    retriever = Retriever(
        index,
        encoder=load_query_encoder(index, device, model=dense) if dense else None,
        sparse_encoder=(
            StoredQueries.read(query_vectors, asked)
            if query_vectors
            else load_sparse_query_encoder(index, device, model=sparse)
            if sparse
            else None
        ),
        using=using,
        fusion=make_fusion(fusion, weight, depth, fuses=can_fuse),
        rerank=make_reranking(
            rerank,
            rerank_depth,
            budget_ms,
            device,
            rerank_precision,
            [query.text for query in asked],
            weight=rerank_weight,
        ),
        router=chosen_by,
        by_document=by is By.DOCUMENT,
        device=device,
        threads=threads,
    )
    if batch:
        _write(_answers(retriever, asked, k, parse_filter(filter), RunFormat.JSONL if json else format, tag), out)
        return
    hits = retriever.search(query or "", k, filter=parse_filter(filter), explain=explain)
    routes = retriever.routes([query or ""], filter=parse_filter(filter)) if explain else []
    if json:
        told = {"route": asdict(routes[0])} if routes else {}
        print_json({"query": query, "using": retriever.using, "k": k, **told, "hits": [asdict(hit) for hit in hits]})
        return
    for route in routes:
        _show_route(route)
    if not hits:
        say("no hits")
    for hit in hits:
        _show(hit, explain=explain)


def _queries(path: Path | None, vectors: Path | None) -> list[Query]:
    """The queries of a file; without one those that have a vector, by their ids."""
    if path is not None:
        return read_queries(path)
    assert vectors is not None
    return [Query(id=id_, text=id_) for id_, _ in read_vectors(vectors)]


def _answers(
    retriever: Retriever, queries: list[Query], k: int, filter: dict[str, Any] | None, format: RunFormat, tag: str
) -> str:
    hits = retriever.search_batch([query.text for query in queries], k, filter=filter)
    say(f"{len(queries)} queries, {int(hits.counts.sum())} hits")
    if format is RunFormat.TREC:
        return format_run(make_run(queries, hits, retriever.ids, k=k), tag)
    answers = (
        {"query_id": query.id, "query": query.text, "hits": [asdict(hit) for hit in retriever.resolve(hits, i)]}
        for i, query in enumerate(queries)
    )
    return "".join(orjson.dumps(answer).decode() + "\n" for answer in answers)


def _write(content: str, out: Path | None) -> None:
    if out is None:
        typer.echo(content, nl=False)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, content.encode())


def _show(hit: Hit, *, explain: bool) -> None:
    typer.echo(_printable(f"{hit.rank:>3}  {hit.score:<8.4f}  {hit.id}  {hit.title}").rstrip())
    if snippet := textwrap.shorten(_printable(hit.text), _SNIPPET, placeholder=" …"):
        typer.echo(textwrap.indent(textwrap.fill(snippet, 100), " " * 5))
    if explain:
        for stage, signal in hit.signals.items():
            typer.echo(f"     {stage}: rank {signal.rank}, score {signal.score:.4f}")
        for token, term in [*hit.terms.items()][:_TERMS]:
            typer.echo(_printable(f"       {token} {term.score:.4f}{_expansion(term)}"))
        if len(hit.terms) > _TERMS:
            rest = sum(term.score for term in [*hit.terms.values()][_TERMS:])
            typer.echo(f"       and {len(hit.terms) - _TERMS} more tokens {rest:.4f}")


def _show_route(route: Route) -> None:
    """Who answers, and why."""
    scores = ", ".join(f"{name} {score:.4f}" for name, score in route.scores.items())
    why = ", too little" if route.fallback else ""
    typer.echo(f"{route.choice} answers: {scores}; margin {route.margin:.4f}{why}")


def _expansion(term: TermSignal) -> str:
    """In which of the two a token does not stand, so that the model put it there."""
    sides = [name for name, stands in (("query", term.in_query), ("document", term.in_document)) if stands is False]
    return f" (expansion of the {' and the '.join(sides)})" if sides else ""


def _printable(text: str) -> str:
    """Control characters of a document must not reach the terminal, where they can do more than be seen."""
    return "".join(character if character.isprintable() else " " for character in text)

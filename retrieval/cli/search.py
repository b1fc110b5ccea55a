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
    FusionName,
    FusionOption,
    JsonOption,
    ThreadsOption,
    WeightOption,
    make_fusion,
    parse_filter,
)
from retrieval.corpus import read_queries
from retrieval.files import is_unicode, write_whole
from retrieval.indexing import Index
from retrieval.pipeline import Retriever, load_query_encoder
from retrieval.types import Hit

_SNIPPET = 200


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
    using: Annotated[str | None, typer.Option(help="lexical, dense or hybrid; the most that the index holds.")] = None,
    fusion: FusionOption = FusionName.MINMAX,
    weight: WeightOption = None,
    depth: DepthOption = 1000,
    by: Annotated[
        By, typer.Option(help="Of an index of passages: answer with passages, or with documents by their best one.")
    ] = By.PASSAGE,
    filter: Annotated[
        str | None, typer.Option(metavar="JSON", help='By metadata, as {"year": {"$gte": 2020}}.')
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each stage said of a hit.")] = False,
    json: JsonOption = False,
    queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Answer every query of a JSONL, TSV or CSV file."),
    ] = None,
    format: Annotated[RunFormat, typer.Option(help="Form of the answers to --queries.")] = RunFormat.TREC,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the answers to --queries here.")] = None,
    tag: Annotated[str, typer.Option(help="The run's name in TREC form.")] = "retrieval",
    dense: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Where the dense part's model is now, if it has moved.")
    ] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Answer QUERY, or each query of a file, from the index at DIR."""
    if (query is None) == (queries is None):
        raise typer.BadParameter("give either QUERY or --queries FILE")
    if out is not None and queries is None:
        raise typer.BadParameter("--out goes with --queries FILE")
    if query is not None and not is_unicode(query):
        raise typer.BadParameter("QUERY is not text in UTF-8")
    index = Index.open(directory)
    retriever = Retriever(
        index,
        encoder=load_query_encoder(index, device, model=dense) if dense else None,
        using=using,
        fusion=make_fusion(fusion, weight, depth),
        by_document=by is By.DOCUMENT,
        device=device,
        threads=threads,
    )
    if queries is not None:
        _write(_answers(retriever, queries, k, parse_filter(filter), RunFormat.JSONL if json else format, tag), out)
        return
    hits = retriever.search(query or "", k, filter=parse_filter(filter))
    if json:
        print_json({"query": query, "using": retriever.using, "k": k, "hits": [asdict(hit) for hit in hits]})
        return
    if not hits:
        say("no hits")
    for hit in hits:
        _show(hit, explain=explain)


def _answers(
    retriever: Retriever, path: Path, k: int, filter: dict[str, Any] | None, format: RunFormat, tag: str
) -> str:
    queries = read_queries(path)
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


def _printable(text: str) -> str:
    """Control characters of a document must not reach the terminal, where they can do more than be seen."""
    return "".join(character if character.isprintable() else " " for character in text)

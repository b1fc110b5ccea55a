"""`retrieval index`: build an index, change it, look at it, check it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.building import SHARD_DOCUMENTS
from retrieval.chunking import parse_chunking
from retrieval.cli.console import print_json, print_table, progress, say
from retrieval.cli.options import (
    DenseOption,
    DeviceOption,
    EngineName,
    EngineOption,
    IdFieldOption,
    ImpactsName,
    ImpactsOption,
    JsonOption,
    LanguageOption,
    OnErrorName,
    OnErrorOption,
    PresetOption,
    RestartOption,
    ShardOption,
    TextFieldOption,
    TitleFieldOption,
    make_columns,
    make_lexical,
    parse_filter,
)
from retrieval.corpus import ReadReport
from retrieval.errors import ArtifactDamagedError, CorpusError, InputError
from retrieval.formats import STDIN
from retrieval.index.artifact import problems_at
from retrieval.index.journal import Journal
from retrieval.index.manifest import LucenePart, Provenance, read_manifest
from retrieval.indexing import Index
from retrieval.pipeline import load_query_encoder

app = typer.Typer(help="Build an index, change it, look at it, check it.", no_args_is_help=True)

CorpusArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS...",
        help="BEIR folder, JSONL (also .gz, .zst), CSV, TSV, Parquet, a folder of text or Markdown, - for stdin.",
    ),
]
DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The index.")]


@app.command()
def build(
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the index goes: a new or empty folder.")],
    lexical: Annotated[bool, typer.Option(help="Build the lexical part.")] = True,
    dense: DenseOption = None,
    lexical_engine: EngineOption = EngineName.NATIVE,
    bm25: PresetOption = None,
    method: Annotated[str | None, typer.Option(help="lucene, robertson, atire, bm25l or bm25+.")] = None,
    k1: Annotated[float | None, typer.Option(help="BM25's k1.")] = None,
    b: Annotated[float | None, typer.Option("--b", help="BM25's b.")] = None,
    delta: Annotated[float | None, typer.Option(help="BM25L's and BM25+'s delta.")] = None,
    language: LanguageOption = "english",
    tokenizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="words, bigrams, or one that an installed package offers.")
    ] = None,
    stopwords: Annotated[bool, typer.Option(help="Leave out the language's stop words.")] = True,
    stem: Annotated[bool, typer.Option(help="Stem words.")] = True,
    impacts: ImpactsOption = ImpactsName.EXACT,
    reorder: Annotated[
        bool, typer.Option("--reorder", help="Put similar documents side by side; changes no hit.")
    ] = False,
    chunk: Annotated[
        str | None,
        typer.Option(
            metavar="KIND[:SIZE[:OVERLAP]]", help="Index passages: words:200:40, sentences:5:1, headings:400."
        ),
    ] = None,
    titles: Annotated[bool, typer.Option(help="Put titles and headings in front of passages.")] = True,
    store_text: Annotated[bool, typer.Option(help="Keep the texts, so that hits bring them.")] = True,
    id_field: IdFieldOption = None,
    title_field: TitleFieldOption = None,
    text_field: TextFieldOption = None,
    on_error: OnErrorOption = OnErrorName.STOP,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the index at DIR.")] = False,
    restart: RestartOption = False,
    shard_documents: ShardOption = SHARD_DOCUMENTS,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Build an index of CORPUS at DIR; interrupted, the same command goes on where it was."""
    options = make_lexical(
        bm25,
        language,
        engine=lexical_engine,
        method=method,
        k1=k1,
        b=b,
        delta=delta,
        tokenizer=tokenizer,
        stopwords=stopwords,
        stem=stem,
        impacts=impacts,
        reorder=reorder,
    )
    report = ReadReport()
    with _resumable(), progress() as show:
        index = Index.build(
            corpus,
            out,
            lexical=options if lexical else False,
            dense=dense,
            device=device,
            overwrite=overwrite,
            restart=restart,
            store_text=store_text,
            chunking=parse_chunking(chunk, titles=titles) if chunk else None,
            columns=make_columns(id_field, title_field, text_field),
            shard_documents=shard_documents,
            on_error=on_error.value,
            report=report,
            progress=show,
        )
    _tell(index, report, json=json)


@app.command()
def add(
    directory: DirectoryArgument,
    corpus: CorpusArgument,
    replace: Annotated[
        bool, typer.Option("--replace", help="Documents whose ids are there take the place of the old ones.")
    ] = False,
    id_field: IdFieldOption = None,
    title_field: TitleFieldOption = None,
    text_field: TextFieldOption = None,
    on_error: OnErrorOption = OnErrorName.STOP,
    restart: RestartOption = False,
    shard_documents: ShardOption = SHARD_DOCUMENTS,
    dense: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Where the dense part's model is now, if it has moved.")
    ] = None,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Add the documents of CORPUS to the index at DIR, treated as those that are there."""
    report = ReadReport()
    before = Index.open(directory)
    with _resumable(), progress() as show:
        index = before.add(
            corpus,
            replace=replace,
            encoder=load_query_encoder(before, device, model=dense) if dense else None,
            device=device,
            restart=restart,
            columns=make_columns(id_field, title_field, text_field),
            shard_documents=shard_documents,
            on_error=on_error.value,
            report=report,
            progress=show,
        )
    _tell(index, report, json=json)


@app.command()
def delete(
    directory: DirectoryArgument,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Documents to delete.")] = None,
    ids_from: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with one id on each line; - for stdin.")
    ] = None,
    filter: Annotated[
        str | None, typer.Option(metavar="JSON", help='All that this allows, as {"year": {"$lt": 2000}}.')
    ] = None,
    missing_ok: Annotated[bool, typer.Option("--missing-ok", help="Pass over ids that are not there.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete documents from the index at DIR, by id or by a filter over their metadata."""
    named = [*(ids or []), *(_lines(ids_from) if ids_from else [])]
    if not named and filter is None and ids_from is None:
        raise InputError("nothing to delete: name ids, --ids-from FILE or --filter JSON")
    before = Index.open(directory)
    index = before.delete(named, filter=parse_filter(filter), missing_ok=missing_ok)
    _tell(index, None, json=json)


@app.command()
def compact(directory: DirectoryArgument, json: JsonOption = False) -> None:
    """Make one segment of all, without what deleted documents left; no search changes."""
    _tell(Index.open(directory).compact(), None, json=json)


@contextmanager
def _resumable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        raise


def _lines(path: Path) -> list[str]:
    """The lines of a file, without empty ones."""
    try:
        text = sys.stdin.read() if str(path) == STDIN else path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(str(path), None, f"not UTF-8 ({error})") from error
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]


def _tell(index: Index, report: ReadReport | None, *, json: bool) -> None:
    """Say what there is now, and what was passed over."""
    if report and report.skipped:
        say(f"skipped {report.skipped} of {report.skipped + report.read} records, among them:")
        for example in report.examples:
            say(f"  {example}")
    say(f"{index.path}: {len(index):,} {_unit(index)}, {' and '.join(index.parts)}, {_megabytes(index.bytes)}")
    if json:
        print_json({**_summary(index), **({"skipped": report.skipped} if report else {})})


def _unit(index: Index) -> str:
    return "passages" if index.manifest.chunking else "documents"


@app.command()
def info(directory: DirectoryArgument, json: JsonOption = False) -> None:
    """Show what an index holds and how it was made."""
    index = Index.open(directory)
    if json:
        print_json(_summary(index))
        return
    manifest = index.manifest
    rows = [
        [_unit(index), f"{len(index):,}"],
        ["segments", _segments(index)],
        ["size", f"{_megabytes(index.bytes)} ({', '.join(_sizes(index))})"],
        ["texts", "kept" if manifest.stores_text else "not kept"],
        *([["passages", _settings(manifest.chunking)]] if manifest.chunking else []),
        *_lexical_rows(index),
        *_dense_rows(index),
        ["fingerprint", manifest.fingerprint],
        ["corpus", ", ".join(manifest.provenance.corpus)],
        ["built", _origin(manifest.provenance)],
        *([["changed", _origin(manifest.changed)]] if manifest.changed else []),
        *_unfinished_rows(index),
    ]
    print_table(["", str(directory)], rows, figures=False)


def _segments(index: Index) -> str:
    sizes = ", ".join(f"{segment.rows:,}" for segment in index.manifest.segments)
    deleted = index.manifest.deleted
    gone = f"; {deleted:,} deleted" if deleted else ""
    return f"{len(index.manifest.segments)} ({sizes}{gone})" if sizes else "0"


def _sizes(index: Index) -> Iterator[str]:
    """The size of each part."""
    sizes = {"documents": 0, "lexical": 0, "dense": 0}
    for name, entry in index.manifest.files.items():
        part = "lexical" if "/lexical/" in name or "/lucene/" in name else "dense" if "/vector" in name else "documents"
        sizes[part] += entry.bytes
    return (f"{part} {_megabytes(size)}" for part, size in sizes.items() if size)


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _origin(origin: Provenance) -> str:
    return f"{origin.created}, version {origin.versions.get('retrieval-engine', 'unknown')}: {' '.join(origin.command)}"


def _lexical_rows(index: Index) -> Iterator[list[str]]:
    part = index.manifest.lexical
    if part is None or index.lexical is None:
        return
    terms = ["terms", f"{index.lexical.n_terms:,} ({index.lexical.n_postings:,} postings)"]
    if isinstance(part, LucenePart):
        yield ["lexical", f"Lucene {part.version}, k1 {part.k1:g}, b {part.b:g}"]
        yield terms
        yield ["analyzer", part.analyzer]
    else:
        bm25, analyzer = part.bm25, part.analyzer
        yield ["lexical", f"{bm25.method}, k1 {bm25.k1:g}, b {bm25.b:g}"]
        if part.impacts != "exact":
            yield ["impacts", f"{part.impacts}, in steps of {part.scale:.3g}"]
        if part.reorder:
            yield ["order", "similar documents side by side"]
        yield terms
        yield ["analyzer", f"{analyzer.tokenizer}, {len(analyzer.stopwords)} stop words, stemmer {analyzer.stemmer}"]


def _dense_rows(index: Index) -> Iterator[list[str]]:
    if dense := index.manifest.dense:
        yield ["dense", f"{dense.encoder.model}, {dense.similarity}"]
        yield ["vectors", f"{dense.vectors:,} × {dense.dimensions}"]
        yield ["weights", str(dense.encoder.weights)]


@app.command()
def verify(directory: DirectoryArgument, json: JsonOption = False) -> None:
    """Read every file of an index: its checksum, and whether its parts are sound and fit together."""
    problems = problems_at(directory)
    files = len(read_manifest(directory).files)
    if json:
        print_json({"path": str(directory), "files": files, "problems": problems})
    for problem in problems:
        say(problem)
    if problems:
        raise ArtifactDamagedError(
            f"{directory} is not as it was written: {len(problems)} problem{'s' if len(problems) > 1 else ''}",
            hint="restore the index from a copy, or build it again",
        )
    say(f"{directory}: {files} files as they were written, and sound")


def _unfinished_rows(index: Index) -> Iterator[list[str]]:
    journal = Journal.read(index.path)
    if journal and journal.work != index.manifest.work:
        yield ["unfinished", f"{journal.settings['job']} of {journal.rows:,} {_unit(index)} so far"]


def _summary(index: Index) -> dict[str, Any]:
    content = index.manifest.model_dump(mode="json", exclude={"files"})
    return {"path": str(index.path), "bytes": index.bytes, **content}


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"

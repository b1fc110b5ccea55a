"""`retrieval index`: build an index, change it, look at it, check it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.building import SHARD_DOCUMENTS
from retrieval.chunking import parse_chunking
from retrieval.cli.console import progress, say
from retrieval.cli.encode import vectors
from retrieval.cli.info import DirectoryArgument, info, tell, verify
from retrieval.cli.options import (
    BatchTokensOption,
    DenseIndexOption,
    DenseOption,
    DeviceOption,
    DimensionsOption,
    DocumentTopOption,
    EngineName,
    EngineOption,
    IdFieldOption,
    ImpactsName,
    ImpactsOption,
    JsonOption,
    LanguageOption,
    MemoryOption,
    MovedOption,
    OnErrorName,
    OnErrorOption,
    PrecisionOption,
    PresetOption,
    QueryTopOption,
    RecallAtOption,
    RecallOption,
    RestartOption,
    RuntimeOption,
    ShardOption,
    SparseEngineName,
    SparseEngineOption,
    SparseImpactsOption,
    SparseOption,
    SparseVectorsOption,
    TextFieldOption,
    TitleFieldOption,
    encoding_options,
    make_columns,
    make_dense,
    make_lexical,
    parse_filter,
    sparse_source,
)
from retrieval.corpus import ReadReport
from retrieval.encoders.dense import load_encoder
from retrieval.encoders.sparse import load_sparse_encoder
from retrieval.errors import CorpusError, InputError
from retrieval.formats import STDIN
from retrieval.index.dense.options import FLAT
from retrieval.index.sparse.options import SparseOptions
from retrieval.index_models import load_document_encoder
from retrieval.indexing import Index
from retrieval.protocols import Encoder, SparseEncoder
from retrieval.vectors import VectorFile

app = typer.Typer(help="Build an index, change it, look at it, check it.", no_args_is_help=True)
app.command()(info)
app.command()(verify)
app.command()(vectors)

CorpusArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS...",
        help="BEIR folder, JSONL (also .gz, .zst), CSV, TSV, Parquet, a folder of text or Markdown, - for stdin.",
    ),
]


@app.command()
def build(
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the index goes: a new or empty folder.")],
    lexical: Annotated[bool, typer.Option(help="Build the lexical part.")] = True,
    dense: DenseOption = None,
    dense_index: DenseIndexOption = FLAT,
    memory: MemoryOption = None,
    sparse: SparseOption = None,
    sparse_vectors: SparseVectorsOption = None,
    query_top: QueryTopOption = None,
    document_top: DocumentTopOption = None,
    sparse_impacts: SparseImpactsOption = ImpactsName.EXACT,
    sparse_engine: SparseEngineOption = SparseEngineName.NATIVE,
    recall: RecallOption = None,
    recall_at: RecallAtOption = 10,
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
    precision: PrecisionOption = None,
    runtime: RuntimeOption = None,
    dimensions: DimensionsOption = None,
    batch_tokens: BatchTokensOption = None,
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
    dense_options = make_dense(dense_index, recall, recall_at, memory)
    if recall is not None and not (sparse or sparse_vectors or dense_options):
        raise InputError(
            "--recall is for approximate search: of a sparse part, or of a dense one by an index",
            hint="add --dense-index auto",
        )
    if dense_options and not dense:
        raise InputError("--dense-index and --memory are for a dense part", hint="name an encoder: --dense minilm")
    report = ReadReport()
    encoding = encoding_options(device, precision, runtime, batch_tokens)
    with _resumable(), progress() as show:
        index = Index.build(
            corpus,
            out,
            lexical=options if lexical else False,
            dense=_dense_encoder(dense, encoding | {"dimensions": dimensions}),
            dense_options=dense_options,
            sparse=_built_source(sparse, sparse_vectors, query_top, document_top, encoding),
            sparse_options=SparseOptions(
                impacts=sparse_impacts.value, engine=sparse_engine.value, recall=recall, recall_at=recall_at
            ),
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
    tell(index, report, json=json)


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
    dense: MovedOption = None,
    sparse: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Where the sparse part's model is now, if it has moved.")
    ] = None,
    sparse_vectors: SparseVectorsOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    runtime: RuntimeOption = None,
    batch_tokens: BatchTokensOption = None,
    json: JsonOption = False,
) -> None:
    """Add the documents of CORPUS to the index at DIR, treated as those that are there."""
    report = ReadReport()
    before = Index.open(directory)
    encoding = encoding_options(device, precision, runtime, batch_tokens)
    with _resumable(), progress() as show:
        index = before.add(
            corpus,
            replace=replace,
            encoder=_added_encoder(before, dense, encoding),
            sparse=_added_source(before, sparse, sparse_vectors, encoding),
            device=device,
            restart=restart,
            columns=make_columns(id_field, title_field, text_field),
            shard_documents=shard_documents,
            on_error=on_error.value,
            report=report,
            progress=show,
        )
    tell(index, report, json=json)


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
    tell(index, None, json=json)


@app.command()
def compact(directory: DirectoryArgument, json: JsonOption = False) -> None:
    """Make one segment of all, without what deleted documents left; no search changes."""
    tell(Index.open(directory).compact(), None, json=json)


@app.command("query-encoder")
def query_encoder(
    directory: DirectoryArgument,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="As ADORE trains one; without it, back to the documents'.")
    ] = None,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Encode queries by another model from now on, whose documents' vectors are those of the index at DIR."""
    tell(Index.open(directory).set_query_encoder(model, device=device), None, json=json)


def _dense_encoder(model: str | None, encoding: dict[str, Any]) -> str | Encoder | None:
    """What makes the dense vectors; with nothing said of how, a name, which is loaded when its place is known free."""
    return load_encoder(model, **encoding) if model and _is_said(encoding) else model


def _added_encoder(index: Index, model: str | None, encoding: dict[str, Any]) -> Encoder | None:
    """What makes the dense vectors of new documents; None for how the index was built."""
    wanted = model or (index.manifest.dense and _is_said(encoding))
    return load_document_encoder(index, model=model, **encoding) if wanted else None


def _is_said(encoding: dict[str, Any]) -> bool:
    """Whether more is said of how a model is run than where."""
    return any(value is not None for name, value in encoding.items() if name != "device")


def _built_source(
    model: str | None,
    file: Path | None,
    query_top: int | None,
    document_top: int | None,
    encoding: dict[str, Any],
) -> SparseEncoder | VectorFile | None:
    """What gives the documents their sparse vectors; None for no sparse part."""
    source = sparse_source(model, file)
    if isinstance(source, str):
        return load_sparse_encoder(source, query_top=query_top, document_top=document_top, **encoding)
    if query_top or document_top:
        raise InputError("--query-top and --document-top are for --sparse MODEL")
    return source


def _added_source(
    index: Index, model: str | None, vectors: Path | None, encoding: dict[str, Any]
) -> SparseEncoder | VectorFile | None:
    """What gives new documents their sparse vectors."""
    if (model or vectors) and index.manifest.sparse is None:
        raise InputError(f"{index.path} has no sparse part", hint="leave out --sparse and --sparse-vectors")
    source = sparse_source(model, vectors)
    part = index.manifest.sparse
    if source is None and not _is_said(encoding):
        return None
    if isinstance(source, VectorFile) or part is None or (source is None and part.encoder is None):
        return source if isinstance(source, VectorFile) else None
    name = source or (part.encoder.model if part.encoder else "")
    return load_sparse_encoder(name, expected=part.encoder, **encoding)


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

"""`retrieval index`: build an index, look at it, check it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.chunking import parse_chunking
from retrieval.cli.console import print_json, print_table, progress, say
from retrieval.cli.options import (
    DenseOption,
    DeviceOption,
    JsonOption,
    LanguageOption,
    OnErrorName,
    PresetOption,
    make_lexical,
)
from retrieval.corpus import Columns, ReadReport
from retrieval.errors import ArtifactDamagedError
from retrieval.indexing import Index

app = typer.Typer(help="Build an index, look at it, check it.", no_args_is_help=True)


@app.command()
def build(
    corpus: Annotated[
        list[str],
        typer.Argument(
            metavar="CORPUS...",
            help="BEIR folder, JSONL (also .gz, .zst), CSV, TSV, Parquet, a folder of text or Markdown, - for stdin.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the index goes: a new or empty folder.")],
    lexical: Annotated[bool, typer.Option(help="Build the lexical part.")] = True,
    dense: DenseOption = None,
    bm25: PresetOption = "bm25s",
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
    chunk: Annotated[
        str | None,
        typer.Option(
            metavar="KIND[:SIZE[:OVERLAP]]", help="Index passages: words:200:40, sentences:5:1, headings:400."
        ),
    ] = None,
    titles: Annotated[bool, typer.Option(help="Put titles and headings in front of passages.")] = True,
    id_field: Annotated[str | None, typer.Option(metavar="FIELD", help="Field that holds the id.")] = None,
    title_field: Annotated[str | None, typer.Option(metavar="FIELD", help="Field that holds the title.")] = None,
    text_field: Annotated[str | None, typer.Option(metavar="FIELD", help="Field that holds the text.")] = None,
    on_error: Annotated[OnErrorName, typer.Option(help="What to do with a record that cannot be read.")] = (
        OnErrorName.STOP
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the index at DIR.")] = False,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Build an index of CORPUS at DIR."""
    options = make_lexical(
        bm25, language, method=method, k1=k1, b=b, delta=delta, tokenizer=tokenizer, stopwords=stopwords, stem=stem
    )
    given = {"id": id_field, "title": title_field, "text": text_field}
    report = ReadReport()
    with progress() as show:
        index = Index.build(
            corpus,
            out,
            lexical=options if lexical else False,
            dense=dense,
            device=device,
            overwrite=overwrite,
            chunking=parse_chunking(chunk, titles=titles) if chunk else None,
            columns=Columns(**{name: (field,) for name, field in given.items() if field}),
            on_error=on_error.value,
            report=report,
            progress=show,
        )
    if report.skipped:
        say(f"skipped {report.skipped} of {report.skipped + report.read} records, among them:")
        for example in report.examples:
            say(f"  {example}")
    unit = "passages" if chunk else "documents"
    say(f"{out}: {len(index)} {unit}, {' and '.join(index.parts)}, {_megabytes(index.bytes)}")
    if json:
        print_json({**_summary(index), "skipped": report.skipped})


@app.command()
def info(directory: Annotated[Path, typer.Argument(metavar="DIR")], json: JsonOption = False) -> None:
    """Show what an index holds and how it was made."""
    index = Index.open(directory)
    if json:
        print_json(_summary(index))
        return
    lexical, dense, origin = index.manifest.lexical, index.manifest.dense, index.manifest.provenance
    unit = "passages" if index.manifest.chunking else "documents"
    rows = [[unit, f"{len(index):,}"], ["size", _megabytes(index.bytes)], ["built", origin.created]]
    if lexical and index.lexical:
        bm25, analyzer = lexical.bm25, lexical.analyzer
        rows += [
            ["lexical", f"{bm25.method}, k1 {bm25.k1:g}, b {bm25.b:g}"],
            ["terms", f"{index.lexical.n_terms:,} ({index.lexical.n_postings:,} postings)"],
            ["analyzer", f"{analyzer.tokenizer}, {len(analyzer.stopwords)} stop words, stemmer {analyzer.stemmer}"],
        ]
    if dense:
        rows += [
            ["dense", f"{dense.encoder.model}, {dense.similarity}"],
            ["vectors", f"{dense.vectors:,} × {dense.dimensions}"],
            ["weights", str(dense.encoder.weights)],
        ]
    rows += [["fingerprint", index.manifest.fingerprint], ["corpus", ", ".join(origin.corpus)]]
    print_table(["", str(directory)], rows, figures=False)


@app.command()
def verify(directory: Annotated[Path, typer.Argument(metavar="DIR")], json: JsonOption = False) -> None:
    """Read every file of an index: its checksum, and whether its parts are sound and fit together."""
    index = Index.open(directory)
    problems = index.problems()
    if json:
        print_json({"path": str(directory), "files": len(index.manifest.files), "problems": problems})
    for problem in problems:
        say(problem)
    if problems:
        raise ArtifactDamagedError(
            f"{directory} is not as it was written: {len(problems)} problem{'s' if len(problems) > 1 else ''}",
            hint="restore the index from a copy, or build it again",
        )
    say(f"{directory}: {len(index.manifest.files)} files as they were written, and sound")


def _summary(index: Index) -> dict[str, Any]:
    content = index.manifest.model_dump(mode="json", exclude={"files"})
    return {"path": str(index.path), "bytes": index.bytes, **content}


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"

"""What an index holds and how it was made, and whether it is as it was written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.cli.console import print_json, print_table, say
from retrieval.cli.options import JsonOption
from retrieval.corpus import ReadReport
from retrieval.errors import ArtifactDamagedError
from retrieval.index.artifact import problems_at
from retrieval.index.journal import Journal
from retrieval.index.manifest import LucenePart, Provenance, read_manifest
from retrieval.indexing import Index
from retrieval.types import EncoderCard

__all__ = ["DirectoryArgument", "info", "tell", "verify"]

DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The index.")]


def tell(index: Index, report: ReadReport | None, *, json: bool) -> None:
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
        *_sparse_rows(index),
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
    places = {
        "/lexical/": "lexical",
        "/lucene/": "lexical",
        "/sparse/": "sparse",
        "/vector": "dense",
        "/dense": "dense",
    }
    sizes = dict.fromkeys(("documents", *places.values()), 0)
    for name, entry in index.manifest.files.items():
        sizes[next((part for place, part in places.items() if place in name), "documents")] += entry.bytes
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


def _sparse_rows(index: Index) -> Iterator[list[str]]:
    part = index.manifest.sparse
    if part is None or index.sparse is None:
        return
    yield ["sparse", part.encoder.model if part.encoder else "vectors computed elsewhere"]
    n_vectors = max(part.vectors, 1)
    yield ["sparse vectors", f"{part.vectors:,}, of {index.sparse.n_postings / n_vectors:.1f} weights on average"]
    yield ["tokens", f"{index.sparse.n_terms:,} ({index.sparse.n_postings:,} postings)"]
    if part.stored != "exact":
        lossless = " without loss" if part.impacts == "exact" else ""
        yield ["sparse impacts", f"{part.stored}{lossless}, in steps of {part.scale:.3g}"]
    if part.tuned:
        asked = f"{part.engine}, recall {part.recall:g} of the best {part.recall_at} asked for"
        settings = _settings({name: f"{value:g}" for name, value in part.tuned.parameters.items()})
        yield ["approximate", f"{asked}, {part.tuned.recall:.4f} on queries made of documents ({settings})"]
    if part.encoder:
        yield from _encoder_rows("sparse ", part.encoder)


def _dense_rows(index: Index) -> Iterator[list[str]]:
    if dense := index.manifest.dense:
        yield ["dense", f"{dense.encoder.model}, {dense.similarity}"]
        yield ["vectors", f"{dense.vectors:,} × {dense.dimensions}"]
        for name, entry in dense.segments.items():
            efforts = ", ".join(f"{effort.recall:.4f} of the best {effort.depth}" for effort in entry.efforts)
            yield [f"index of {name}", f"{entry.kind} ({entry.factory}), recall {efforts} on held-out vectors"]
        if dense.query_encoder:
            yield ["query encoder", dense.query_encoder.model]
        yield from _encoder_rows("", dense.encoder)


def _encoder_rows(kind: str, card: EncoderCard) -> Iterator[list[str]]:
    """What decides the vectors of a model, and how those of documents were made."""
    yield [f"{kind}weights", str(card.weights)]
    quantised = f", {card.quantised}" if card.quantised else ""
    yield [f"{kind}precision", f"{card.precision}, by {card.runtime}{quantised}"]
    for side, prompt in card.prompts.items():
        if prompt:
            yield [f"{kind}prompt, {side}", repr(prompt)]


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

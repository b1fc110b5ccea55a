"""`retrieval encode` and `retrieval index vectors`: sparse vectors go out as JSONL."""

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.console import progress, say
from retrieval.cli.info import DirectoryArgument
from retrieval.cli.options import (
    BatchTokensOption,
    DeviceOption,
    DocumentTopOption,
    PrecisionOption,
    QueryTopOption,
    RuntimeOption,
    encoding_options,
)
from retrieval.corpus import read_documents, read_queries
from retrieval.encoders.sparse import load_sparse_encoder
from retrieval.encoding import spread
from retrieval.errors import ArtifactMissingError
from retrieval.files import write_stream
from retrieval.indexing import Index
from retrieval.protocols import Progress, SparseEncoder
from retrieval.streams import windows
from retrieval.types import Document, Query
from retrieval.vectors import format_vectors

OutOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where the lines go, as one step; to stdout without it.")
]

# Texts that are encoded before their lines are written: within them they are sorted by length.
_BLOCK = 1024
_BLOCK_CHARACTERS = 1 << 22


class Side(StrEnum):
    """What the texts are."""

    DOCUMENT = "document"
    QUERY = "query"


def encode(
    source: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="A corpus, or a file of queries."),
    ],
    sparse: Annotated[str, typer.Option(metavar="MODEL", help="A Hugging Face id or a local folder.")],
    side: Annotated[Side, typer.Option("--as", help="What the texts are.")] = Side.DOCUMENT,
    out: OutOption = None,
    query_top: QueryTopOption = None,
    document_top: DocumentTopOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    runtime: RuntimeOption = None,
    batch_tokens: BatchTokensOption = None,
) -> None:
    """Write the sparse vectors of texts: a line of {"id", "vector": {token: weight}} for each."""
    encoding = encoding_options(device, precision, runtime, batch_tokens)
    encoder = load_sparse_encoder(sparse, query_top=query_top, document_top=document_top, **encoding)
    texts: Iterable[Document | Query] = (
        read_documents(source) if side is Side.DOCUMENT else [query for path in source for query in read_queries(path)]
    )
    with progress() as show:
        _write(_encoded(encoder, texts, side, show), out)


def _encoded(encoder: SparseEncoder, items: Iterable[Document | Query], side: Side, show: Progress) -> Iterator[bytes]:
    done = 0
    for block in windows(items, _length, _BLOCK, _BLOCK_CHARACTERS):
        contents = [one.contents if isinstance(one, Document) else one.text.strip() for one in block]
        filled = [place for place, text in enumerate(contents) if text]
        texts = [contents[place] for place in filled]
        found = (
            encoder.encode_queries(texts) if side is Side.QUERY else encoder.encode_documents(texts, lambda more: None)
        )
        # What is empty has no tokens, whatever a model makes of it.
        yield from format_vectors([one.id for one in block], spread(found, filled, len(block)))
        done += len(block)
        show("encode", done, None)


def _length(one: Document | Query) -> int:
    return len(one.text)


def vectors(directory: DirectoryArgument, out: OutOption = None) -> None:
    """Write the sparse vectors of an index' documents, as they are stored: a line for each."""
    index = Index.open(directory)
    if index.sparse is None:
        raise ArtifactMissingError(f"{directory} has no sparse part", hint="build it with one: --sparse MODEL")
    _write(_stored(index), out)


def _stored(index: Index) -> Iterator[bytes]:
    assert index.sparse
    live = index.documents.live
    for ordinals, found in index.sparse.vectors():
        lines = format_vectors(index.documents.ids(ordinals), found)
        yield from (line for ordinal, line in zip(ordinals, lines, strict=True) if live is None or live[ordinal])


def _write(lines: Iterator[bytes], out: Path | None) -> None:
    if out is None:
        for line in lines:
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    say(f"{out}: {write_stream(out, lines):,} vectors")

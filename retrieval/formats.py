"""File formats of corpora and queries: each a stream of raw records with their place in the file."""

import csv
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import orjson

from retrieval.errors import CorpusError
from retrieval.files import is_unicode

__all__ = ["STDIN", "TEXT_SUFFIXES", "Record", "records_of"]

STDIN = "-"
TEXT_SUFFIXES = (".txt", ".md", ".markdown")
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}

# A field of a CSV file can be a whole book; the module's own limit is 128 KiB.
_LARGEST_FIELD = 1 << 30


class Record(NamedTuple):
    """One record before it is checked: its source, its line or row from 1, and its fields or what is wrong with it."""

    source: str
    position: int | None
    fields: dict[str, Any] | str


def records_of(source: str) -> Iterator[Record]:
    """The records of one file, folder or of standard input (`-`), read as a stream."""
    if not source:
        raise CorpusError("corpus", None, "an empty name of a file", hint="is a shell variable unset?")
    if source == STDIN:
        return _jsonl(sys.stdin.buffer, "standard input")
    path = Path(source)
    if not path.exists():
        raise CorpusError(source, None, "no such file or folder")
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".parquet":
        return _parquet(path)
    return _lines(path)


def _lines(path: Path) -> Iterator[Record]:
    compression = _COMPRESSIONS.get(path.suffix)
    name = Path(path.stem) if compression else path
    if name.suffix in TEXT_SUFFIXES and not compression:
        yield _text_file(path, path.name)
        return
    if name.suffix not in _LINE_FORMATS:
        known = ", ".join((*_LINE_FORMATS, ".parquet", *TEXT_SUFFIXES))
        hint = f"known: {known}; .gz and .zst around those of lines"
        raise CorpusError(str(path), None, f"unknown kind of file {name.suffix or name.name!r}", hint=hint)
    with _open(path, compression) as stream:
        try:
            yield from _LINE_FORMATS[name.suffix](stream, str(path))
        except (OSError, EOFError) as error:
            raise CorpusError(str(path), None, f"cannot be read to its end ({error})") from error


def _open(path: Path, compression: str | None) -> BinaryIO:
    if compression is None:
        return path.open("rb")
    import pyarrow as pa

    return io.BufferedReader(cast(io.RawIOBase, pa.input_stream(str(path), compression=compression)))


def _jsonl(stream: BinaryIO, source: str) -> Iterator[Record]:
    for position, line in enumerate(stream, 1):
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError:
            # An empty line, a line with a byte order mark, or not JSON.
            line = line.removeprefix(b"\xef\xbb\xbf").strip()
            if line:
                yield Record(source, position, _parse_json(line))
            continue
        yield Record(source, position, fields if isinstance(fields, dict) else _not_an_object(fields))


def _parse_json(line: bytes) -> dict[str, Any] | str:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"not JSON ({error})"
    return fields if isinstance(fields, dict) else _not_an_object(fields)


def _not_an_object(value: object) -> str:
    return f"a JSON {type(value).__name__}, expected an object"


def _csv(stream: BinaryIO, source: str) -> Iterator[Record]:
    return _delimited(stream, source, ",", quoting=csv.QUOTE_MINIMAL)


def _tsv(stream: BinaryIO, source: str) -> Iterator[Record]:
    # In TSV a quotation mark is a character like any other, as in MS MARCO's files.
    return _delimited(stream, source, "\t", quoting=csv.QUOTE_NONE)


def _delimited(stream: BinaryIO, source: str, delimiter: str, quoting: Any) -> Iterator[Record]:
    csv.field_size_limit(_LARGEST_FIELD)
    # Bytes that are not UTF-8 pass the decoder, so that they are reported with the row they stand in.
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield from _rows(csv.reader(text, delimiter=delimiter, quoting=quoting, strict=True), source)


def _rows(rows: Any, source: str) -> Iterator[Record]:
    header: list[str] = []
    while (row := _next_row(rows)) is not None:
        position = rows.line_num
        if isinstance(row, str):
            if not header:
                raise CorpusError(source, position, row)
            yield Record(source, position, row)
        elif not header:
            header = row
            if len(set(header)) < len(header):
                raise CorpusError(source, position, f"names a column twice: {', '.join(header)}")
        elif row and len(row) != len(header):
            yield Record(source, position, f"has {len(row)} columns, the first line names {len(header)}")
        elif row:
            yield Record(source, position, dict(zip(header, row, strict=True)))


def _next_row(rows: Any) -> list[str] | str | None:
    """The next row, what is wrong with it, or None after the last."""
    try:
        row: list[str] | None = next(rows, None)
    except csv.Error as error:
        return f"not a row ({error})"
    return row if row is None or is_unicode("".join(row)) else "not UTF-8"


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            position = 0
            for batch in file.iter_batches(batch_size=1024):
                for fields in batch.to_pylist():
                    position += 1
                    yield Record(str(path), position, fields)
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(str(path), None, f"not a readable Parquet file ({error})") from error


def _folder(folder: Path) -> Iterator[Record]:
    """BEIR's corpus.jsonl if it is there; else each text or Markdown file that is not hidden, its path the id."""
    for name in ("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst"):
        if (folder / name).is_file():
            yield from _lines(folder / name)
            return
    files = sorted(path for path in folder.rglob("*") if _is_text(path.relative_to(folder)) and path.is_file())
    if not files:
        wanted = ", ".join(("corpus.jsonl", *(f"*{suffix}" for suffix in TEXT_SUFFIXES)))
        raise CorpusError(str(folder), None, "no documents here", hint=f"expected one of: {wanted}")
    for path in files:
        yield _text_file(path, path.relative_to(folder).as_posix())


def _is_text(name: Path) -> bool:
    """By its suffix; what is hidden, as .git is, is nobody's text."""
    return name.suffix.lower() in TEXT_SUFFIXES and not any(part.startswith(".") for part in name.parts)


def _text_file(path: Path, name: str) -> Record:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        return Record(str(path), None, f"not UTF-8 ({error})")
    fields = {"_id": name, "text": text}
    first = text.lstrip().partition("\n")[0]
    if path.suffix.lower() != ".txt" and first.startswith("# "):
        # The text keeps its heading, so that what is said of its characters is true of the file.
        fields["title"] = first.removeprefix("# ").strip()
    return Record(str(path), None, fields)


_LINE_FORMATS: dict[str, Callable[[BinaryIO, str], Iterator[Record]]] = {
    ".jsonl": _jsonl,
    ".json": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
    ".tsv": _tsv,
}

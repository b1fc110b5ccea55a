"""Reads documents and queries as a stream, and says exactly what is wrong with the one that cannot be read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from retrieval.errors import CorpusError, InputError
from retrieval.files import is_unicode
from retrieval.formats import STDIN, TEXT_SUFFIXES, Record, records_of
from retrieval.streams import SeenIds, windows
from retrieval.types import Document, Query

__all__ = ["Columns", "OnError", "ReadReport", "read_documents", "read_queries"]

OnError = Literal["stop", "skip"]

_EXAMPLES = 5

# Ids are looked for among earlier ones this many documents at a time.
_WINDOW = 4096
_WINDOW_CHARACTERS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the fields that hold id, title and text; the first of each that a record has is taken."""

    id: Sequence[str] = ("_id", "id")
    title: Sequence[str] = ("title",)
    text: Sequence[str] = ("text", "contents")


_DEFAULT = Columns()

_QUERY_COLUMNS = Columns(id=("_id", "id", "qid", "query_id"), text=("text", "query", "contents"))


@dataclass
class ReadReport:
    """What was read, and what was passed over under `on_error="skip"`: how many, and the first few reasons."""

    read: int = 0
    skipped: int = 0
    examples: list[str] = field(default_factory=list)


def read_documents(
    sources: Iterable[str | Path | Document | Mapping[str, Any]] | str | Path,
    *,
    columns: Columns | None = None,
    on_error: OnError = "stop",
    report: ReadReport | None = None,
) -> Iterator[Document]:
    """Documents from files, folders, `-` for standard input, or records in memory, one at a time.

    A folder is BEIR's (its corpus.jsonl) or one of text and Markdown files. A file is JSONL (also .gz, .zst), CSV or
    TSV with named columns, Parquet, text or Markdown. Every field that is not id, title or text is metadata; an
    object under "metadata" is merged into it.

    Raises:
        CorpusError: a record is not readable, has no id, one that was there before, or a text that is not a string.
            With `on_error="skip"` such records are counted in `report` instead; a source that cannot be opened, or
            read to its end, is an error either way.
    """
    if isinstance(sources, str | Path):
        sources = [sources]
    if on_error not in ("stop", "skip"):
        raise InputError(f"on_error must be 'stop' or 'skip'; got {on_error!r}")
    report = report if report is not None else ReadReport()

    seen, columns = SeenIds(), columns or _DEFAULT
    columns = _DEFAULT if columns == _DEFAULT else columns
    pairs = ((record, _checked(record, columns)) for record in _records(sources))
    for window in windows(pairs, _length, _WINDOW, _WINDOW_CHARACTERS):
        documents = [found for _, found in window if isinstance(found, Document)]
        new = seen.add([document.id for document in documents])
        if len(documents) == len(window) and new.all():
            report.read += len(documents)
            yield from documents
        else:
            yield from _passed(window, iter(new.tolist()), on_error, report)


def _length(pair: tuple[Record, Document | CorpusError]) -> int:
    found = pair[1]
    return len(found.text) if isinstance(found, Document) else 0


def _passed(
    window: list[tuple[Record, Document | CorpusError]], new: Iterator[bool], on_error: OnError, report: ReadReport
) -> Iterator[Document]:
    """The documents of a window, in some of whose records something is wrong."""
    for record, found in window:
        document = found if isinstance(found, CorpusError) or next(new) else _duplicate(record, found.id)
        if isinstance(document, Document):
            report.read += 1
            yield document
        elif on_error == "stop":
            raise document
        else:
            report.skipped += 1
            report.examples += [str(document)] if len(report.examples) < _EXAMPLES else []


def read_queries(path: str | Path) -> list[Query]:
    """Queries from a file: JSONL (`_id`, `text`), CSV or TSV with such columns, or TSV of just id and text.

    Raises:
        CorpusError: a line is not readable, has no id or text, or an id that was there before.
    """
    if Path(path).suffix in (*TEXT_SUFFIXES, "") and str(path) != STDIN:
        raise CorpusError(str(path), None, "not a file of queries", hint="queries come as JSONL, TSV, CSV or Parquet")
    records = records_of(str(path))
    if Path(path).suffix == ".tsv" and not _has_header(Path(path)):
        records = _two_columns(Path(path))
    queries: dict[str, Query] = {}
    for record in records:
        document = _checked(record, _QUERY_COLUMNS)
        if isinstance(document, CorpusError):
            raise document
        if document.id in queries:
            raise _duplicate(record, document.id)
        queries[document.id] = Query(id=document.id, text=document.text)
    return list(queries.values())


def _duplicate(record: Record, id_: str) -> CorpusError:
    return CorpusError(record.source, record.position, f"duplicate id {id_!r}")


def _records(sources: Iterable[str | Path | Document | Mapping[str, Any]]) -> Iterator[Record]:
    for number, source in enumerate(sources, 1):
        if isinstance(source, str | Path):
            yield from records_of(str(source))
        elif isinstance(source, Document):
            fields = {"_id": source.id, "title": source.title, "text": source.text, "metadata": dict(source.metadata)}
            yield Record("documents", number, fields)
        elif isinstance(source, Mapping):
            yield Record("documents", number, dict(source))
        else:
            raise InputError(f"a corpus is paths, Documents or mappings; got {type(source).__name__}")


def _checked(record: Record, columns: Columns) -> Document | CorpusError:
    """The document that a record is, or what is wrong with it."""
    source, position, fields = record
    if (document := _plain(fields, columns)) is not None:
        return document
    try:
        if isinstance(fields, str):
            raise _BadRecordError(fields)
        return _document(fields, columns)
    except _BadRecordError as error:
        return CorpusError(source, position, str(error))


def _plain(fields: Mapping[str, Any] | str, columns: Columns) -> Document | None:
    """The document of a record as nearly all are, sooner than `_document` finds it; None for any other."""
    if columns is not _DEFAULT or type(fields) is not dict:
        return None
    id_, text, title = fields.get("_id"), fields.get("text"), fields.get("title", "")
    if not (type(id_) is type(text) is type(title) is str and id_ and len(fields) == 2 + ("title" in fields)):
        return None
    if not (is_unicode(id_) and is_unicode(text) and is_unicode(title)):
        return None
    return Document(id_, text, title)


class _BadRecordError(Exception):
    """What is wrong with a record."""


def _document(fields: Mapping[str, Any], columns: Columns) -> Document:
    rest = dict(fields)
    id_field, title_field, text_field = (
        _taken(fields, columns.id),
        _taken(fields, columns.title),
        _taken(fields, columns.text),
    )
    if id_field is None:
        raise _BadRecordError(f"no id: expected it under {_or(columns.id)}; its fields are {_names(fields)}")
    id_ = rest.pop(id_field)
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    if not isinstance(id_, str) or not id_:
        raise _BadRecordError(f"no id: expected a string under {id_field!r}; got {id_!r}")
    if text_field is None:
        raise _BadRecordError(f"no text: expected it under {_or(columns.text)}; its fields are {_names(fields)}")
    # One field can be two of them, where the caller says so.
    text = fields[text_field]
    title = fields[title_field] if title_field else ""
    title = "" if title is None else title
    rest.pop(text_field, None)
    if title_field:
        rest.pop(title_field, None)
    _check_text("id", id_)
    _check_text("title", title)
    _check_text("text", text)
    return Document(id_, text, title, _metadata(rest) if rest else rest)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _BadRecordError(f"{name} must be a string; got {type(value).__name__}")
    if not is_unicode(value):
        raise _BadRecordError(f"{name} holds a lone surrogate, which is not Unicode text")


def _metadata(rest: dict[str, Any]) -> dict[str, Any]:
    """All fields that are not id, title or text."""
    if isinstance(rest.get("metadata"), dict):
        rest = {**rest.pop("metadata"), **rest}
    try:
        orjson.dumps(rest)
    except TypeError:
        for name, value in rest.items():
            _check_json(name, value)
        raise
    return rest


def _check_json(name: str, value: object) -> None:
    try:
        orjson.dumps({name: value})
    except TypeError as error:
        raise _BadRecordError(f"field {name!r} cannot be kept as JSON metadata ({error})") from None


def _taken(fields: Mapping[str, Any], names: Sequence[str]) -> str | None:
    for name in names:
        if name in fields:
            return name
    return None


def _names(fields: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, fields)) or "none"


def _or(names: Iterable[str]) -> str:
    return " or ".join(map(repr, names))


def _has_header(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline().rstrip("\r\n").split("\t")
    return bool({*first} & {*_QUERY_COLUMNS.id}) and bool({*first} & {*_QUERY_COLUMNS.text})


def _two_columns(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for position, line in enumerate(file, 1):
            if line.strip():
                yield Record(str(path), position, _id_and_text(line))


def _id_and_text(line: str) -> dict[str, Any] | str:
    if not is_unicode(line):
        return "not UTF-8"
    id_, tab, text = line.rstrip("\r\n").partition("\t")
    return {"_id": id_, "text": text} if tab else "expected id, tab, query"

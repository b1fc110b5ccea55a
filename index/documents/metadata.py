"""Metadata as typed columns, so that filters can be computed on them.

Hits bring the metadata as it was, from the document store; these columns serve filters alone. A field's type follows
from its values: booleans, whole numbers, numbers, dates (strings that are all ISO 8601), strings, or lists of one of
these. An object is taken apart: `{"a": {"b": 1}}` is the field `a.b`. null is the same as absent. A field whose values
fit no one type has no column, and the reason is kept.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from retrieval.index.storage.files import Folder, damaged

__all__ = ["DATE", "FieldCounts", "parse_date", "read_columns", "write_columns"]

DATE = pa.timestamp("us", "UTC")

_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_ARROW = {"bool": pa.bool_(), "int": pa.int64(), "number": pa.float64(), "date": DATE, "string": pa.large_string()}
# What two kinds become together; any other pair is no one type.
_TOGETHER = {frozenset({"int", "number"}): "number", frozenset({"date", "string"}): "string"}
_NAMES = {"bool": "boolean", "int": "whole number"}
_LIST = "list"  # beside the kinds: how many documents hold a list
_UNTYPED = b"untyped"


def parse_date(text: str) -> datetime | None:
    """An ISO 8601 date or date and time, in UTC where it names no zone; None for any other text."""
    if not _ISO_DATE.fullmatch(text):
        return None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _fields(metadata: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values, objects taken apart, absent values left out."""
    for name, value in metadata.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, value


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            return "int" if -(2**63) <= value < 2**63 else "number"
        case float():
            return "number"
        case str():
            return "date" if parse_date(value) else "string"
        case _:
            return "other"


class FieldCounts:
    """For each field, how many documents hold each kind of value there: what its type follows from.

    Counts, so that a document which is deleted takes its kinds with it.
    """

    def __init__(self, content: Mapping[str, Any] | None = None) -> None:
        content = content or {}
        self._kinds: dict[str, Counter[str]] = {name: Counter(kinds) for name, kinds in content.items()}

    def add(self, metadata: Mapping[str, Any], times: int = 1) -> None:
        """One document more with this metadata, as JSON gives it back; with times = -1, one less."""
        for name, value in _fields(metadata):
            is_list = isinstance(value, list)
            kinds = {_kind(item) for item in value if item is not None} if is_list else {_kind(value)}
            counts = self._kinds.setdefault(name, Counter())
            for kind in (*kinds, _LIST) if is_list else kinds:
                counts[kind] += times

    def update(self, other: "FieldCounts") -> None:
        """All the documents of another as well."""
        for name, kinds in other._kinds.items():
            self._kinds.setdefault(name, Counter()).update(kinds)

    def content(self) -> dict[str, dict[str, int]]:
        """The counts above 0, for JSON."""
        kept = {name: dict(+kinds) for name, kinds in sorted(self._kinds.items())}
        return {name: kinds for name, kinds in kept.items() if kinds}

    def schema(self) -> tuple[pa.Schema, dict[str, str]]:
        """The typed columns, and why other fields have none."""
        typed, untyped = [], {}
        for name, counts in self.content().items():
            kinds = counts.keys() - {_LIST}
            kind = _TOGETHER.get(frozenset(kinds)) if len(kinds) > 1 else next(iter(kinds), "string")
            if kind in _ARROW:
                scalar = _ARROW[kind]
                typed.append(pa.field(name, pa.large_list(scalar) if _LIST in counts else scalar))
            else:
                untyped[name] = " and ".join(sorted(_NAMES.get(kind, kind) for kind in kinds))
        return pa.schema(typed), untyped


def write_columns(path: Path, counts: FieldCounts, batches: Iterable[Sequence[Mapping[str, Any]]]) -> None:
    """Write the typed columns of every document, in order; `batches` are rows of metadata."""
    schema, untyped = counts.schema()
    schema = schema.with_metadata({_UNTYPED: orjson.dumps(sorted(untyped))})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        # A batch without columns would have no length.
        for rows in batches if len(schema) else ():
            writer.write_batch(_typed(rows, schema))


def _typed(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    fields = [dict(_fields(row)) for row in rows]
    columns = [pa.array([_value(row.get(f.name), f.type) for row in fields], f.type) for f in schema]
    return pa.record_batch(columns, schema=schema)


def _value(value: Any, type_: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_large_list(type_):
        items = value if isinstance(value, list) else [value]
        return [_value(item, type_.value_type) for item in items if item is not None]
    if type_ == DATE:
        return parse_date(value)
    return float(value) if type_ == pa.float64() else value


def read_columns(
    folder: Folder, name: str, wanted: pa.Schema, n: int, metadata: Callable[[], Iterable[Mapping[str, Any]]]
) -> pa.Table:
    """A segment's columns, in types that may not be those it was written with.

    The types follow from all segments' documents: a field that holds whole numbers here can hold numbers elsewhere.

    Args:
        folder: the segment's.
        name: of its file.
        wanted: the fields, and their types.
        n: rows of the segment.
        metadata: reads every row's; asked only if a type is another. Empty for rows that were deleted.
    """
    file = folder.open(name)
    content = file.read(0, file.size)
    try:
        table = pa.ipc.open_stream(pa.py_buffer(content)).read_all()
        untyped = orjson.loads(table.schema.metadata[_UNTYPED])
    except (OSError, pa.ArrowException, TypeError, KeyError, orjson.JSONDecodeError) as error:
        raise damaged(file.path, f"not readable columns ({error})") from error
    if table.num_columns and table.num_rows != n:
        raise damaged(file.path, f"holds {table.num_rows} rows, expected {n}")
    here = {*table.column_names, *untyped}
    other = [f for f in wanted if f.name in here and f not in list(table.schema)]
    again = _typed(list(metadata()), pa.schema(other)) if other else None
    columns = []
    for field in wanted:
        if again is not None and field in other:
            columns.append(again.column(field.name))
        else:
            columns.append(table.column(field.name) if field.name in here else pa.nulls(n, field.type))
    return pa.table(columns, schema=wanted)

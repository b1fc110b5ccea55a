"""Metadata as typed columns, so that filters can be computed on them.

Hits bring the metadata as it was, from the document store; these columns serve filters alone. A field's type follows
from its values: booleans, whole numbers, numbers, dates (strings that are all ISO 8601), strings, or lists of one of
these. An object is taken apart: `{"a": {"b": 1}}` is the field `a.b`. null is the same as absent. A field whose values
fit no one type has no column, and the reason is kept.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from retrieval.index.arrays import damaged

__all__ = ["DATE", "MetadataTypes", "parse_date", "read_columns", "write_columns"]

DATE = pa.timestamp("us", "UTC")

_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_ARROW = {"bool": pa.bool_(), "int": pa.int64(), "number": pa.float64(), "date": DATE, "string": pa.large_string()}
# What two kinds become together; any other pair is no one type.
_TOGETHER = {frozenset({"int", "number"}): "number", frozenset({"date", "string"}): "string"}
_NAMES = {"bool": "boolean", "int": "whole number"}
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


class MetadataTypes:
    """Learns the type of each field from all its values."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[str]] = {}
        self._lists: set[str] = set()

    def add(self, metadata: Mapping[str, Any]) -> None:
        """See one document's metadata."""
        for name, value in _fields(metadata):
            kinds = self._kinds.setdefault(name, set())
            if isinstance(value, list):
                self._lists.add(name)
                kinds.update(_kind(item) for item in value if item is not None)
            else:
                kinds.add(_kind(value))

    def schema(self) -> pa.Schema:
        """The typed columns, and why other fields have none."""
        typed, untyped = [], {}
        for name, kinds in self._kinds.items():
            kind = _TOGETHER.get(frozenset(kinds)) if len(kinds) > 1 else next(iter(kinds), "string")
            if kind in _ARROW:
                scalar = _ARROW[kind]
                typed.append(pa.field(name, pa.large_list(scalar) if name in self._lists else scalar))
            else:
                untyped[name] = " and ".join(sorted(_NAMES.get(kind, kind) for kind in kinds))
        return pa.schema(typed, {_UNTYPED: orjson.dumps(untyped)})


def write_columns(path: Path, schema: pa.Schema, batches: Iterable[Sequence[Mapping[str, Any]]]) -> None:
    """Write the columns of every document, in order; `batches` are rows of metadata."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for rows in batches:
            fields = [dict(_fields(row)) for row in rows]
            columns = [pa.array([_value(row.get(f.name), f.type) for row in fields], f.type) for f in schema]
            # A batch without columns would have no length.
            if columns:
                writer.write_batch(pa.record_batch(columns, schema=schema))


def _value(value: Any, type_: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_large_list(type_):
        items = value if isinstance(value, list) else [value]
        return [_value(item, type_.value_type) for item in items if item is not None]
    if type_ == DATE:
        return parse_date(value)
    return float(value) if type_ == pa.float64() else value


def read_columns(path: Path, file: pa.MemoryMappedFile) -> tuple[pa.Table, dict[str, str]]:
    """The columns, and for each field without one the kinds of values that it holds; `path` is for messages."""
    try:
        table = pa.ipc.open_file(file).read_all()
        untyped = orjson.loads(table.schema.metadata[_UNTYPED])
    except (OSError, pa.ArrowException, TypeError, KeyError, orjson.JSONDecodeError) as error:
        raise damaged(path, f"not readable columns ({error})") from error
    return table, untyped

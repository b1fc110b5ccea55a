"""Filters over metadata, in the form that vector stores share, computed by Arrow.

    {"year": {"$gte": 2020, "$lt": 2024}, "$or": [{"lang": "en"}, {"tags": {"$in": ["ir", "nlp"]}}]}

A plain value means `$eq`; several conditions together must all hold. Operators: `$eq $ne $gt $gte $lt $lte $in $nin
$exists`, and `$and $or $not` around filters. A list field satisfies a comparison if one of its items does. `$ne` and
`$nin` are the negations of `$eq` and `$in`, so they hold for documents without the field, as in MongoDB. Dates are
compared as points in time, and are written as in ISO 8601.
"""

import math
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrieval.errors import FilterError
from retrieval.files import is_unicode
from retrieval.index.documents.metadata import DATE, parse_date

__all__ = ["allowed_documents"]

Mask = NDArray[np.bool_]

_ORDER = {"$gt": pc.greater, "$gte": pc.greater_equal, "$lt": pc.less, "$lte": pc.less_equal}
_DEEPEST = 100
_OPERATORS = ("$eq", "$ne", *_ORDER, "$in", "$nin", "$exists")


def allowed_documents(filter_: Mapping[str, Any], columns: pa.Table, untyped: Mapping[str, str], n: int) -> Mask:
    """Which of n documents a filter allows, (n,).

    Args:
        filter_: the filter; an empty one allows all.
        columns: the documents' typed metadata.
        untyped: fields that have no one type, and the kinds of values they hold.
        n: number of documents.

    Raises:
        FilterError: an unknown field or operator, a value of the wrong type, a malformed part; it names the place.
    """
    return _Compiler(columns, untyped, n).all_of(filter_, "filter")


class _Compiler:
    def __init__(self, columns: pa.Table, untyped: Mapping[str, str], n: int) -> None:
        self._columns = columns
        self._untyped = untyped
        self._n = n

    def all_of(self, filter_: Any, place: str) -> Mask:
        """Where every condition of a filter holds."""
        if not isinstance(filter_, Mapping) or not all(isinstance(name, str) for name in filter_):
            raise FilterError(place, f"must be an object; got {_shown(filter_)}")
        if place.count(".") > _DEEPEST:
            raise FilterError(place[:80] + "…", f"is nested more than {_DEEPEST} deep")
        mask = np.ones(self._n, dtype=bool)
        for name, condition in filter_.items():
            mask &= self._condition(name, condition, f"{place}.{name}")
        return mask

    def _condition(self, name: str, condition: Any, place: str) -> Mask:
        match name:
            case "$and" | "$or":
                return self._joined(name, condition, place)
            case "$not":
                return ~self.all_of(condition, place)
            case _ if name.startswith("$"):
                raise FilterError(place, f"unknown operator {name!r}; known here: $and, $or, $not, or a field's name")
            case _:
                return self._field(name, condition, place)

    def _joined(self, name: str, filters: Any, place: str) -> Mask:
        if not isinstance(filters, list | tuple) or not filters:
            raise FilterError(place, f"{name} takes a list of at least one filter; got {_shown(filters)}")
        masks = [self.all_of(filter_, f"{place}[{i}]") for i, filter_ in enumerate(filters)]
        joined: Mask = np.logical_and.reduce(masks) if name == "$and" else np.logical_or.reduce(masks)
        return joined

    def _field(self, name: str, condition: Any, place: str) -> Mask:
        column = self._column(name, place)
        if not isinstance(condition, Mapping):
            condition = {"$eq": condition}
        if not condition:
            raise FilterError(place, f"needs an operator: {', '.join(_OPERATORS)}, $not")
        mask = np.ones(self._n, dtype=bool)
        for operator, operand in condition.items():
            if operator == "$not":
                mask &= ~self._field(name, operand, f"{place}.$not")
            else:
                mask &= _compare(column, operator, operand, f"{place}.{operator}")
        return mask

    def _column(self, name: str, place: str) -> Any:
        if name in self._untyped:
            raise FilterError(place, f"field {name!r} cannot be filtered, as it holds {self._untyped[name]} values")
        if name not in self._columns.column_names:
            known = ", ".join(sorted(self._columns.column_names)) or "none"
            raise FilterError(place, f"no document has a field {name!r}; fields: {known}")
        return self._columns.column(name)


def _compare(column: Any, operator: str, operand: Any, place: str) -> Mask:
    type_ = _item_type(column)
    match operator:
        case "$exists":
            if not isinstance(operand, bool):
                raise FilterError(place, f"takes true or false; got {_shown(operand)}")
            there = _mask(pc.is_valid(column))
            return there if operand else ~there
        case "$ne" | "$nin":
            return ~_compare(column, {"$ne": "$eq", "$nin": "$in"}[operator], operand, place)
        case "$in":
            if not isinstance(operand, list | tuple):
                raise FilterError(place, f"takes a list; got {_shown(operand)}")
            values = [_operand(type_, item, f"{place}[{i}]") for i, item in enumerate(operand)]
            return _among(column, type_, values)
        case "$eq":
            return _among(column, type_, [_operand(type_, operand, place)])
        case _ if operator in _ORDER:
            if pa.types.is_boolean(type_):
                raise FilterError(place, "booleans have no order; use $eq")
            value = _operand(type_, operand, place)
            if pa.types.is_integer(type_):
                # n > 2.5 is n > 2, and n < 2.5 is n < 3.
                value = math.floor(value) if operator in ("$gt", "$lte") else math.ceil(value)
            return _any_item(column, lambda items: _ORDER[operator](items, pa.scalar(value, type_)))
        case _:
            raise FilterError(place, f"unknown operator {operator!r}; known: {', '.join(_OPERATORS)}, $not")


def _item_type(column: Any) -> Any:
    return column.type.value_type if pa.types.is_large_list(column.type) else column.type


def _among(column: Any, type_: Any, values: list[Any]) -> Mask:
    """Where a value, or one item of a list, is one of some values."""
    if pa.types.is_integer(type_):
        values = [int(value) for value in values if float(value).is_integer()]
    if pa.types.is_floating(type_):
        # Adding 0 makes -0.0 the 0.0 that it equals; is_in compares bits.
        zeroed = [value + 0.0 for value in values]
        return _any_item(column, lambda items: pc.is_in(pc.add(items, 0.0), pa.array(zeroed, type_)))
    return _any_item(column, lambda items: pc.is_in(items, pa.array(values, type_)))


def _any_item(column: Any, test: Callable[[Any], Any]) -> Mask:
    """Where a value, or one item of a list, passes the test; absent values do not."""
    if not pa.types.is_large_list(column.type):
        return _mask(test(column))
    mask = np.zeros(len(column), dtype=bool)
    parents = pc.list_parent_indices(column).to_numpy()
    mask[parents[_mask(test(pc.list_flatten(column)))]] = True
    return mask


def _mask(values: Any) -> Mask:
    """Arrow's three-valued booleans as two: unknown is false."""
    mask: Mask = np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), dtype=bool)
    return mask


def _operand(type_: Any, value: Any, place: str) -> Any:
    """The value that a field of this type is compared with."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if pa.types.is_boolean(type_) and isinstance(value, bool):
        return value
    if pa.types.is_integer(type_) and is_number and -(2**63) <= value < 2**63:
        return value
    if pa.types.is_floating(type_) and is_number and abs(value) <= sys.float_info.max:
        return float(value)
    if pa.types.is_large_string(type_) and isinstance(value, str) and is_unicode(value):
        return value
    if type_ == DATE and (moment := _moment(value)):
        return moment
    raise FilterError(place, f"the field holds {_named(type_)}; got {_shown(value)}")


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        return parse_date(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else None


def _named(type_: Any) -> str:
    if type_ == DATE:
        return "dates"
    return {"bool": "booleans", "int64": "whole numbers of 64 bits", "double": "numbers", "large_string": "strings"}[
        str(type_)
    ]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

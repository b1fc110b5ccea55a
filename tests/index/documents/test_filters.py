import operator
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import ArtifactDamagedError, FilterError
from retrieval.index.documents.reader import DocumentReader
from retrieval.types import Document

RECORDS: list[dict[str, Any]] = [
    {
        "year": 2019,
        "lang": "en",
        "open": True,
        "tags": ("ir", None, "nlp"),
        "day": "2019-05-01",
        "score": 1.5,
        "zero": -0.0,
    },
    {"year": 2020, "lang": "de", "open": False, "tags": [], "day": "2020-01-01T12:00:00Z", "score": 2, "zero": 0.0},
    {
        "year": 2021,
        "lang": "en",
        "tags": ["db"],
        "nested": {"deep": {"n": 1}},
        "day": None,
        "zero": 1.5,
        "when": datetime(2021, 1, 1),
    },
    {},
    {"year": 2**60, "lang": "EN", "open": True, "tags": "ir", "mixed": 1, "day": "2021-06-30T23:00:00-02:00"},
    {"mixed": "one", "objects": [{"a": 1}]},
]


Write = Callable[[Path, list[dict[str, Any]]], DocumentReader]


@pytest.fixture(scope="module")
def write(store: Callable[[Path, list[Document]], DocumentReader]) -> Write:
    """Makes a store of documents with this metadata."""
    return lambda folder, records: store(
        folder, [Document(id=str(i), text="", metadata=record) for i, record in enumerate(records)]
    )


@pytest.fixture(scope="module")
def reader(write: Write, tmp_path_factory: pytest.TempPathFactory) -> DocumentReader:
    """The records above."""
    return write(tmp_path_factory.mktemp("store"), RECORDS)


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"year": 2020}, [1]),
        ({"year": {"$eq": 2020.0}}, [1]),
        ({"year": 2020.5}, []),
        ({"year": {"$gt": 2019.5}}, [1, 2, 4]),
        ({"year": {"$gte": 2020, "$lt": 2021}}, [1]),
        ({"year": {"$lte": 2020.5}}, [0, 1]),
        ({"year": 2**60}, [4]),
        ({"year": 2**60 + 1}, []),
        ({"year": {"$ne": 2020}}, [0, 2, 3, 4, 5]),
        ({"year": {"$in": [2019, 2021, 7.5]}}, [0, 2]),
        ({"year": {"$in": []}}, []),
        ({"year": {"$nin": [2019]}}, [1, 2, 3, 4, 5]),
        ({"lang": "en"}, [0, 2]),
        ({"lang": {"$gt": "de"}}, [0, 2]),
        ({"open": True}, [0, 4]),
        ({"open": {"$ne": True}}, [1, 2, 3, 5]),
        ({"open": {"$exists": False}}, [2, 3, 5]),
        ({"tags": "ir"}, [0, 4]),
        ({"tags": {"$in": ["db", "nlp"]}}, [0, 2]),
        ({"tags": {"$ne": "ir"}}, [1, 2, 3, 5]),
        ({"tags": {"$exists": True}}, [0, 1, 2, 4]),
        ({"nested.deep.n": 1}, [2]),
        ({"score": {"$gte": 1.5}}, [0, 1]),
        ({"zero": 0}, [0, 1]),
        ({"zero": {"$ne": 0.0}}, [2, 3, 4, 5]),
        ({"when": {"$gt": "2020-01-01"}}, [2]),
        ({"day": "2019-05-01"}, [0]),
        ({"day": "2019-05-01T00:00:00+00:00"}, [0]),
        ({"day": {"$gt": date(2020, 1, 1)}}, [1, 4]),
        ({"day": {"$gte": datetime(2021, 7, 1, 1, tzinfo=UTC)}}, [4]),
        ({"day": {"$lt": "2020-01-01T12:00:00"}}, [0]),
        ({"lang": "en", "year": {"$gt": 2019}}, [2]),
        ({"$or": [{"lang": "de"}, {"open": True}]}, [0, 1, 4]),
        ({"$and": [{"lang": "en"}, {"$or": [{"year": 2019}, {"year": 2020}]}]}, [0]),
        ({"$not": {"lang": "en"}}, [1, 3, 4, 5]),
        ({"year": {"$not": {"$gt": 2019}}}, [0, 3, 5]),
    ],
)
def test_what_a_filter_allows(filter_: Mapping[str, Any], expected: list[int], reader: DocumentReader) -> None:
    """Operators, types, lists, absent fields and combinations."""
    assert reader.allowed(filter_).nonzero()[0].tolist() == expected


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ([], "filter: must be an object; got []"),
        (
            {"yaer": 2020},
            "filter.yaer: no document has a field 'yaer'; fields: day, lang, nested.deep.n, open, score, tags, when",
        ),
        ({"year": "2020"}, "filter.year.$eq: the field holds whole numbers of 64 bits; got '2020'"),
        ({"year": True}, "filter.year.$eq: the field holds whole numbers of 64 bits; got True"),
        ({"year": None}, "filter.year.$eq: the field holds whole numbers of 64 bits; got None"),
        ({"year": 2**64}, "filter.year.$eq: the field holds whole numbers of 64 bits; got 18446744073709551616"),
        ({"year": float("nan")}, "filter.year.$eq: the field holds whole numbers of 64 bits; got nan"),
        ({"score": {"$in": [1, "2"]}}, "filter.score.$in[1]: the field holds numbers; got '2'"),
        ({"open": {"$gt": False}}, "filter.open.$gt: booleans have no order; use $eq"),
        ({"lang": 5}, "filter.lang.$eq: the field holds strings; got 5"),
        ({"day": {"$gt": "yesterday"}}, "filter.day.$gt: the field holds dates; got 'yesterday'"),
        ({"year": {"$gte": 1, "$foo": 2}}, "filter.year.$foo: unknown operator '$foo'; known: $eq, $ne"),
        ({"$nor": []}, "filter.$nor: unknown operator '$nor'"),
        ({"$or": []}, "filter.$or: $or takes a list of at least one filter; got []"),
        ({"$and": {"year": 1}}, "filter.$and: $and takes a list of at least one filter"),
        ({"$or": [{"year": 1}, {"lang": 2}]}, "filter.$or[1].lang.$eq: the field holds strings; got 2"),
        ({1: 2}, "filter: must be an object; got {1: 2}"),
        ({"lang": "\ud800"}, "filter.lang.$eq: the field holds strings; got"),
        ({"score": 10**400}, "filter.score.$eq: the field holds numbers; got 1000"),
        ({"year": {}}, "filter.year: needs an operator"),
        ({"year": {"$in": 2020}}, "filter.year.$in: takes a list; got 2020"),
        ({"year": {"$exists": 1}}, "filter.year.$exists: takes true or false; got 1"),
        ({"mixed": 1}, "filter.mixed: field 'mixed' cannot be filtered, as it holds string and whole number values"),
        ({"objects": 1}, "filter.objects: field 'objects' cannot be filtered, as it holds other values"),
    ],
)
def test_a_filter_that_cannot_be_understood(filter_: Any, message: str, reader: DocumentReader) -> None:
    """The message names the place in it, and what stands there."""
    with pytest.raises(FilterError) as error:
        reader.allowed(filter_)
    assert message in str(error.value)


def test_a_filter_that_never_ends(reader: DocumentReader) -> None:
    """Is an error before it is one of Python's."""
    filter_: dict[str, Any] = {"year": 1}
    for _ in range(5000):
        filter_ = {"$and": [filter_]}
    with pytest.raises(FilterError, match="nested more than 100 deep"):
        reader.allowed(filter_)


scalars = {"n": st.integers(-3, 3), "x": st.sampled_from([-1.5, 0.0, 2.0]), "s": st.sampled_from("abc")}
values = {**scalars, "l": st.lists(scalars["s"], max_size=3)}
records = st.lists(st.fixed_dictionaries({}, optional=values), max_size=12)
comparisons = st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"])
PYTHON = {"$eq": operator.eq, "$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    """A field with one comparison."""
    field = draw(st.sampled_from(sorted(values)))
    operand = scalars["s" if field == "l" else field]
    if draw(st.booleans()):
        return {field: {draw(st.sampled_from(["$in", "$nin"])): draw(st.lists(operand, max_size=3))}}
    return {field: {draw(comparisons): draw(operand)}}


filters = st.recursive(
    conditions(),
    lambda inner: st.one_of(
        st.builds(lambda parts: {"$and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"$or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=5,
)


def holds(filter_: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """The same, one document at a time in plain Python."""
    ((name, condition),) = filter_.items()
    if name == "$and":
        return all(holds(part, record) for part in condition)
    if name == "$or":
        return any(holds(part, record) for part in condition)
    if name == "$not":
        return not holds(condition, record)
    ((operator_, operand),) = condition.items()
    value = record.get(name, [])
    items = value if isinstance(value, list) else [value]
    if operator_ in ("$ne", "$nin"):
        return not any(item == operand if operator_ == "$ne" else item in operand for item in items)
    if operator_ == "$in":
        return any(item in operand for item in items)
    return any(PYTHON[operator_](item, operand) for item in items)


@given(records=records, filter_=filters)
def test_any_filter_equals_plain_python(
    records: list[dict[str, Any]], filter_: dict[str, Any], write: Write, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Over documents that have every field at least once, so that each has a type."""
    complete = [*records, {"n": 0, "x": 0.5, "s": "a", "l": ["a"]}]
    reader = write(tmp_path_factory.mktemp("store"), complete)
    assert reader.allowed(filter_).tolist() == [holds(filter_, record) for record in complete]


def test_documents_without_any_metadata(write: Write, tmp_path: Path) -> None:
    """The empty filter allows them, any other names a field that is not there."""
    reader = write(tmp_path, [{}, {}])
    assert reader.allowed({}).tolist() == [True, True]
    with pytest.raises(FilterError, match="no document has a field 'year'; fields: none"):
        reader.allowed({"year": 1})


def test_columns_that_are_damaged(write: Write, tmp_path: Path) -> None:
    """The message names the file."""
    reader = write(tmp_path, RECORDS)
    (tmp_path / "metadata.arrow").write_bytes(b"ARROW1")
    with pytest.raises(ArtifactDamagedError, match=r"metadata\.arrow: not readable columns"):
        reader.allowed({"year": 1})

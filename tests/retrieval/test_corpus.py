import json
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.corpus import Columns, ReadReport, read_documents, read_queries
from retrieval.errors import CorpusError, InputError
from retrieval.types import Document, Query


def write_lines(path: Path, *records: object) -> Path:
    """One JSON value a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_a_record_names_id_title_and_text_in_either_way() -> None:
    """`_id` or `id`, `text` or `contents`; where both are there the first is taken and the other is metadata."""
    records = [
        {"id": "1", "contents": "a"},
        {"_id": "2", "title": "T", "text": "b"},
        {"_id": "3", "id": 7, "text": "c", "contents": "d"},
    ]
    assert list(read_documents(records)) == [
        Document(id="1", text="a"),
        Document(id="2", title="T", text="b"),
        Document(id="3", text="c", metadata={"id": 7, "contents": "d"}),
    ]


def test_every_further_field_is_metadata() -> None:
    """An object under "metadata" is merged into it, and a field beside it wins over one inside."""
    (document,) = read_documents(
        [{"_id": "1", "text": "", "year": 2001, "tags": ["a"], "metadata": {"year": 1999, "url": None}}]
    )
    assert document.metadata == {"year": 2001, "tags": ["a"], "url": None}


def test_metadata_that_is_no_object_stays_a_field() -> None:
    """Nothing of a record is lost."""
    (document,) = read_documents([{"_id": "1", "text": "", "metadata": "note"}])
    assert document.metadata == {"metadata": "note"}


def test_a_document_in_memory_passes_unchanged() -> None:
    """Its metadata may hold any name, also those of a document's own fields."""
    document = Document(id="1", title="T", text="x", metadata={"_id": 1, "text": 2, "metadata": {"a": 3}})
    assert list(read_documents([document])) == [document]


def test_columns_can_be_named() -> None:
    """Names that are given replace the usual ones, which become metadata."""
    columns = Columns(id=("docno",), text=("body",))
    (document,) = read_documents([{"docno": "1", "body": "x", "text": "y"}], columns=columns)
    assert document == Document(id="1", text="x", metadata={"text": "y"})


def test_several_sources_are_one_corpus(tmp_path: Path) -> None:
    """Files and records are read in the order they are given, and an id may not come back in another."""
    first = write_lines(tmp_path / "a.jsonl", {"_id": "1", "text": "a"})
    second = write_lines(tmp_path / "b.jsonl", {"_id": "2", "text": "b"}, {"_id": "1", "text": "c"})
    documents = read_documents([first, {"_id": "3", "text": "d"}, str(second)])
    assert [next(documents).id for _ in range(3)] == ["1", "3", "2"]
    with pytest.raises(CorpusError, match=r"b\.jsonl:2: duplicate id '1'"):
        next(documents)


def test_an_empty_document_is_legal() -> None:
    """Its contents are empty, and so is a title that is not there."""
    (document,) = read_documents([{"_id": "1", "title": None, "text": ""}])
    assert document == Document(id="1", text="")
    assert document.contents == ""


BAD: list[tuple[dict[str, Any], str]] = [
    ({"text": "x"}, "no id: expected it under '_id' or 'id'; its fields are 'text'"),
    ({}, "no id: expected it under '_id' or 'id'; its fields are none"),
    ({"_id": "", "text": "x"}, "no id: expected a string under '_id'; got ''"),
    ({"_id": None, "text": "x"}, "no id: expected a string under '_id'; got None"),
    ({"_id": 1.5, "text": "x"}, "no id: expected a string under '_id'; got 1.5"),
    ({"_id": True, "text": "x"}, "no id: expected a string under '_id'; got True"),
    ({"_id": "b", "body": "x"}, "no text: expected it under 'text' or 'contents'; its fields are '_id', 'body'"),
    ({"_id": "b", "text": 5}, "text must be a string; got int"),
    ({"_id": "b", "text": None}, "text must be a string; got NoneType"),
    ({"_id": "b", "text": "x", "title": ["T"]}, "title must be a string; got list"),
    ({"_id": "b", "text": "x", "title": 0}, "title must be a string; got int"),
    ({"_id": "a", "text": "x"}, "duplicate id 'a'"),
]


@pytest.mark.parametrize(("record", "reason"), BAD)
def test_a_bad_record_stops_with_file_line_and_reason(tmp_path: Path, record: object, reason: str) -> None:
    """The documents before it have been handed out."""
    path = write_lines(tmp_path / "c.jsonl", {"_id": "a", "text": "x"}, record)
    documents = read_documents(path)
    assert next(documents).id == "a"
    with pytest.raises(CorpusError) as caught:
        next(documents)
    assert str(caught.value) == f"{path}:2: {reason}"
    assert (caught.value.source, caught.value.position, caught.value.reason) == (str(path), 2, reason)


@pytest.mark.parametrize("field", ["_id", "title", "text"])
def test_a_lone_surrogate_is_not_text(field: str) -> None:
    """No file could hold it, so it is refused where it comes in."""
    record = {"_id": "1", "title": "T", "text": "x", field: "\ud800"}
    with pytest.raises(CorpusError, match=r"documents:1: .* holds a lone surrogate"):
        list(read_documents([record]))


def test_skip_counts_and_reports_instead(tmp_path: Path) -> None:
    """Every bad record is counted, the first few are told, and the good ones are read."""
    path = write_lines(tmp_path / "c.jsonl", {"_id": "a", "text": "x"}, *(r for r, _ in BAD), {"_id": "z", "text": "y"})
    report = ReadReport()
    assert [d.id for d in read_documents(path, on_error="skip", report=report)] == ["a", "z"]
    assert (report.read, report.skipped) == (2, len(BAD))
    assert report.examples == [f"{path}:{line}: {reason}" for line, (_, reason) in enumerate(BAD[:5], 2)]


def test_an_id_that_was_skipped_may_come_again() -> None:
    """Only documents that were handed out occupy their id."""
    records: list[dict[str, Any]] = [{"_id": "a", "text": None}, {"_id": "a", "text": "x"}]
    assert [d.text for d in read_documents(records, on_error="skip")] == ["x"]


def test_an_unknown_way_to_treat_errors_is_refused() -> None:
    """A misspelt `on_error` must not be taken for one of the two."""
    with pytest.raises(InputError, match="on_error must be 'stop' or 'skip'; got 'ignore'"):
        list(read_documents([], on_error="ignore"))  # type: ignore[arg-type]


def test_something_that_is_no_document_is_refused() -> None:
    """The error names the type."""
    with pytest.raises(InputError, match="got int"):
        list(read_documents([5]))  # type: ignore[list-item]


def test_a_corpus_is_read_as_a_stream() -> None:
    """The first documents of an endless corpus are there at once."""

    def endless() -> Iterator[Document]:
        return (Document(id=str(number), text="x") for number in count())

    assert [d.id for d in islice(read_documents(endless()), 3)] == ["0", "1", "2"]


def test_a_file_is_read_as_a_stream(tmp_path: Path) -> None:
    """A bad line at the end does not keep the first document back."""
    path = write_lines(tmp_path / "c.jsonl", {"_id": "1", "text": "x"}, "bad")
    assert next(read_documents(path)).id == "1"


plain_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | plain_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
documents_strategy = st.lists(
    st.builds(
        Document,
        id=plain_text.filter(bool),
        text=plain_text,
        title=plain_text,
        metadata=st.dictionaries(plain_text, json_values, max_size=3),
    ),
    max_size=5,
    unique_by=lambda document: document.id,
)


@given(corpus=documents_strategy, ascii=st.booleans())
def test_documents_written_as_jsonl_are_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[Document], ascii: bool
) -> None:
    """Whatever text, metadata and ids hold, and whether or not characters are escaped."""
    path = tmp_path_factory.mktemp("round-trip") / "corpus.jsonl"
    with path.open("w", encoding="utf-8", newline="") as file:
        for d in corpus:
            record = {"_id": d.id, "title": d.title, "text": d.text, "metadata": d.metadata}
            file.write(json.dumps(record, ensure_ascii=ascii) + "\n")
    assert list(read_documents(path)) == corpus


QUERIES = [Query(id="1", text="what glows?"), Query(id="2", text='why "so"')]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.jsonl", '{"_id": "1", "text": "what glows?", "metadata": {}}\n{"id": 2, "query": "why \\"so\\""}\n'),
        ("q.csv", 'qid,query\n1,what glows?\n2,"why ""so"""\n'),
        ("q.tsv", 'id\ttext\n1\twhat glows?\n2\twhy "so"\n'),
        ("bare.tsv", '1\twhat glows?\n\n2\twhy "so"\n'),
        ("windows.tsv", '\ufeff1\twhat glows?\r\n2\twhy "so"\r\n'),
    ],
)
def test_queries_are_read_from_every_form(tmp_path: Path, name: str, content: str) -> None:
    """JSONL, CSV and TSV with named columns, and TSV of just id and text."""
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert read_queries(tmp_path / name) == QUERIES


def test_an_empty_query_is_read(tmp_path: Path) -> None:
    """It is for the search to answer it, with nothing."""
    assert read_queries(write_lines(tmp_path / "q.jsonl", {"_id": "1", "text": ""})) == [Query(id="1", text="")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.jsonl", b'{"_id": "1", "text": "x"}\n{"_id": "1", "text": "y"}\n', "q.jsonl:2: duplicate id '1'"),
        ("q.jsonl", b'{"text": "x"}\n', "q.jsonl:1: no id: expected it under '_id' or 'id' or 'qid'"),
        ("q.jsonl", b'{"_id": "1"}\n', "q.jsonl:1: no text: expected it under 'text' or 'query'"),
        ("q.tsv", b"1\tx\nonly text\n", "q.tsv:2: expected id, tab, query"),
        ("q.tsv", b"1\tx\n2\t\xff\n", "q.tsv:2: not UTF-8"),
        ("q.tsv", b"1\tx\n1\ty\n", "q.tsv:2: duplicate id '1'"),
    ],
)
def test_a_bad_query_stops_with_file_line_and_reason(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """No query is left out in silence."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        read_queries(tmp_path / name)
    assert message in str(caught.value)


def test_a_missing_queries_file_is_named(tmp_path: Path) -> None:
    """Whatever its form."""
    for name in ("q.jsonl", "q.tsv"):
        with pytest.raises(CorpusError, match=rf"{name}: no such file or folder"):
            read_queries(tmp_path / name)

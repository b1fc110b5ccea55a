"""Sparse vectors come in and go out as JSONL, and what is wrong with a line is said."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import CorpusError, InputError
from retrieval.indexing import Index
from retrieval.types import Document, Query, SparseVectors
from retrieval.vectors import StoredQueries, VectorFile, format_vectors, read_vectors

Jsonl = Callable[..., Path]


@pytest.fixture
def jsonl(tmp_path: Path) -> Jsonl:
    def write(*records: object) -> Path:
        path = tmp_path / "vectors.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    return write


def test_what_goes_out_comes_in_again(tmp_path: Path) -> None:
    """Ids, tokens and weights, to the bit; whole numbers are written without a point."""
    vectors = [{"a": 1.0, "ß": 0.1, "##x": 3.25}, {}, {"a": 7.0}]
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"".join(format_vectors(["1", "2", "3"], SparseVectors.of(vectors))))
    found = dict(read_vectors(path))
    assert {id_: {token: np.float32(weight) for token, weight in row.items()} for id_, row in found.items()} == {
        str(i): {token: np.float32(weight) for token, weight in row.items()} for i, row in enumerate(vectors, 1)
    }
    assert '"a":7}' in path.read_text()


def test_a_compressed_file_and_other_names_of_the_id(tmp_path: Path) -> None:
    """`_id` as BEIR has it, and numbers; weights of zero are left out; other fields do not matter."""
    path = tmp_path / "vectors.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"_id": 5, "contents": "x", "vector": {"a": 1, "b": 0}}\n'))
    assert dict(read_vectors(path)) == {"5": {"a": 1.0}}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "not JSON"),
        ("[1]", "a JSON list, expected an object"),
        ('{"vector": {}}', "no id"),
        ('{"id": ""}', "no id"),
        ('{"id": "a"}', "no vector: expected an object under 'vector'; got NoneType"),
        ('{"id": "a", "vector": [1]}', "no vector"),
        ('{"id": "a", "vector": {"x": "1"}}', "the weight of 'x' must be a number from 0 to 1e+18; got '1'"),
        ('{"id": "a", "vector": {"x": -1}}', "the weight of 'x'"),
        ('{"id": "a", "vector": {"x": true}}', "the weight of 'x'"),
        ('{"id": "a", "vector": {"x": 1e39}}', "the weight of 'x'"),
        ('{"id": "a", "vector": {"": 1}}', "'' is not a token"),
        ('{"id": "b", "vector": {}}', "duplicate id 'b'"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, named: str, tmp_path: Path) -> None:
    """By file, line and reason."""
    path = tmp_path / "vectors.jsonl"
    path.write_text('{"id": "b", "vector": {"x": 1}}\n' + line + "\n")
    with pytest.raises(CorpusError) as error:
        list(read_vectors(path))
    assert str(error.value).startswith(f"{path}:2: ")
    assert named in str(error.value)


def test_vectors_are_found_by_id(jsonl: Jsonl) -> None:
    """In any order; that of a document without tokens is empty."""
    file = VectorFile(
        jsonl({"id": "a", "vector": {"x": 1, "y": 2}}, {"id": "b", "vector": {}}, {"id": "c", "vector": {"y": 3}})
    )
    found = file.of(["c", "b", "a", "c"])
    assert [found.row(i) for i in range(4)] == [{"y": 3.0}, {}, {"y": 2.0, "x": 1.0}, {"y": 3.0}]
    assert len(file) == 3


def test_documents_without_a_vector_are_named(jsonl: Jsonl) -> None:
    """Some of them, and how many more there are."""
    file = VectorFile(jsonl({"id": "a", "vector": {}}))
    with pytest.raises(InputError, match=r"has no vector of document 'b', 'c', 'd' and 2 more"):
        file.of(["a", "b", "c", "d", "e", "f"])


def test_an_empty_file_is_no_absence_of_vectors(tmp_path: Path) -> None:
    """An index is not built without them, as if nobody had asked."""
    (tmp_path / "none.jsonl").touch()
    with pytest.raises(InputError, match="has no vector of document 'a'"):
        Index.build([Document(id="a", text="x")], tmp_path / "index", sparse=VectorFile(tmp_path / "none.jsonl"))
    assert not (tmp_path / "index" / "manifest.json").exists()


def test_queries_have_the_vectors_of_their_ids(jsonl: Jsonl) -> None:
    """Found by their texts; a query that has none, and a text with two vectors, are errors."""
    path = jsonl({"id": "1", "vector": {"x": 1}}, {"id": "2", "vector": {"x": 2}}, {"id": "3", "vector": {"x": 1}})
    one, two = Query("1", "wind"), Query("2", "sun")
    stored = StoredQueries.read(path, [one, two, Query("3", "wind")])
    assert stored.encode_queries(["sun", "wind"]).row(0) == {"x": 2.0}
    with pytest.raises(InputError, match="no vector of the query 'rain'"):
        stored.encode_queries(["rain"])
    with pytest.raises(InputError, match="no vector of query '9'"):
        StoredQueries.read(path, [one, Query("9", "rain")])
    with pytest.raises(InputError, match="has the text of another one"):
        StoredQueries.read(path, [one, Query("2", "wind")])

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from retrieval.beir_eval.catalogue import CatalogueDocuments, catalogued_query_ids, load_catalogued
from retrieval.errors import CollectionError, InputError, MissingExtraError


class Titled(NamedTuple):
    """A document as those of BEIR are."""

    doc_id: str
    text: str
    title: str


class Untitled(NamedTuple):
    """One of another shape, which says itself what its text is."""

    doc_id: str
    body: str

    def default_text(self) -> str:
        """Its text."""
        return self.body


class Source:
    """A data set of ir_datasets, as much of it as is used."""

    def __init__(self, docs: list[Any], queries: dict[str, str], qrels: list[tuple[str, str, int]] | None) -> None:
        self._docs, self._queries, self._qrels = docs, queries, qrels

    def has_docs(self) -> bool:
        """Whether it has documents."""
        return True

    def has_queries(self) -> bool:
        """Whether it has queries."""
        return True

    def has_qrels(self) -> bool:
        """Whether it has judgements."""
        return self._qrels is not None

    def docs_iter(self) -> Iterator[Any]:
        """Its documents."""
        return iter(self._docs)

    def queries_iter(self) -> Iterator[Any]:
        """Its queries."""
        return (SimpleNamespace(query_id=id_, text=text) for id_, text in self._queries.items())

    def qrels_iter(self) -> Iterator[Any]:
        """Its judgements."""
        return (SimpleNamespace(query_id=q, doc_id=d, relevance=grade) for q, d, grade in self._qrels or [])


@pytest.fixture(autouse=True)
def catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ir_datasets that holds a few sets and reaches no network."""
    documents = [Titled("a", "Solar wind.", "Aurora"), Untitled("b", "A storm.")]
    sets = {
        "beir/good/test": Source(documents, {"q": "wind", "unjudged": "storm"}, [("q", "a", 2), ("q", "b", 0)]),
        "beir/odd": Source(documents, {"q": "wind"}, [("q", "a", 1), ("nobody", "a", 1)]),
        "beir/good": Source(documents, {"q": "wind"}, None),
    }
    monkeypatch.setitem(sys.modules, "ir_datasets", SimpleNamespace(load=sets.__getitem__))


def test_a_collection_is_the_judged_queries_of_an_id() -> None:
    """Under the name that is given; its documents can be read again and again."""
    collection = load_catalogued("beir/good/test", "good")
    assert (collection.name, collection.split) == ("good", "beir/good/test")
    assert [query.id for query in collection.queries] == ["q"]
    assert collection.qrels == {"q": {"a": 2, "b": 0}}
    assert catalogued_query_ids("beir/good/test") == {"q", "unjudged"}
    documents = CatalogueDocuments("beir/good/test")
    assert [each.contents for each in documents] == ["Aurora Solar wind.", "A storm."]
    assert [each.id for each in documents] == ["a", "b"]


def test_what_does_not_fit_stops_or_is_left_out() -> None:
    """As in a folder."""
    with pytest.raises(CollectionError, match="1 judged query not in the queries file: nobody"):
        load_catalogued("beir/odd", "odd")
    assert load_catalogued("beir/odd", "odd", on_error="skip").problems


def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The id, the part that it lacks, or the package."""
    with pytest.raises(InputError, match="ir_datasets has no 'beir/none'"):
        load_catalogued("beir/none", "none")
    with pytest.raises(InputError, match="'beir/good' of ir_datasets has no qrels"):
        load_catalogued("beir/good", "good")
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(MissingExtraError, match="ir-datasets"):
        load_catalogued("beir/good/test", "good")

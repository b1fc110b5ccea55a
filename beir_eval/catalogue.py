"""Test collections of the catalogue ir_datasets, by their ids, as beir/scifact/test.

What is asked for is downloaded when it is first read, and kept where ir_datasets keeps it (IR_DATASETS_HOME).
"""

from collections.abc import Iterator
from typing import Any

from retrieval.beir_eval.datasets import Collection, Judgement, make_collection
from retrieval.errors import InputError, MissingExtraError
from retrieval.types import Document, Query

__all__ = ["CatalogueDocuments", "catalogued_query_ids", "load_catalogued"]

_NEEDED = ("docs", "queries", "qrels")


class CatalogueDocuments:
    """The documents of an id, from the first on whenever they are iterated."""

    def __init__(self, id_: str) -> None:
        self._source = _load(id_)

    def __iter__(self) -> Iterator[Document]:
        for record in self._source.docs_iter():
            yield Document(id=record.doc_id, title=getattr(record, "title", None) or "", text=_text(record))


def load_catalogued(id_: str, name: str, *, on_error: str = "stop") -> Collection:
    """Queries and judgements of an id.

    Raises:
        InputError: ir_datasets has no such id, or it lacks documents, queries or judgements.
        CollectionError: they do not fit together; see `load_collection`.
        MissingExtraError: ir_datasets is not installed.
    """
    source = _load(id_)
    queries = (Query(record.query_id, _text(record)) for record in source.queries_iter())
    judgements = (Judgement(record.query_id, record.doc_id, int(record.relevance)) for record in source.qrels_iter())
    return make_collection(name, id_, queries, judgements, id_, problems=[], on_error=on_error)


def catalogued_query_ids(id_: str) -> set[str]:
    """The ids of all queries of an id, judged or not; errors as above."""
    return {record.query_id for record in _load(id_).queries_iter()}


def _load(id_: str) -> Any:
    try:
        import ir_datasets
    except ImportError as error:
        raise MissingExtraError("ir-datasets", "datasets", f"the collection {id_!r}") from error
    try:
        source = ir_datasets.load(id_)
    except KeyError as error:
        raise InputError(f"ir_datasets has no {id_!r}", hint="see https://ir-datasets.com for its ids") from error
    if lacking := [part for part in _NEEDED if not getattr(source, f"has_{part}")()]:
        raise InputError(f"{id_!r} of ir_datasets has no {lacking[0]}", hint="name a part of it that has, as .../test")
    return source


def _text(record: Any) -> str:
    """The text of a query, or of a document that may have a title beside it."""
    text = record.text if hasattr(record, "text") else record.default_text()
    return str(text)

"""Fixtures for the tests of what is on disk."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from retrieval.index.documents.metadata import FieldCounts
from retrieval.index.documents.reader import DocumentReader
from retrieval.index.documents.store import StoreReader, StoreWriter, finish_store
from retrieval.index.storage.files import PlainFolder
from retrieval.types import Document

Store = Callable[[Path, list[Document]], DocumentReader]


@pytest.fixture(scope="session")
def store() -> Store:
    """Writes documents into a folder, and opens them."""
    return _write


def _write(folder: Path, documents: list[Document]) -> DocumentReader:
    with StoreWriter(folder) as writer:
        writer.add(documents)
    finish_store(folder)
    plain = PlainFolder(folder)
    counts = FieldCounts()
    for metadata in StoreReader(plain).metadata():
        counts.add(metadata)
    (folder / "fields.json").write_bytes(orjson.dumps(counts.content()))
    return DocumentReader([StoreReader(plain)], None, plain.open("fields.json"))

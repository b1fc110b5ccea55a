from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retrieval.errors import ArtifactDamagedError
from retrieval.index.documents import ids
from retrieval.index.documents import reader as reader_module
from retrieval.index.documents import store as store_module
from retrieval.index.documents.reader import DocumentReader
from retrieval.index.documents.store import StoreReader, StoreWriter, finish_store
from retrieval.index.storage.files import PlainFolder
from retrieval.types import Document

Store = Callable[[Path, list[Document]], DocumentReader]


def test_documents_come_back_as_they_were(store: Store, tmp_path: Path) -> None:
    """Any script, any JSON as metadata, ids with spaces and line ends."""
    documents = [
        Document(id="a b\nc", title="検索", text="Ünï \U0001f600", metadata={"n": [1, {"x": None}], "d": 1.5}),
        Document(id="-", text=""),
    ]
    reader = store(tmp_path, documents)
    assert list(reader) == documents
    assert reader.ids([1, 0, 1]) == ["-", "a b\nc", "-"]
    assert list(reader.stores[0].contents()) == ["検索 Ünï \U0001f600", ""]
    assert list(reader.stores[0].contents(1)) == [""]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 24])
def test_any_number_of_documents(count: int, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Around the size of a batch."""
    monkeypatch.setattr(store_module, "_ID_ROWS", 8)
    monkeypatch.setattr(store_module, "_TEXT_ROWS", 4)
    documents = [Document(id=str(i), text=f"text {i}") for i in range(count)]
    reader = store(tmp_path, documents)
    assert len(reader) == count
    assert list(reader) == documents
    assert list(reader.all_document_ids()) == [str(i) for i in range(count)]
    backwards = np.arange(count)[::-1]
    assert reader.ids(backwards) == [str(i) for i in backwards]
    with pytest.raises(IndexError):
        reader[count]


def test_long_documents_are_written_as_they_come(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is bounded by its characters too, and every document is found again."""
    monkeypatch.setattr(store_module, "_TEXT_BYTES", 100)
    documents = [Document(id=str(i), text="x" * length) for i, length in enumerate([10, 200, 50, 60, 0, 99, 1])]
    reader = store(tmp_path, documents)
    assert list(reader) == documents
    assert len(reader.stores[0].texts) == 4


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 20])
def test_a_writer_goes_on_where_it_was(
    kept: int, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written after the last sync is cut off, also where a file was left without its end."""
    monkeypatch.setattr(store_module, "_ID_ROWS", 8)
    monkeypatch.setattr(store_module, "_TEXT_ROWS", 4)
    documents = [Document(id=str(i), text=f"text {i}", metadata={"n": i}) for i in range(24)]
    with StoreWriter(tmp_path) as writer:
        writer.add(documents[:kept])
        marks = writer.sync()
        writer.add([Document(id=f"lost {i}", text="x") for i in range(30)])
    with (tmp_path / "ids.arrow").open("ab") as file:
        file.write(b"garbage")
    with StoreWriter(tmp_path, marks) as writer:
        writer.add(documents[kept:])
    finish_store(tmp_path)
    reader = StoreReader(PlainFolder(tmp_path))
    assert [reader.document(row) for row in range(reader.rows)] == documents


def test_documents_are_found_by_their_ids(store: Store, tmp_path: Path) -> None:
    """Each as often as it is asked for; what is not there is not found."""
    reader = store(tmp_path, [Document(id=str(i), text="") for i in range(100)])
    places, ordinals = reader.find(["7", "none", "99", "7", ""])
    assert sorted(zip(places.tolist(), ordinals.tolist(), strict=True)) == [(0, 7), (2, 99), (3, 7)]


def test_ids_that_share_a_hash(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told apart by the ids themselves."""
    for module in (ids, reader_module):
        monkeypatch.setattr(module, "hashes_of", lambda names: np.zeros(len(list(names)), dtype=np.uint64))
    reader = store(tmp_path, [Document(id=name, text="") for name in "abc"])
    assert [array.tolist() for array in reader.find(["b", "x"])] == [[0], [1]]


def test_ordinals_that_are_no_documents(store: Store, tmp_path: Path) -> None:
    """As the cells after a query's hits; the message says where its hits are."""
    reader = store(tmp_path, [Document(id="a", text="")])
    for wrong in ([-1], [1], [[0]]):
        with pytest.raises(IndexError, match=r"see Hits\.row"):
            reader.ids(np.array(wrong))


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"not an arrow file at all"])
@pytest.mark.parametrize("name", ["ids.arrow", "texts.arrow"])
def test_a_file_that_is_no_store(content: bytes, name: str, store: Store, tmp_path: Path) -> None:
    """An error that names the file."""
    store(tmp_path, [])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactDamagedError, match=name):
        StoreReader(PlainFolder(tmp_path))


def test_a_store_is_a_stream_that_arrow_reads(store: Store, tmp_path: Path) -> None:
    """Without this package."""
    store(tmp_path, [Document(id=str(i), text=f"text {i}") for i in range(1000)])
    with pa.ipc.open_stream(tmp_path / "texts.arrow") as stream:
        assert stream.read_all().column("text").to_pylist() == [f"text {i}" for i in range(1000)]

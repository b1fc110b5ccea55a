from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import ArtifactDamagedError
from retrieval.index import documents as store
from retrieval.index.documents import DocumentReader, DocumentWriter
from retrieval.types import Document


def write(folder: Path, documents: list[Document]) -> DocumentReader:
    """Write and open."""
    with DocumentWriter(folder) as writer:
        writer.add(documents)
    return DocumentReader(folder)


def test_documents_come_back_as_they_were(tmp_path: Path) -> None:
    """Any script, any JSON as metadata, ids with spaces and line ends."""
    documents = [
        Document(id="a b\nc", title="検索", text="Ünï \U0001f600", metadata={"n": [1, {"x": None}], "d": 1.5}),
        Document(id="-", text=""),
    ]
    reader = write(tmp_path, documents)
    assert list(reader) == documents
    assert reader.ids([1, 0, 1]) == ["-", "a b\nc", "-"]
    assert list(reader.contents()) == ["検索 Ünï \U0001f600", ""]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 24])
def test_any_number_of_documents(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Around the size of a batch."""
    monkeypatch.setattr(store, "_ROWS", 8)
    documents = [Document(id=str(i), text=f"text {i}") for i in range(count)]
    reader = write(tmp_path, documents)
    assert len(reader) == count
    assert list(reader) == documents
    assert list(reader.all_document_ids()) == [str(i) for i in range(count)]
    backwards = np.arange(count)[::-1]
    assert reader.ids(backwards) == [str(i) for i in backwards]
    with pytest.raises(IndexError):
        reader[count]


def test_long_documents_are_written_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is bounded by its characters too, and every document is found again."""
    monkeypatch.setattr(store, "_CHARACTERS", 100)
    documents = [Document(id=str(i), text="x" * length) for i, length in enumerate([10, 200, 50, 60, 0, 99, 1])]
    reader = write(tmp_path, documents)
    assert list(reader) == documents
    assert len(np.load(tmp_path / "batch_starts.npy")) == 3 + 1


def test_ordinals_that_are_no_documents(tmp_path: Path) -> None:
    """As the cells after a query's hits; the message says where its hits are."""
    reader = write(tmp_path, [Document(id="a", text="")])
    for wrong in ([-1], [1], [[0]]):
        with pytest.raises(IndexError, match=r"see Hits\.row"):
            reader.ids(np.array(wrong))


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"not an arrow file at all"])
def test_a_file_that_is_no_store(content: bytes, tmp_path: Path) -> None:
    """An error that names the file."""
    write(tmp_path, [])
    (tmp_path / "documents.arrow").write_bytes(content)
    with pytest.raises(ArtifactDamagedError, match=r"documents\.arrow"):
        DocumentReader(tmp_path)

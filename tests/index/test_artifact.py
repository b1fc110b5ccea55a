import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import (
    ArtifactDamagedError,
    ArtifactExistsError,
    ArtifactLockedError,
    ArtifactMissingError,
    ArtifactVersionError,
    CorpusError,
)
from retrieval.index.manifest import FORMAT, checksum_of
from retrieval.indexing import Index
from retrieval.pipeline import Retriever
from retrieval.types import Document


@pytest.fixture
def index(documents: list[Document], tmp_path: Path) -> Index:
    """A lexical index of the six documents."""
    return Index.build(documents, tmp_path / "index")


def edit_manifest(index: Index, **fields: object) -> None:
    """Change fields of the manifest on disk."""
    path = index.path / "manifest.json"
    content = {**json.loads(path.read_text()), **fields}
    del content["checksum"]
    path.write_text(json.dumps({**content, "checksum": checksum_of(content)}))


def files(index: Index) -> list[Path]:
    """Every file that the manifest names."""
    return [index.path / name for name in index.manifest.files]


def test_the_manifest_tells_how_the_index_was_made(index: Index) -> None:
    """Settings, fingerprint, versions and a checksum for every file, and no file that it does not name."""
    manifest = json.loads((index.path / "manifest.json").read_text())
    assert manifest["format"] == FORMAT
    assert manifest["documents"] == 6
    assert manifest["lexical"]["bm25"] == {"method": "lucene", "k1": 1.5, "b": 0.75, "delta": 0.5}
    assert manifest["lexical"]["analyzer"]["stemmer"] == "english"
    assert manifest["fingerprint"].startswith("sum128:")
    assert {"python", "numpy", "bm25s"} <= set(manifest["provenance"]["versions"])
    there = {path for path in index.path.rglob("*") if path.is_file()}
    assert there == {*files(index), index.path / "manifest.json", index.path / ".lock"}


def test_nothing_is_pickled(index: Index) -> None:
    """Arrays are plain .npy files, which load without pickle."""
    for file in files(index):
        assert file.suffix in (".npy", ".arrow", ".json", ".crc32")
        if file.suffix == ".npy":
            np.load(file, allow_pickle=False)


def test_the_fingerprint_is_that_of_the_documents(documents: list[Document], tmp_path: Path) -> None:
    """It does not depend on the settings, and any change of a document changes it."""
    one = Index.build(documents, tmp_path / "one").manifest.fingerprint
    changed = [Document(id=d.id, text=d.text, title=d.title, metadata={"year": 1}) for d in documents]
    assert Index.build(iter(documents), tmp_path / "two").manifest.fingerprint == one
    assert Index.build(changed, tmp_path / "three").manifest.fingerprint != one


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    """Absent or complete: the folder was not there, and is not there."""
    with pytest.raises(CorpusError):
        Index.build([{"_id": "a", "text": "wind"}, {"_id": "a", "text": "sky"}], tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_leaves_the_index_that_was(index: Index) -> None:
    """It opens, its files are whole, and it answers."""
    with pytest.raises(CorpusError):
        Index.build([{"_id": "a", "text": 5}], index.path, overwrite=True)
    again = Index.open(index.path)
    assert again.problems() == []
    assert [hit.id for hit in Retriever(again).search("oxygen")] == ["c"]


def test_an_index_is_replaced_only_if_that_is_asked_for(index: Index) -> None:
    """A reader that has the old one open keeps it."""
    with pytest.raises(ArtifactExistsError, match="already holds an index") as error:
        Index.build([], index.path)
    assert error.value.hint == "replace it with --overwrite"
    replaced = Index.build([{"_id": "z", "text": "oxygen"}], index.path, overwrite=True)
    assert replaced.manifest.generation == 2
    assert [hit.id for hit in Retriever(replaced).search("oxygen")] == ["z"]
    assert [hit.id for hit in Retriever(index).search("oxygen")] == ["c"]
    assert sorted(path.name for path in index.path.iterdir()) == [".lock", "generation-2", "manifest.json", "segment-2"]


def test_a_damaged_index_can_be_replaced(index: Index) -> None:
    """Overwriting does not need to read what is there."""
    (index.path / "manifest.json").write_text("{")
    assert len(Index.build([{"_id": "z", "text": "oxygen"}], index.path, overwrite=True)) == 1


def test_what_an_interrupted_build_left_is_swept(documents: list[Document], tmp_path: Path) -> None:
    """A folder without a manifest is no index; the next build takes its place."""
    (tmp_path / "index" / "generation-1").mkdir(parents=True)
    (tmp_path / "index" / ".lock").touch()
    (tmp_path / "index" / "generation-1" / "fields.json").write_text("half")
    (tmp_path / "index" / "segment-7").mkdir()
    with pytest.raises(ArtifactMissingError):
        Index.open(tmp_path / "index")
    assert len(Index.build(documents, tmp_path / "index")) == len(documents)
    there = sorted(path.name for path in (tmp_path / "index").iterdir() if path.is_dir())
    assert there == ["generation-1", "segment-1"]


def test_one_writer_at_a_time(documents: list[Document], tmp_path: Path) -> None:
    """The second is told who the first is, and breaks nothing; when the first has died, its lock is free."""
    path = tmp_path / "index"
    code = (
        "import sys, time, retrieval\n"
        "def corpus():\n"
        "    yield {'_id': 'a', 'text': 'wind'}\n"
        "    yield from ({'_id': str(i), 'text': 'sky'} for i in range(5000))\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        f"retrieval.Index.build(corpus(), {str(path)!r})\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with writer:
        assert writer.stdout
        assert writer.stdout.readline() == "writing\n"
        with pytest.raises(ArtifactLockedError, match=f"is being written by process {writer.pid} on"):
            Index.build(documents, path)
        assert (path / "segment-1").is_dir()
        writer.kill()
    assert len(Index.build(documents, path)) == len(documents)


def test_a_reader_keeps_what_it_opened(documents: list[Document], tmp_path: Path) -> None:
    """Also what it has not read yet when a writer removes the files: texts, filters, postings."""
    old = Index.build(documents, tmp_path / "index")
    Index.build([{"_id": "z", "text": "oxygen", "year": 5}], tmp_path / "index", overwrite=True)
    assert [hit.text for hit in Retriever(old).search("oxygen")] == ["Oxygen glows green, nitrogen glows red."]
    assert [hit.id for hit in Retriever(old).search("sky", filter={"year": 2001})] == ["a"]


def test_opening_while_indexes_are_replaced(tmp_path: Path) -> None:
    """A reader in a loop beside a writer in a loop always finds one whole index."""
    path = tmp_path / "index"
    Index.build([{"_id": "0", "text": "wind"}], path)
    code = (
        "import retrieval\n"
        "for i in range(1, 40):\n"
        f"    retrieval.Index.build([{{'_id': str(i), 'text': 'wind'}}], {str(path)!r}, overwrite=True)\n"
    )
    seen = set()
    with subprocess.Popen([sys.executable, "-c", code]) as writer:
        while writer.poll() is None:
            (hit,) = Retriever(path).search("wind")
            seen.add(hit.id)
    assert writer.returncode == 0
    assert len(seen) > 1


@pytest.mark.parametrize("name", ["thesis.tex", "generation-7/thesis.tex", ".lock2/thesis.tex", "manifest.json"])
def test_a_folder_with_other_things_is_left_alone(name: str, tmp_path: Path) -> None:
    """Also when overwriting is allowed, and when a name looks like one of ours."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("years of work")
    with pytest.raises(ArtifactExistsError, match="is there and is not just an index"):
        Index.build([], tmp_path, overwrite=True)
    assert (tmp_path / name).read_text() == "years of work"


def test_no_index(tmp_path: Path) -> None:
    """The message says how to make one."""
    with pytest.raises(ArtifactMissingError, match="no index at") as error:
        Index.open(tmp_path / "nothing")
    assert "retrieval index build" in str(error.value.hint)


def test_a_newer_format_is_named(index: Index) -> None:
    """An older version does not guess at what it cannot know."""
    edit_manifest(index, format=99, surprise={})
    with pytest.raises(ArtifactVersionError, match=f"written in format 99, this version reads format {FORMAT}"):
        Index.open(index.path)


def test_an_unknown_component_is_named(index: Index) -> None:
    """In a format that this version does read."""
    edit_manifest(index, quantum={})
    with pytest.raises(ArtifactVersionError, match=r"manifest.json: has a part 'quantum', which this version does not"):
        Index.open(index.path)


def test_an_older_format_is_named(index: Index) -> None:
    """There is no way to read it but to build the index again."""
    edit_manifest(index, format=1)
    with pytest.raises(ArtifactVersionError, match="written in format 1") as error:
        Index.open(index.path)
    assert error.value.hint == "build the index again"


def test_an_altered_manifest_is_named(index: Index) -> None:
    """Whatever was altered in it: here a word that would be taken for a stop word."""
    path = index.path / "manifest.json"
    path.write_text(path.read_text().replace('"the"', '"sun"'))
    with pytest.raises(ArtifactDamagedError, match=r"manifest\.json: is not as it was written"):
        Index.open(index.path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": "one"}', f'{{"format": {FORMAT}}}'])
def test_a_manifest_that_is_none(content: str, index: Index) -> None:
    """An error that names the file."""
    (index.path / "manifest.json").write_text(content)
    with pytest.raises(ArtifactDamagedError, match=r"manifest\.json"):
        Index.open(index.path)


def test_a_manifest_cannot_lead_out_of_the_index(index: Index) -> None:
    """The names of its folders are of one form, and files are opened in those alone."""
    edit_manifest(index, segments=[{"name": "../../elsewhere", "rows": 6}])
    with pytest.raises(ArtifactDamagedError, match=r"segments\.0\.name"):
        Index.open(index.path)


def test_a_manifest_cannot_name_files_elsewhere(index: Index) -> None:
    """They are not even looked at."""
    entry = {"bytes": 1, "sha256": "0"}
    for name in ("../../etc/passwd", "/etc/passwd", "segment-1/../../x.npy", "other/x.npy"):
        edit_manifest(index, files={name: entry})
        with pytest.raises(ArtifactDamagedError, match=r"manifest\.json: files"):
            Index.open(index.path)


def test_each_missing_or_cut_file_is_named(index: Index, tmp_path: Path) -> None:
    """Opening checks that every file is there and has its size."""
    for number, file in enumerate(files(index)):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(index.path, copy)
        broken = copy / file.relative_to(index.path)
        broken.write_bytes(broken.read_bytes()[:-1])
        with pytest.raises(ArtifactDamagedError, match=f"{broken.name}: has .* bytes, expected"):
            Index.open(copy)
        broken.unlink()
        with pytest.raises(ArtifactDamagedError, match=f"{broken.name}: is missing"):
            Index.open(copy)


def test_an_altered_byte_is_found_by_its_checksum(index: Index) -> None:
    """In whichever file."""
    for file in files(index):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    assert len(index.problems()) == len(files(index))

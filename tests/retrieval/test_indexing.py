import signal
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.corpus import Columns, ReadReport
from retrieval.errors import CorpusError, InputError, ModelError
from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.indexing import Index, LexicalOptions
from retrieval.pipeline import Retriever
from retrieval.types import Document


def test_progress_is_told_to_the_end(documents: list[Document], tiny_model: Path, tmp_path: Path) -> None:
    """Documents read, then documents encoded with their total, empty ones included."""
    told: list[tuple[str, int, int | None]] = []
    Index.build(documents, tmp_path / "index", dense=str(tiny_model), progress=lambda *now: told.append(now))
    assert told[0] == ("read", 0, None)
    assert ("read", 6, 6) in told
    assert told[-1] == ("encode", 6, 6)


def test_a_bad_record_stops_the_build_before_anything_is_encoded(tiny_model: Path, tmp_path: Path) -> None:
    """Hours of encoding are not lost to the last line."""
    told: list[str] = []
    records = [{"_id": str(i), "text": "wind"} for i in range(20)] + [{"_id": "0", "text": "again"}]
    with pytest.raises(CorpusError, match="documents:21: duplicate id '0'"):
        Index.build(records, tmp_path / "index", dense=str(tiny_model), progress=lambda stage, *_: told.append(stage))
    assert "encode" not in told


def test_a_wrong_model_stops_the_build_before_anything_is_read(tmp_path: Path) -> None:
    """And leaves nothing."""
    records = iter([{"_id": "a", "text": "wind"}])
    with pytest.raises(ModelError):
        Index.build(records, tmp_path / "index", dense="./nowhere")
    assert next(records)
    assert not (tmp_path / "index").exists()


def test_an_index_needs_a_part(tmp_path: Path) -> None:
    """Neither lexical nor dense is nothing."""
    with pytest.raises(InputError, match="an index needs a lexical, sparse or dense part"):
        Index.build([], tmp_path / "index", lexical=False)


def test_records_can_be_skipped_and_counted(tmp_path: Path) -> None:
    """The report holds how many, and the first reasons."""
    report = ReadReport()
    records = [{"_id": "a", "text": "wind"}, {"text": "no id"}, {"_id": "a", "text": "again"}]
    assert len(Index.build(records, tmp_path / "index", on_error="skip", report=report)) == 1
    assert (report.read, report.skipped, len(report.examples)) == (1, 2, 2)


def test_fields_of_other_names(tmp_path: Path) -> None:
    """Ids, titles and texts can stand anywhere."""
    columns = Columns(id=("doi",), title=("heading",), text=("abstract",))
    index = Index.build(
        [{"doi": "10/x", "heading": "Wind", "abstract": "blows", "id": 7}], tmp_path / "index", columns=columns
    )
    assert index.documents[0] == Document(id="10/x", title="Wind", text="blows", metadata={"id": 7})


def test_a_title_is_searched_with_its_text(tmp_path: Path) -> None:
    """As BEIR joins them."""
    index = Index.build([Document(id="a", title="Aurora", text="glows")], tmp_path / "index")
    assert [hit.id for hit in Retriever(index).search("aurora")] == ["a"]


def test_a_corpus_without_spaces(tmp_path: Path) -> None:
    """Character pairs find what words cannot."""
    documents = [Document(id="ir", text="信息检索系统"), Document(id="db", text="数据库系统")]
    options = LexicalOptions(analyzer=AnalyzerSettings.for_language("chinese"))
    index = Index.build(documents, tmp_path / "index", lexical=options)
    assert [hit.id for hit in Retriever(index).search("检索")] == ["ir"]


def test_a_build_that_is_killed_leaves_no_index(tmp_path: Path) -> None:
    """And the next one succeeds in the same place."""
    code = (
        "import os, signal, retrieval\n"
        "def corpus():\n"
        "    yield {'_id': 'a', 'text': 'wind'}\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"retrieval.Index.build(corpus(), {str(tmp_path / 'index')!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "index" / "manifest.json").exists()
    assert len(Index.build([{"_id": "a", "text": "wind"}], tmp_path / "index")) == 1


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """Ten times the long documents take the same memory, but for what is kept of each."""
    code = (
        "import resource, sys, retrieval\n"
        "def corpus(n):\n"
        "    for i in range(n):\n"
        "        yield {'_id': str(i), 'text': ' '.join(f'w{j % 500}' for j in range(50_000))}\n"
        "retrieval.Index.build(corpus(int(sys.argv[1])), sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    peaks = []
    for n in (30, 300):
        command = [sys.executable, "-c", code, str(n), str(tmp_path / str(n))]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    corpus = 300 * 240_000 >> 20
    assert peaks[1] - peaks[0] < corpus / 2

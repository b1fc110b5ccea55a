"""The demo's corpora and its test collection."""

import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.beir_eval.datasets import check_fit, load_collection
from retrieval.corpus import read_documents
from retrieval.indexing import Index
from retrieval.pipeline import Retriever

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What extract.py makes of this Python."""
    out = tmp_path_factory.mktemp("python-docs")
    script = ROOT / "examples" / "python_docs" / "extract.py"
    command = [sys.executable, script, out, "--limit", "50", "--packages", "rich", "typer"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_every_answer_is_in_the_corpus(corpora: Path) -> None:
    """At least sixty questions, none twice, and no judgement of a name that is not there."""
    collection = load_collection(corpora / "stdlib")
    ids = [document.id for document in read_documents(corpora / "stdlib")]
    assert collection.problems == []
    assert check_fit(collection, ids).unknown == []
    assert len({query.text for query in collection.queries}) == len(collection.queries) >= 60
    assert len(set(ids)) == len(ids)


def test_no_question_names_its_answer(corpora: Path) -> None:
    """That would be a test of spelling."""
    collection = load_collection(corpora / "stdlib")
    for query in collection.queries:
        dotted = {name.lower() for name in collection.qrels[query.id] if "." in name}
        assert not dotted & set(query.text.lower().split())


def test_both_corpora_become_one_index(corpora: Path, tmp_path: Path) -> None:
    """Of documents with their module and kind, that can be asked."""
    index = Index.build([corpora / "stdlib" / "corpus.jsonl", corpora / "packages.jsonl"], tmp_path / "index")
    hits = Retriever(index).search("merge several sorted inputs into one", k=5)
    merge = next(hit for hit in hits if hit.id == "heapq.merge")
    assert merge.metadata == {"module": "heapq", "kind": "function"}
    assert {document.metadata.get("package") for document in index.documents} == {None, "rich", "typer"}

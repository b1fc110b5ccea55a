from pathlib import Path

import pytest

from retrieval.evaluating.costs import BuildTime, Stopwatch, standing_cost
from retrieval.indexing import Index
from retrieval.pipeline import Retriever
from retrieval.types import Document, Query
from retrieval.vectors import StoredQueries, VectorFile


def test_a_build_s_time_is_that_of_the_parts_asked_for() -> None:
    """The encoding for others is left out."""
    built = BuildTime(seconds=10, encoding={"dense": 6, "sparse": 3})
    assert built.of(("lexical",)) == {"build_seconds": 1, "encode_seconds": 0}
    assert built.of(("lexical", "dense")) == {"build_seconds": 7, "encode_seconds": 6}


def test_a_stopwatch_tells_on_and_knows_encoding_from_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the first and the last word of a stage."""
    clock = iter([0.0, 1.0, 3.0, 8.0, 9.0])
    monkeypatch.setattr("retrieval.evaluating.costs.time.perf_counter", lambda: next(clock))
    told: list[tuple[str, int, int | None]] = []
    watch = Stopwatch(lambda *stage: told.append(stage))
    for stage, done in (("read", 5), ("encode", 0), ("encode", 5)):
        watch(stage, done, 5)
    assert told == [("read", 5, 5), ("encode", 0, 5), ("encode", 5, 5)]
    assert watch.read() == BuildTime(seconds=9.0, encoding={"dense": 5.0})


def test_the_cost_of_a_part_is_its_own(tmp_path: Path, documents: list[Document], tiny_model: Path) -> None:
    """Bytes of its files and parameters of its model; both parts and the documents are the whole index."""
    index = Index.build(documents, tmp_path, dense=str(tiny_model))
    found = {}
    for using in ("lexical", "dense", "hybrid"):
        retriever = Retriever(index, using=using, device="cpu")
        retriever.search("solar wind")
        found[using] = standing_cost(retriever, BuildTime(seconds=3, encoding={"dense": 2}))
    assert (found["lexical"]["parameters"], found["lexical"]["device"]) == (0, "cpu")
    assert found["dense"]["parameters"] == found["hybrid"]["parameters"] > 1000
    assert found["hybrid"]["index_bytes"] == found["lexical"]["index_bytes"] + found["dense"]["index_bytes"]
    assert found["hybrid"]["index_bytes"] < index.bytes
    assert [found[using]["build_seconds"] for using in ("lexical", "dense")] == [1, 3]


def test_what_nobody_saw_is_not_told(tmp_path: Path, documents: list[Document]) -> None:
    """Neither the time of a build before, nor of an encoding elsewhere."""
    lines = [f'{{"id": "{document.id}", "vector": {{"sun": 1}}}}\n' for document in documents]
    (tmp_path / "vectors.jsonl").write_text("".join(lines))
    index = Index.build(documents, tmp_path / "index", sparse=VectorFile(tmp_path / "vectors.jsonl"))
    queries = StoredQueries({"q": {"sun": 1}}, [Query("q", "sun")], "queries")
    cost = standing_cost(Retriever(index, using="sparse", sparse_encoder=queries), None)
    assert (cost["build_seconds"], cost["encode_seconds"], cost["stored_queries"]) == (None, None, True)
    seen = standing_cost(Retriever(index, using="sparse", sparse_encoder=queries), BuildTime(seconds=2))
    assert (seen["build_seconds"], seen["encode_seconds"]) == (2, None)

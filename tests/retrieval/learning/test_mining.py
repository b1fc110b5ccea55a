"""Indexes and runs become a mined file, and its positives' scores are those of the search."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.beir_eval.datasets import load_collection
from retrieval.chunking import ByWords
from retrieval.errors import CollectionError
from retrieval.fusion import MinMax
from retrieval.indexing import Index
from retrieval.learning.mining import IndexSource, MiningReport, RunSource, Source, mine
from retrieval.pipeline import Retriever
from retrieval.training.mining import MiningSettings
from retrieval.training.negatives import read_mined
from retrieval.types import Document, Query

CORPUS = [
    Document("a", "Solar wind makes the sky glow."),
    Document("b", "A magnetic storm follows the solar wind.", title="Storms"),
    Document("c", "Oxygen glows green, nitrogen glows red."),
    Document("d", "Wind over the sea."),
    Document("e", "An electron meets an ion in the plasma."),
    Document("f", "Sky and wind and sea."),
]
TOP = MiningSettings(sample="top")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two training queries over six documents, and one of them whose positive does not match."""
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    records = [{"_id": d.id, "title": d.title, "text": d.text} for d in CORPUS]
    queries = [{"_id": "q1", "text": "solar wind"}, {"_id": "q2", "text": "sky wind"}, {"_id": "t", "text": "plasma"}]
    for name, lines in (("corpus", records), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "qrels" / "train.tsv").write_text("q1\tb\t1\nq1\td\t0\nq2\tc\t1\n")
    (folder / "qrels" / "test.tsv").write_text("t\te\t1\n")
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """A lexical one."""
    return Index.build(CORPUS, tmp_path / "index")


def run_of(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line} tag\n" for line in lines))
    return path


def mined(data: Path, out: Path, *sources: Source, settings: MiningSettings = TOP, **options: Any) -> MiningReport:
    return mine(data, load_collection(data, "train"), sources, settings, out, **options)


def test_an_index_is_mined_into_a_file(data: Path, index: Index, tmp_path: Path) -> None:
    """Exactly this form: no header, judged ones named, hits with the ranks and scores of the search."""
    report = mined(data, tmp_path / "out", IndexSource(Retriever(index, using="lexical")))
    lines = [json.loads(line) for line in (tmp_path / "out" / "negatives.jsonl").read_text().splitlines()]
    hits = {hit.id: hit for hit in Retriever(index).search("solar wind")}
    assert [line["query_id"] for line in lines] == ["q1", "q2"]
    assert lines[0] == {
        "query_id": "q1",
        "negatives": [
            {
                "id": id_,
                "source": source,
                "rank": hits[id_].rank,
                "score": pytest.approx(hits[id_].score, rel=1e-5),
                "weight": 1.0,
            }
            for id_, source in (("d", "judged"), ("a", "lexical"), ("f", "lexical"))
        ],
    }
    assert report.queries["mined"] == 2
    assert report.negatives == sum(len(line["negatives"]) for line in lines)
    assert sum(report.candidates.values()) == 4 + 4
    told = json.loads((tmp_path / "out" / "mining.json").read_text())
    assert told["candidates"] == report.candidates
    assert told["settings"]["last"] == 100
    assert (tmp_path / "out" / "audit.tsv").read_text().startswith("outcome\tquery_id\t")


def test_two_runs_of_one_command_write_the_same(data: Path, index: Index, tmp_path: Path) -> None:
    """Byte by byte, by the seed."""
    for name in ("1", "2"):
        mined(data, tmp_path / name, IndexSource(Retriever(index)), settings=MiningSettings(count=1))
    for name in ("negatives.jsonl", "audit.tsv", "mining.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize("using", ["lexical", "dense"])
def test_the_score_of_a_positive_far_down_is_found(using: str, tiny_model: Path, tmp_path: Path) -> None:
    """By a search among the positives alone, with the score that a search of all gives it."""
    retriever = Retriever(Index.build(CORPUS, tmp_path / "index", dense=str(tiny_model)), using=using)
    queries = [Query("q1", "solar wind"), Query("q2", "wind"), Query("q3", "sea")]
    deep = retriever.search_batch([query.text for query in queries], 6)
    last = [retriever.ids(ordinals[-1:])[0] for ordinals, _ in deep.rows()]
    rankings = IndexSource(retriever).rankings(queries, [[last[0]], [last[1], "unknown"], []], 1)
    assert [len(ranking.hits) for ranking in rankings] == [1, 1, 1]
    for i in range(2):
        assert rankings[i].positives == {last[i]: pytest.approx(float(deep.row(i)[1][-1]), rel=1e-5)}
        assert rankings[i].best == (last[i], rankings[i].positives[last[i]])
    assert rankings[2].best is None


def test_a_positive_without_a_word_of_the_query_has_no_score(data: Path, index: Index, tmp_path: Path) -> None:
    """Its query keeps its candidates, and is counted; the other's margin holds."""
    settings = MiningSettings(sample="top", relative_margin=0.9)
    report = mined(data, tmp_path / "out", IndexSource(Retriever(index)), settings=settings)
    assert report.queries["without positive score"] == 1
    lists = read_mined(tmp_path / "out" / "negatives.jsonl")
    best = {hit.id: hit.score for hit in Retriever(index).search("solar wind")}
    assert {item.id for item in lists["q1"].negatives} == {
        id_ for id_, score in best.items() if id_ == "d" or score < 0.9 * best["b"]
    }
    assert {item.id for item in lists["q2"].negatives} == {"a", "b", "d", "f"}


def test_fused_search_knows_the_positives_that_fusion_sees(tiny_model: Path, tmp_path: Path) -> None:
    """Deeper than candidates are taken, and nothing by another search, whose scores would be others."""
    index = Index.build(CORPUS, tmp_path / "index", dense=str(tiny_model))
    retriever = Retriever(index, using="hybrid")
    found = retriever.search_batch(["wind"], 6)
    (ranking,) = IndexSource(retriever).rankings([Query("q", "wind")], [["c"]], 2)
    scores = dict(zip(retriever.ids(found.row(0)[0]), found.row(0)[1].tolist(), strict=True))
    assert len(ranking.hits) == 2
    assert ranking.positives == {"c": scores["c"]}
    shallow = IndexSource(Retriever(index, using="hybrid", fusion=MinMax(depth=1)))
    assert shallow.rankings([Query("q", "wind")], [["c"]], 1)[0].positives == {}


def test_passages_are_mined_as_documents(data: Path, tmp_path: Path) -> None:
    """Each document once, by its best passage; the corpus gives the whole texts."""
    index = Index.build(CORPUS, tmp_path / "index", chunking=ByWords(size=3, overlap=1))
    mined(data, tmp_path / "out", IndexSource(Retriever(index, using="lexical", by_document=True)))
    lists = read_mined(tmp_path / "out" / "negatives.jsonl")
    assert {item.id for item in lists["q1"].negatives} == {"a", "d", "f"}


def test_runs_and_indexes_are_mined_together(data: Path, index: Index, tmp_path: Path) -> None:
    """Sources of one name are numbered; ranks of a run are by its scores; other queries of it are nothing."""
    first = run_of(tmp_path / "run.trec", "q1 Q0 e 1 1", "q1 Q0 b 2 3", "q1 Q0 f 3 2", "t Q0 zzz 1 9")
    second = run_of(tmp_path / "run.txt", "q1 Q0 c 1 1")
    ids = ["q1", "q2"]
    settings = MiningSettings(sample="top", count=1)
    report = mined(data, tmp_path / "out", RunSource(first, ids), RunSource(second, ids), settings=settings)
    assert report.sources == ["run", "run-2"]
    lists = read_mined(tmp_path / "out" / "negatives.jsonl")
    assert [(item.id, item.source, item.rank) for item in lists["q1"].negatives] == [("c", "run-2", 1), ("f", "run", 2)]
    assert lists["q2"].negatives == []
    assert report.queries["without candidates"] == 1


def test_documents_that_the_corpus_lacks_are_an_error_or_left_out(data: Path, tmp_path: Path) -> None:
    """Named with source and query; a file that was there stays."""
    source = RunSource(run_of(tmp_path / "run.trec", "q1 Q0 zzz 1 9", "q1 Q0 a 2 8"), ["q1"])
    out = tmp_path / "out"
    out.mkdir()
    (out / "negatives.jsonl").write_text("before")
    with pytest.raises(CollectionError, match="run: query q1: document zzz is not in the corpus"):
        mined(data, out, source)
    assert [path.name for path in out.iterdir()] == ["negatives.jsonl"]
    assert (out / "negatives.jsonl").read_text() == "before"
    report = mined(data, out, source, on_error="skip")
    assert report.unknown == 1
    assert [(item.id, item.rank) for item in read_mined(out / "negatives.jsonl")["q1"].negatives] == [("a", 2)]


def test_a_run_that_cannot_serve_is_refused(tmp_path: Path) -> None:
    """Without any of the queries, or with scores that are no numbers."""
    with pytest.raises(CollectionError, match=r"run\.trec: holds no hit of any of the queries"):
        RunSource(run_of(tmp_path / "run.trec", "t Q0 a 1 1"), ["q1"])
    with pytest.raises(CollectionError, match=r"run\.trec:1: the score nan"):
        RunSource(run_of(tmp_path / "run.trec", "q1 Q0 a 1 nan"), ["q1"])


def test_a_cross_encoder_reads_the_texts_of_query_and_document(data: Path, index: Index, tmp_path: Path) -> None:
    """Title and text, of candidates that nobody judged; its pseudo-positives are written."""
    read: list[tuple[str, str]] = []

    def scores(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        read.extend(pairs)
        return np.array([5.0 if "glow" in text else -5.0 for _, text in pairs], dtype=np.float32)

    report = mined(data, tmp_path / "out", IndexSource(Retriever(index)), scorer=scores)
    assert ("sky wind", "Storms A magnetic storm follows the solar wind.") in read
    assert not [pair for pair in read if pair[0] == "solar wind" and pair[1].startswith(("Storms", "Wind over"))]
    lists = read_mined(tmp_path / "out" / "negatives.jsonl")
    assert [(item.id, item.score) for item in lists["q1"].positives] == [("a", 0.993307)]
    assert {item.id for item in lists["q2"].negatives} == {"b", "d", "f"}
    assert report.positives == 2


def test_progress_is_told_in_queries(data: Path, index: Index, tmp_path: Path) -> None:
    """Up to all of them."""
    told: list[tuple[str, int, int | None]] = []
    mined(data, tmp_path / "out", IndexSource(Retriever(index)), progress=lambda *news: told.append(news))
    assert told[-1] == ("mine", 2, 2)


def test_a_judged_document_that_the_corpus_lacks_is_noted(data: Path, index: Index, tmp_path: Path) -> None:
    """And a query with no other positive is left out."""
    (data / "qrels" / "train.tsv").write_text("q1\tb\t1\nq1\tgone\t1\nq2\tgone\t1\n")
    report = mined(data, tmp_path / "out", IndexSource(Retriever(index)))
    assert report.notes == ["judged documents that the corpus lacks: 1, as gone"]
    assert report.queries["without positive"] == 1
    assert set(read_mined(tmp_path / "out" / "negatives.jsonl")) == {"q1"}


def test_many_documents_are_found_again_by_id(data: Path, tmp_path: Path) -> None:
    """Ids in any script, texts of any length, in any order."""
    with (data / "corpus.jsonl").open("a", encoding="utf-8") as file:
        for number in range(3000):
            text = f"x{number} {'long ' * (number % 50)}"
            file.write(json.dumps({"_id": f"x{number}é", "text": text}) + "\n")
    run = run_of(tmp_path / "run.trec", *(f"q1 Q0 x{number}é {number} {-number}" for number in range(1, 3000, 7)))
    seen: dict[str, str] = {}

    def scores(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        seen.update({text.split()[0]: text for _, text in pairs})
        return np.full(len(pairs), -9.0, dtype=np.float32)

    mined(data, tmp_path / "out", RunSource(run, ["q1"]), settings=MiningSettings(last=1000), scorer=scores)
    assert len(seen) == len(range(1, 3000, 7))
    assert all(text == f"{word} {'long ' * (int(word[1:]) % 50)}".strip() for word, text in seen.items())

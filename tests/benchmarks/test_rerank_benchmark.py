"""The reranking benchmark runs, on a tiny model beside sentence-transformers, and measures what it says."""

import json
import os
import subprocess
import sys
from math import log2
from pathlib import Path

import pytest

pytest.importorskip("sentence_transformers")

from retrieval.rerank.loading import load_reranker
from tests.rerank.making import WORDS, write_cross_encoder

ROOT = Path(__file__).parents[2]


def write_collection(folder: Path, *, queries: int = 3, depth: int = 8) -> Path:
    """Of queries with a run, whose last hit is the relevant one."""
    for name in ("qrels", "runs"):
        (folder / name).mkdir(parents=True)
    ids = [f"d{n}" for n in range(depth)]
    corpus = [{"_id": id_, "title": "", "text": " ".join((WORDS * 2)[: n + 1])} for n, id_ in enumerate(ids)]
    asked = [{"_id": f"q{n}", "text": WORDS[n]} for n in range(queries)]
    for name, records in (("corpus", corpus), ("queries", asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    judged = [f"q{n}\t{ids[-1]}\t1\n" for n in range(queries)]
    (folder / "qrels" / "small.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    hits = [f"q{n} Q0 {id_} {r} {depth - r} x\n" for n in range(queries) for r, id_ in enumerate(ids)]
    (folder / "runs" / "small.BM25.trec").write_text("".join(hits))
    return folder


def expected(data: Path, model: Path) -> float:
    """nDCG@10 where the one relevant hit, the last, comes to stand when all are sorted by score."""
    reranker = load_reranker(str(model))
    texts = [json.loads(line)["text"] for line in (data / "corpus.jsonl").read_text().splitlines()]
    gains = []
    for line in (data / "queries.jsonl").read_text().splitlines():
        (scores,) = reranker.score_lists([json.loads(line)["text"]], [texts])
        place = 1 + sum(score > scores[-1] for score in scores)
        gains.append(1 / log2(1 + place) if place <= 10 else 0.0)
    return sum(gains) / len(gains)


def test_the_benchmark_runs(tmp_path: Path) -> None:
    """Time in turns, and the same nDCG of the same model."""
    out, data = tmp_path / "figures.json", write_collection(tmp_path / "data", depth=14)
    model = write_cross_encoder(tmp_path / "cross")
    command = [sys.executable, "benchmarks/rerank.py", "--data", data, "--split", "small", "--model", model]
    settings = "--engines torch-fp32,set-torch-fp32 --rounds 2 --queries 2 --depth 14 --threads 1"
    command += [*settings.split(), "--quality", "--json", out]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report["pairs"] == 28
    ours = report["engines"]["torch-fp32"]
    assert ours["ratio"]["least"] <= ours["ratio"]["median"] <= ours["ratio"]["most"]
    assert ours["pairs/s"] > 0
    assert report["ndcg"]["torch-fp32"] == report["ndcg"]["sentence-transformers"]
    assert report["ndcg"]["the run"] == 0
    assert report["ndcg"]["torch-fp32"] == pytest.approx(expected(data, model))
    sets = report["engines"]["set-torch-fp32"]["cost"]
    assert 0 < sets["least"] <= sets["median"] <= sets["most"]
    assert "set-torch-fp32 takes" in done.stdout


def test_a_model_that_no_set_encoder_can_be_made_of(tmp_path: Path) -> None:
    """Is timed by the other engines, and those of set-encoders are told not to run, and why."""
    import transformers

    out, data = tmp_path / "figures.json", write_collection(tmp_path / "data")
    model = write_cross_encoder(tmp_path / "cross")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model, model_input_names=["input_ids", "attention_mask"])
    shape = {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64, "num_labels": 1}
    config = transformers.DistilBertConfig(vocab_size=len(tokenizer), **shape)
    transformers.DistilBertForSequenceClassification(config).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    command = [
        sys.executable,
        "benchmarks/rerank.py",
        "--data",
        data,
        "--split",
        "small",
        "--model",
        tmp_path / "other",
    ]
    command += ["--engines", "torch-fp32,set-torch-fp32", "--rounds", "1", "--threads", "1", "--json", out]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert set(report["engines"]) == {"sentence-transformers", "torch-fp32"}
    assert "'distilbert'" in report["absent"]["set-torch-fp32"]
    assert "set-torch-fp32 could not run: " in done.stdout


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    """Is named, with those that are."""
    data = write_collection(tmp_path / "data")
    command = [sys.executable, "benchmarks/rerank.py", "--data", str(data), "--split", "small", "--engines", "abacus"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "abacus: not of torch-fp32" in done.stderr

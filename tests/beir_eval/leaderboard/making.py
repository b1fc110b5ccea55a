"""Results as an evaluation writes them, made on the spot."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COST = {"search_seconds": 1.0, "queries_per_second": 40.0, "p50_ms": 2.0, "p95_ms": 3.0, "p99_ms": 4.0}
COST |= {"timed_queries": 40, "peak_memory_bytes": 200_000_000, "index_bytes": 3_000_000, "build_seconds": 5.0}
COST |= {"encode_seconds": None, "parameters": 0, "device": "cpu", "stored_queries": False}


def write_results(
    folder: Path,
    dataset: str,
    system: str,
    values: Sequence[float],
    *,
    cost: Mapping[str, Any] | None = None,
    group: str | None = None,
    split: str = "test",
    texts: Mapping[str, str] | None = None,
    judged: float | None = 0.4,
) -> Path:
    """A folder with the results of one system on one data set, whose queries are q0, q1, ...; some tell their texts."""
    place = folder / dataset / f"{len(list(folder.rglob('results.json')))}"
    place.mkdir(parents=True)
    others = {"R@100": 1.0} | ({} if judged is None else {"Judged@10": judged})
    per_query = {f"q{i}": {"nDCG@10": float(value), **others} for i, value in enumerate(values)}
    entry = {
        "name": system,
        "measures": {"nDCG@10": float(np.mean(values)), **others},
        "per_query": per_query,
        "cost": dict(COST if cost is None else cost),
        "settings": {"using": system},
    }
    suite = {"suite": {"dataset": {"name": dataset, "group": group}}} if group else {}
    environment = {"platform": "a system", "processor": "a processor", "versions": {"numpy": "2"}, "problems": []}
    content = {"dataset": dataset, "split": split, "systems": [entry], "environment": {**environment, **suite}}
    content |= {"queries": dict(texts)} if texts else {}
    (place / "results.json").write_text(json.dumps(content))
    return place


def write_imported(folder: Path, dataset: str, **means: float) -> Path:
    """A folder with the mean nDCG@10 of systems on a data set, as `eval import` writes them."""
    folder.mkdir(parents=True)
    entries = [
        {"name": name, "measures": {"nDCG@10": mean}, "per_query": {}, "cost": {}, "settings": {"mteb": {}}}
        for name, mean in means.items()
    ]
    environment = {"problems": ["imported from MTEB's results: means only"]}
    content = {"dataset": dataset, "split": "test", "systems": entries, "environment": environment}
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def several(folder: Path) -> Path:
    """Four systems on two sets: two good ones that are alike, a bad one, and one with a wicked name on one set."""
    drawn = np.random.default_rng(0)
    for dataset, count in (("first", 40), ("second", 60)):
        hard = drawn.uniform(0.3, 0.9, count)
        write_results(folder, dataset, "good", hard, cost={**COST, "p50_ms": 20.0})
        noise = drawn.normal(0, 0.05, count)
        alike = hard + noise - noise.mean() - 0.001
        write_results(folder, dataset, "alike", alike, cost={**COST, "p50_ms": 25.0})
        write_results(folder, dataset, "bad", hard - 0.2)
    write_results(folder, "first", "<script>alert(1)</script>", np.full(40, 0.1), cost={})
    return folder

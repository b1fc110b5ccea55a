"""Evaluation of one system: search, make a run, measure it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.beir_eval.cost import peak_bytes, single_queries
from retrieval.beir_eval.datasets import Collection
from retrieval.beir_eval.measures import measure, with_judged
from retrieval.beir_eval.runs import Run, Ties, format_run, make_run
from retrieval.files import write_whole
from retrieval.types import Hits, Query

__all__ = ["SystemResult", "evaluate_system", "write_results"]

# Queries that are answered before times are taken: as many as make a searcher take what it has for batches.
_WARMING = 16


@dataclass(frozen=True, kw_only=True)
class SystemResult:
    """What one system scored, and what that took."""

    name: str
    measures: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    cost: Mapping[str, Any]
    settings: Mapping[str, Any]
    run: Run

    def as_json(self) -> dict[str, Any]:
        """The entry of `results.json`; the run stands in a file of its own."""
        return {name: value for name, value in vars(self).items() if name != "run"}


def evaluate_system(
    name: str,
    collection: Collection,
    search: Callable[[Sequence[Query], int], Hits],
    ids: Callable[[NDArray[np.int64]], list[str]],
    measures: Iterable[Any],
    *,
    k: int,
    without_own: bool,
    settings: Mapping[str, Any],
    ties: Ties = "descending",
) -> SystemResult:
    """Run every judged query and measure the first k hits of each.

    Args:
        name: the system's name, in results and as the run's tag.
        collection: queries and judgements.
        search: queries and k in, hits out.
        ids: external ids of ordinals.
        measures: of ir-measures; Judged@10 is taken with them.
        k: depth of the run.
        without_own: leave out a document whose id is the query's own.
        settings: what a reader needs to repeat the run.
        ties: the order of documents with equal scores, by id.
    """
    queries = list(collection.queries)
    search((queries * 2)[:_WARMING], k)  # loads models and kernels, which is not what a search costs
    began = time.perf_counter()
    hits = search(queries, k + without_own)
    seconds = time.perf_counter() - began
    singly = single_queries(lambda query: search([query], k), queries)
    run = make_run(queries, hits, ids, k=k, without_own=without_own, ties=ties)
    means, per_query = measure(collection.qrels, run, with_judged(measures))
    return SystemResult(
        name=name,
        measures=means,
        per_query=per_query,
        cost={
            "search_seconds": seconds,
            "queries_per_second": len(queries) / seconds,
            **singly,
            "peak_memory_bytes": peak_bytes(),
        },
        settings={**settings, "k": k, "without_own": without_own, "ties": ties},
        run=run,
    )


def write_results(
    folder: Path, collection: Collection, results: Sequence[SystemResult], environment: Mapping[str, Any]
) -> dict[str, Any]:
    """Write one TREC run per system and, last, `results.json`; its content."""
    folder.mkdir(parents=True, exist_ok=True)
    _remove_runs_of_earlier_results(folder / "results.json")
    for result in results:
        tag = "_".join(result.name.split())  # a file's name, as others call their runs, may be several words
        write_whole(folder / f"{result.name}.trec", format_run(result.run, tag).encode())
    content = {
        "dataset": collection.name,
        "split": collection.split,
        "queries": {query.id: query.text for query in collection.queries},
        "systems": [result.as_json() for result in results],
        "environment": {**environment, "problems": collection.problems},
    }
    write_whole(folder / "results.json", orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    return content


def _remove_runs_of_earlier_results(path: Path) -> None:
    """The runs that a results.json tells of, which is about to be replaced; other files are nobody's business."""
    try:
        names = [system["name"] for system in orjson.loads(path.read_bytes())["systems"]]
    except (OSError, ValueError, KeyError, TypeError):
        return  # none is there, or none of ours
    for name in names:
        (path.parent / f"{name}.trec").unlink(missing_ok=True)

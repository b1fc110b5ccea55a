"""Exchange with others: TREC runs of any system become results, and results come and go as MTEB's JSON."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from retrieval.beir_eval.datasets import Collection
from retrieval.beir_eval.evaluation import SystemResult
from retrieval.beir_eval.measures import measure, with_judged
from retrieval.beir_eval.results import Results, StoredSystem
from retrieval.beir_eval.runs import Run, Ties, ranked, read_run
from retrieval.beir_eval.wording import counted
from retrieval.errors import CollectionError, InputError
from retrieval.files import sha256_of

__all__ = ["MTEB_TASKS", "from_mteb", "read_checked", "score_run", "to_mteb"]

MTEB_TASKS = {
    "arguana": "ArguAna",
    "climate-fever": "ClimateFEVER",
    "dbpedia-entity": "DBPedia",
    "fever": "FEVER",
    "fiqa": "FiQA2018",
    "hotpotqa": "HotpotQA",
    "msmarco": "MSMARCO",
    "nfcorpus": "NFCorpus",
    "nq": "NQ",
    "quora": "QuoraRetrieval",
    "scidocs": "SCIDOCS",
    "scifact": "SciFact",
    "trec-covid": "TRECCOVID",
    "webis-touche2020": "Touche2020",
}
"""BEIR's names of collections → MTEB's of tasks; others go by their own."""

_MTEB_MEASURES = {"nDCG": "ndcg", "AP": "map", "R": "recall", "P": "precision", "RR": "mrr", "Success": "hit_rate"}
_OUR_MEASURES = {theirs: ours for ours, theirs in _MTEB_MEASURES.items()}
_OURS = re.compile(r"(\w+)@(\d+)")
_THEIRS = re.compile(r"(\w+?)_at_(\d+)")

_MAIN = "nDCG@10"

_UNKNOWN_REVISION = "no_revision_available"


def read_checked(
    paths: Sequence[Path], queries: set[str], documents: Iterable[str], *, on_error: str = "stop"
) -> tuple[list[dict[str, dict[str, float]]], list[str]]:
    """TREC runs whose queries and documents are those of a collection.

    Args:
        paths: the runs.
        queries: all ids that the collection has, judged or not.
        documents: all ids that the corpus has.
        on_error: "skip" leaves out what the collection lacks.

    Returns:
        the runs as `read_run` has them, and what was left out, a sentence for each run.

    Raises:
        CollectionError: a run cannot be read (see `read_run`), or holds a query or document that the collection
            lacks; it names the file and the line.
    """
    runs = [read_run(path) for path in paths]
    unknown = {document for run in runs for hits in run.values() for document in hits}
    unknown.difference_update(documents)
    problems = []
    for number, path in enumerate(paths):
        kept = {
            query: {document: score for document, score in hits.items() if document not in unknown}
            for query, hits in runs[number].items()
            if query in queries
        }
        if left_out := _hits(runs[number]) - _hits(kept):
            problem = f"{counted(left_out, 'hit')} of queries or documents that the collection lacks"
            if on_error == "stop":
                raise CollectionError(
                    f"{_first_unknown(path, queries, unknown)}; {problem} in all",
                    hint="is it a run of this collection? --on-error skip leaves them out",
                )
            problems.append(f"{path}: {problem}, left out")
        runs[number] = kept
    return runs, problems


def _hits(run: Run) -> int:
    return sum(map(len, run.values()))


def _first_unknown(path: Path, queries: set[str], unknown: set[str]) -> str:
    """Where in a run, which was read before, the first query or document stands that a collection lacks."""
    with path.open(encoding="utf-8-sig") as file:
        for position, line in enumerate(file, 1):
            fields = line.split()
            if fields and fields[0] not in queries:
                return f"{path}:{position}: query {fields[0]} is not in the queries file"
            if fields and fields[2] in unknown:
                return f"{path}:{position}: document {fields[2]} is not in the corpus"
    raise AssertionError(path)


def score_run(
    path: Path,
    run: Run,
    collection: Collection,
    measures: Iterable[Any],
    *,
    k: int,
    without_own: bool,
    ties: Ties = "descending",
) -> SystemResult:
    """Measure a TREC run as if its system had been run here; it is called by its file's name.

    Args:
        path: the file.
        run: its content, of `read_checked`.
        collection: queries and judgements; other queries of the run do not count.
        measures: of ir-measures; Judged@10 is taken with them.
        k: how many hits of each query count.
        without_own: leave out a document whose id is the query's own.
        ties: the order of documents with equal scores, by id.
    """
    kept = {
        query.id: ranked(run.get(query.id, {}), k=k, without=query.id if without_own else None, ties=ties)
        for query in collection.queries
    }
    if not any(kept.values()):
        raise CollectionError(f"{path}: holds no hit of any judged query", hint="is it a run of this --split?")
    means, per_query = measure(collection.qrels, kept, with_judged(measures))
    about = {"name": path.name, "sha256": sha256_of(path)}
    return SystemResult(
        name=path.stem,
        measures=means,
        per_query=per_query,
        cost={},
        settings={"run": about, "k": k, "without_own": without_own, "ties": ties},
        run=kept,
    )


def to_mteb(results: Results, system: StoredSystem) -> dict[str, Any]:
    """One system's means as MTEB's TaskResult; measures that MTEB has no name for are not in it.

    Raises:
        InputError: it was not measured by nDCG@10, MTEB's main score.
    """
    if _MAIN not in system.measures:
        raise InputError(f"{system.name} was not measured by {_MAIN}, which is MTEB's main score")
    named = ((_mteb_name(name), value) for name, value in system.measures.items())
    scores: dict[str, Any] = {name: value for name, value in named if name}
    scores |= {"main_score": system.measures[_MAIN], "hf_subset": "default", "languages": ["eng-Latn"]}
    return {
        "dataset_revision": _UNKNOWN_REVISION,
        "task_name": MTEB_TASKS.get(results.dataset, results.dataset),
        "mteb_version": None,
        "scores": {results.split: [scores]},
        "evaluation_time": system.cost.get("search_seconds"),
        "kg_co2_emissions": None,
    }


def _mteb_name(name: str) -> str | None:
    match = _OURS.fullmatch(name)
    return f"{_MTEB_MEASURES[match[1]]}_at_{match[2]}" if match and match[1] in _MTEB_MEASURES else None


def _our_name(name: str) -> str | None:
    match = _THEIRS.fullmatch(name)
    return f"{_OUR_MEASURES[match[1]]}@{match[2]}" if match and match[1] in _OUR_MEASURES else None


def from_mteb(paths: Sequence[Path], split: str = "test") -> Results:
    """Results of MTEB's JSON files, all of one task; they hold means and no values of queries.

    A system is called as the `model_meta.json` beside its file says, else by the folder that the file is in.

    Raises:
        CollectionError: a file is none of MTEB's, lacks the split or measures that we know, or is of another task
            than the first, or of the same model as another one.
    """
    read = [(path, _read_mteb(path)) for path in paths]
    tasks = {content["task_name"]: path for path, content in read}
    if len(tasks) > 1:
        told = ", ".join(f"{task} in {path}" for task, path in tasks.items())
        raise CollectionError(f"results are of one task; got {told}", hint="import each task into a folder of its own")
    (task,) = tasks
    systems = [_from_mteb(path, content, split) for path, content in read]
    if twice := [name for name, count in Counter(system.name for system in systems).items() if count > 1]:
        raise CollectionError(f"two results of {twice[0]}", hint="import one of them")
    names = {theirs: ours for ours, theirs in MTEB_TASKS.items()}
    return Results(
        dataset=names.get(task, task),
        split=split,
        systems=systems,
        environment={"problems": ["imported from MTEB's results: means only"]},
    )


def _read_mteb(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())  # which takes NaN, as MTEB writes where a score cannot be
    except (OSError, ValueError) as error:
        raise CollectionError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("task_name"), str):
        raise CollectionError(f"{path}: not a result of MTEB: it names no task")
    return content


def _from_mteb(path: Path, content: Mapping[str, Any], split: str) -> StoredSystem:
    splits = content.get("scores")
    found = splits.get(split) if isinstance(splits, dict) else None
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        there = f"splits here: {', '.join(splits)}" if isinstance(splits, dict) else None
        raise CollectionError(f"{path}: holds no scores of the split {split!r}", hint=there)
    if len(found) > 1:
        raise CollectionError(f"{path}: holds {len(found)} subsets, which are collections of their own")
    scores = sorted(((_our_name(name), value) for name, value in found[0].items()), key=lambda score: score[0] != _MAIN)
    measures = {name: value for name, value in scores if name and _is_score(value)}
    if not measures:
        raise CollectionError(f"{path}: holds no measure that is known here, as ndcg_at_10")
    return StoredSystem(
        name=_model_name(path),
        measures=measures,
        per_query={},
        cost={},
        settings={"mteb": {"file": path.name, "version": content.get("mteb_version")}},
    )


def _is_score(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _model_name(path: Path) -> str:
    about = path.with_name("model_meta.json")
    try:
        return str(orjson.loads(about.read_bytes())["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return path.resolve().parent.name  # none is there, or it has no name

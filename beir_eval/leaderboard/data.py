"""What results say: every score that was measured, with its cost and settings, from results.json files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from retrieval.beir_eval.results import RESULTS, read_results
from retrieval.errors import InputError

__all__ = ["Members", "Score", "by_set", "merged_cost", "read_scores"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one system scored on one data set.

    Attributes:
        dataset: its name, with the split where that is not "test".
        group: of data sets that count as one, if it is in one.
        system: its name.
        measures: means, by ir-measures' names.
        per_query: query → measure → value.
        queries: query → its text, where results tell it.
        cost, settings, environment: as in results.json.
        folder: where that file is.
    """

    dataset: str
    group: str | None
    system: str
    measures: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    queries: Mapping[str, str]
    cost: Mapping[str, Any]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    folder: Path


def read_scores(*places: Path) -> list[Score]:
    """The scores of every results.json at or below some places, in the order of places and then of paths.

    Raises:
        InputError: none is there, or two tell of the same system on the same data set.
        CollectionError: one cannot be read.
    """
    scores: dict[tuple[str, str], Score] = {}
    for folder in dict.fromkeys(folder for place in places for folder in _folders(place)):
        for score in _scores(folder):
            key = (score.dataset, score.system)
            if key in scores:
                raise InputError(
                    f"two results of {score.system} on {score.dataset}: {scores[key].folder} and {folder}",
                    hint="name one of them, or compare them: retrieval eval compare",
                )
            scores[key] = score
    return list(scores.values())


def _folders(place: Path) -> list[Path]:
    """Those at or below a place that hold results; the indexes beside them hold none, and many files."""
    found = sorted(path.parent for path in place.rglob(RESULTS))
    if not found:
        raise InputError(f"{place}: no {RESULTS} there", hint="name a folder that `retrieval eval run` wrote")
    return found


def _scores(folder: Path) -> list[Score]:
    content = read_results(folder)
    dataset = content.dataset if _is_plain(content.split) else f"{content.dataset} {content.split}"
    group = content.environment.get("suite", {}).get("dataset", {}).get("group")
    return [
        Score(
            dataset=dataset,
            group=group,
            system=system.name,
            measures=system.measures,
            per_query=system.per_query,
            queries=content.queries,
            cost=system.cost,
            settings=system.settings,
            environment=content.environment,
            folder=folder,
        )
        for system in content.systems
    ]


def _is_plain(split: str) -> bool:
    """Whether a data set's name says it all: of its usual split, or of an id that names it."""
    return split == "test" or "/" in split


Members = dict[str, dict[str, Score]]
"""System → data set → score."""


def by_set(scores: Sequence[Score]) -> tuple[dict[str, Members], list[str]]:
    """Set → the scores of systems that have all of its data sets; and who has some of them only, and lacks which."""
    found: dict[str, Members] = {}
    for score in scores:
        members = found.setdefault(score.group or score.dataset, {})
        members.setdefault(score.system, {})[score.dataset] = score
    left_out = []
    for name, members in found.items():
        datasets = {dataset for own in members.values() for dataset in own}
        for system in [system for system, own in members.items() if own.keys() != datasets]:
            left_out.append(f"{system} on {name}, without {', '.join(sorted(datasets - members[system].keys()))}")
            del members[system]
    return {name: members for name, members in found.items() if members}, left_out


# What becomes of costs on several data sets.
_MERGES: tuple[tuple[tuple[str, ...], Callable[[list[Any]], Any]], ...] = (
    (("search_seconds", "index_bytes", "build_seconds", "encode_seconds"), sum),
    (("p50_ms", "p95_ms", "p99_ms"), fmean),
    (("peak_memory_bytes", "parameters", "stored_queries"), max),
)


def merged_cost(scores: Sequence[Score]) -> dict[str, Any]:
    """The cost of a system on several data sets: sums of bytes and seconds, means of times per query, the largest rest.

    What is not known of one of them is not known of all, and None.
    """
    if len(scores) == 1:
        return dict(scores[0].cost)
    costs = [score.cost for score in scores]
    merged: dict[str, Any] = {}
    for names, merge in _MERGES:
        for name in names:
            values = [cost.get(name) for cost in costs]
            merged[name] = None if None in values else merge(values)
    queries = sum(len(score.per_query) for score in scores)
    merged["queries_per_second"] = queries / merged["search_seconds"] if merged["search_seconds"] else None
    merged["device"] = ", ".join(dict.fromkeys(cost["device"] for cost in costs if cost.get("device"))) or None
    return merged

"""Measures, by the names and the implementations of ir-measures."""

from collections.abc import Iterable, Mapping
from itertools import islice, pairwise
from typing import Any

import ir_measures

from retrieval.beir_eval.runs import Run
from retrieval.errors import InputError

__all__ = ["DEFAULT_MEASURES", "JUDGED", "measure", "parse_measures", "with_judged"]

_HINT = "names and what they need: https://ir-measur.es"

JUDGED = "Judged@10"
"""The share of the first ten hits that somebody has judged: where it differs between systems, so may what the other
measures say of them. It is measured whatever else is."""

DEFAULT_MEASURES = ("nDCG@10", "R@100", "RR@10", "AP", "P@10", JUDGED)


def parse_measures(names: Iterable[str]) -> list[Any]:
    """ir-measures' objects for names such as nDCG@10 or P(rel=2)@5."""
    supports: Any = ir_measures.DefaultPipeline.supports
    measures = []
    for name in names:
        try:
            parsed = ir_measures.parse_measure(name.strip())
            computable = supports(parsed)
        except (ValueError, NameError, AssertionError) as error:
            raise InputError(f"ir-measures knows no measure {name!r}", hint=_HINT) from error
        if parsed.params.get("cutoff", 1) < 1:
            raise InputError(f"the cutoff of {name!r} must be at least 1")
        if not computable:
            raise InputError(f"ir-measures cannot compute {name!r} with what is installed here", hint=_HINT)
        measures.append(parsed)
    return measures


def with_judged(measures: Iterable[Any]) -> list[Any]:
    """Measures of ir-measures, and Judged@10 behind them where it is not among them."""
    return list(dict.fromkeys([*measures, *parse_measures([JUDGED])]))


def measure(
    qrels: Mapping[str, Mapping[str, int]], run: Run, measures: Iterable[Any]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Means over all judged queries (sums, for counts), and each query's values; a query without hits counts as 0.

    Args:
        qrels: query id → document id → grade.
        run: query id → document id → score, best first.
        measures: as of `parse_measures`.

    Returns:
        measure → mean, and query id → measure → value.

    Raises:
        InputError: a query's hits do not stand best first.
    """
    for query, scores in run.items():
        if any(later > earlier for earlier, later in pairwise(scores.values())):
            raise InputError(f"query {query}: its hits do not stand best first", hint="sort them by score")
    totals = {each: each.aggregator() for each in measures}
    # Queries go by number: gdeval, behind ERR and one form of nDCG, takes no other ids.
    numbers = {query: str(number) for number, query in enumerate(qrels)}
    queries = list(qrels)
    judged = {numbers[query]: dict(grades) for query, grades in qrels.items()}
    answered = {numbers[query]: scores for query, scores in run.items() if scores and query in numbers}
    per_query: dict[str, dict[str, float]] = {query: {} for query in queries}
    for depth, alike in _by_depth(totals):
        cut = {query: dict(islice(scores.items(), depth)) for query, scores in answered.items()}
        for metric in ir_measures.iter_calc(alike, judged, cut):
            totals[metric.measure].add(metric.value)
            per_query[queries[int(metric.query_id)]][str(metric.measure)] = float(metric.value)
    # Some tools behind ir-measures say nothing of a query that is not in the run.
    for query in (query for query in queries if numbers[query] not in answered):
        for each in (each for each in totals if str(each) not in per_query[query]):
            totals[each].add(0.0)
            per_query[query][str(each)] = 0.0
    return {str(each): float(total.result()) for each, total in totals.items()}, per_query


def _by_depth(measures: Iterable[Any]) -> list[tuple[int | None, list[Any]]]:
    """Measures of the first hits, with how many they look at, and those of the whole list, each where there are any.

    A run is best first. Some tools behind ir-measures sort each list again, slowly: they get no more than they need.
    """
    first: dict[bool, list[Any]] = {True: [], False: []}
    for each in measures:
        first["cutoff" in each.params and not each.params.get("judged_only")].append(each)
    groups = [(max((each.params["cutoff"] for each in first[True]), default=0), first[True]), (None, first[False])]
    return [(depth, alike) for depth, alike in groups if alike]

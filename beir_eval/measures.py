"""Measures, by the names and the implementations of ir-measures."""

from collections.abc import Iterable, Mapping
from typing import Any

import ir_measures

from retrieval.beir_eval.runs import Run
from retrieval.errors import InputError

__all__ = ["DEFAULT_MEASURES", "measure", "parse_measures"]

_HINT = "names and what they need: https://ir-measur.es"

DEFAULT_MEASURES = ("nDCG@10", "R@100", "RR@10", "AP", "P@10")


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


def measure(
    qrels: Mapping[str, Mapping[str, int]], run: Run, measures: Iterable[Any]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Means over all judged queries (sums, for counts), and each query's values; a query without hits counts as 0.

    Returns:
        measure → mean, and query id → measure → value.
    """
    totals = {each: each.aggregator() for each in measures}
    # Queries go by number: gdeval, behind ERR and one form of nDCG, takes no other ids.
    numbers = {query: str(number) for number, query in enumerate(qrels)}
    queries = list(qrels)
    judged = {numbers[query]: dict(grades) for query, grades in qrels.items()}
    answered = {numbers[query]: dict(scores) for query, scores in run.items() if scores and query in numbers}
    per_query: dict[str, dict[str, float]] = {query: {} for query in queries}
    for metric in ir_measures.iter_calc(list(totals), judged, answered):
        totals[metric.measure].add(metric.value)
        per_query[queries[int(metric.query_id)]][str(metric.measure)] = float(metric.value)
    return {str(each): float(total.result()) for each, total in totals.items()}, per_query

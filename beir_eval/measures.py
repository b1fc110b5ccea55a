"""Measures, by the names and the implementations of ir-measures."""

from collections.abc import Iterable, Mapping
from typing import Any

import ir_measures

from retrieval.beir_eval.runs import Run
from retrieval.errors import InputError

__all__ = ["DEFAULT_MEASURES", "measure", "parse_measures"]

DEFAULT_MEASURES = ("nDCG@10", "R@100", "RR@10", "AP", "P@10")


def parse_measures(names: Iterable[str]) -> list[Any]:
    """ir-measures' objects for names such as nDCG@10 or P(rel=2)@5."""
    measures = []
    for name in names:
        try:
            measures.append(ir_measures.parse_measure(name))
        except (ValueError, NameError, SyntaxError, AttributeError, TypeError) as error:
            raise InputError(f"ir-measures knows no measure {name!r}", hint="names: https://ir-measur.es") from error
    return measures


def measure(
    qrels: Mapping[str, Mapping[str, int]], run: Run, measures: Iterable[Any]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Means over all judged queries, and each query's values; a query without hits counts as 0.

    Returns:
        measure → mean, and query id → measure → value.

    """
    measures = list(measures)
    per_query: dict[str, dict[str, float]] = {query: {} for query in qrels}
    answered = {query: dict(scores) for query, scores in run.items() if scores}
    for metric in ir_measures.iter_calc(measures, {query: dict(grades) for query, grades in qrels.items()}, answered):
        per_query[metric.query_id][str(metric.measure)] = float(metric.value)
    names = [str(each) for each in measures]
    means = {name: sum(values[name] for values in per_query.values()) / len(per_query) for name in names}
    return means, per_query

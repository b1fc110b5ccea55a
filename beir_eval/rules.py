"""By which rules systems were measured, as far as results tell, and a run beside them is to be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.beir_eval.measures import parse_measures
from retrieval.beir_eval.results import StoredSystem
from retrieval.beir_eval.runs import Ties
from retrieval.errors import CollectionError

__all__ = ["Rules", "rules_of"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """By which a run is measured; `k` None takes all of it."""

    k: int | None = None
    without_own: bool
    ties: Ties = "descending"


def rules_of(systems: Sequence[StoredSystem], measures: Sequence[str], *, without_own: bool) -> Rules:
    """Those that all results have in common; imported ones say nothing of theirs.

    Args:
        systems: of results.
        measures: ir-measures' names, by which systems are to be compared.
        without_own: of a query's own document, where no results say it.

    Raises:
        CollectionError: results differ in whether a query's own document is left out, or in how many hits of each
            query were measured, and a measure looks deeper than the fewest.
    """
    known = [system for system in systems if "without_own" in system.settings]
    if not known:
        return Rules(without_own=without_own)
    by_own = {system.settings["without_own"]: system.name for system in known}
    if len(by_own) > 1:
        raise CollectionError(
            f"{by_own[True]} was measured without documents of a query's own id, {by_own[False]} with them",
            hint="measure both in one way: with --keep-self, or without it",
        )
    ties = {system.settings.get("ties", "descending") for system in known}
    return Rules(
        k=_depth(known, measures), without_own=by_own.popitem()[0], ties=ties.pop() if len(ties) == 1 else "descending"
    )


def _depth(systems: Sequence[StoredSystem], measures: Sequence[str]) -> int | None:
    """How many hits of each query were measured: the most, where all measures look at no more than the fewest."""
    depths: dict[int, str] = {system.settings["k"]: system.name for system in systems if system.settings.get("k")}
    if not depths:
        return None
    least, most = min(depths), max(depths)
    deeper = [str(each) for each in parse_measures(measures) if each.params.get("cutoff", math.inf) > least]
    if least < most and deeper:
        raise CollectionError(
            f"{depths[least]} was measured on {least} hits of each query, {depths[most]} on {most}, "
            f"and {deeper[0]} looks deeper",
            hint="measure both with the same -k",
        )
    return most

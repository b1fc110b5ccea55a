"""How good a router is: what it chose, what could have been chosen, and what that costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.beir_eval.datasets import Collection
from retrieval.encoders.experts import Single
from retrieval.indexing import Index
from retrieval.learning.routers.pilots import MEASURE
from retrieval.learning.routers.systems import query_sides, retrievers_of, search_queries
from retrieval.pipeline import ROUTED, Retriever
from retrieval.protocols import Progress, silent
from retrieval.reranking import Reranking
from retrieval.routing.experts import BASE_NAME, ExpertRouter
from retrieval.routing.opening import Router
from retrieval.routing.rules import diagnose
from retrieval.types import Route

__all__ = ["Answers", "evaluate_router", "report_of", "rows_of"]

Report = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """What came of n queries.

    Attributes:
        scores: of each that could answer, (n,) the measure.
        milliseconds: of each, for a query.
        routed: (n,) the measure of who was chosen.
        routed_milliseconds: for a query, the choice included.
        routes: n of them.
        base: which of them answers where nobody chooses.
    """

    scores: Mapping[str, NDArray[np.float64]]
    milliseconds: Mapping[str, float]
    routed: NDArray[np.float64]
    routed_milliseconds: float
    routes: Sequence[Route]
    base: str


def evaluate_router(
    router: Router,
    data: Sequence[tuple[Collection, Index]],
    *,
    reranking: Reranking | None = None,
    model: str | None = None,
    keep_self: bool = False,
    progress: Progress = silent,
    **given: Any,
) -> Report:
    """Search each collection with all that could answer, and as the router has it.

    Args:
        router: of either kind.
        data: collections and indexes of their documents.
        reranking: the model that reranks, where the router was made with one.
        model: for a router over systems, where the dense part's model is now, if it has moved.
        keep_self: keep a document whose id is the query's.
        progress: told of collections.
        given: device and threads, as `Retriever` takes them.

    Returns:
        See `report_of` for a data set's part; `mean` holds the means over data sets.

    Raises:
        ModelError, ArtifactMissingError, InputError: see `Retriever`.
    """
    parts = []
    for number, (collection, index) in enumerate(data):
        answers = _answers(router, collection, index, reranking, given, model=model, keep_self=keep_self)
        ids = [query.id for query in collection.queries]
        parts.append({"name": collection.name, "split": collection.split, **report_of(answers, ids)})
        progress("data sets", number + 1, len(data))
    return {"measure": MEASURE, "router": router.settings, "datasets": parts, "mean": _mean(parts)}


def _answers(
    router: Router,
    collection: Collection,
    index: Index,
    reranking: Reranking | None,
    given: Mapping[str, Any],
    *,
    model: str | None,
    keep_self: bool,
) -> Answers:
    sides: dict[str, Any] = {}
    if isinstance(router, ExpertRouter):
        singles = {BASE_NAME: None, **{name: name for name in router.names}}
        retrievers = {
            name: Retriever(index, using="dense", encoder=Single(router.encoder, one), by_document=True, **given)
            for name, one in singles.items()
        }
        base = BASE_NAME
    else:
        names, base = router.manifest.names, router.manifest.base
        sides = query_sides(index, names, given.get("device"), model=model)
        retrievers = retrievers_of(index, names, reranking, **given, **sides)
    own = Retriever(index, using=ROUTED, router=router, rerank=reranking, by_document=True, **given, **sides)
    found = {name: search_queries(collection, retriever, keep_self=keep_self) for name, retriever in retrievers.items()}
    routed, milliseconds = search_queries(collection, own, keep_self=keep_self)
    return Answers(
        scores={name: values for name, (values, _) in found.items()},
        milliseconds={name: cost for name, (_, cost) in found.items()},
        routed=routed,
        routed_milliseconds=milliseconds,
        routes=own.routes([query.text for query in collection.queries]),
        base=base,
    )


def report_of(answers: Answers, ids: Sequence[str]) -> Report:
    """What came of n queries, as JSON values: means, shares, costs, and each query's part.

    `dataset_oracle` is the best of those that could answer all of them, `instance_oracle` what a perfect choice for
    each query would score; `hurt` is the share of queries on which the base is better than who was chosen.
    """
    names = list(answers.scores)
    scores = np.column_stack([answers.scores[name] for name in names])
    found = diagnose(scores, answers.routed, answers.scores[answers.base])
    means = dict(zip(names, scores.mean(axis=0).tolist(), strict=True))
    best = max(means, key=lambda name: means[name])
    chosen = [route.choice for route in answers.routes]
    return {
        "queries": len(ids),
        "base": answers.base,
        "systems": means,
        "routed": float(answers.routed.mean()),
        "dataset_oracle": {"name": best, "value": means[best]},
        "instance_oracle": float(found.ceiling.mean()),
        "regret": float(found.regret.mean()),
        "hurt": float(found.hurt.mean()),
        "fallback": float(np.mean([route.fallback for route in answers.routes])),
        "chosen": {name: chosen.count(name) for name in dict.fromkeys([*names, *chosen])},
        "milliseconds": {**answers.milliseconds, ROUTED: answers.routed_milliseconds},
        "per_query": {
            id_: {
                "choice": route.choice,
                "scores": route.scores,
                "margin": route.margin,
                "fallback": route.fallback,
                MEASURE: float(answers.routed[place]),
                "oracle": names[found.oracle[place]],
                "regret": float(found.regret[place]),
                "hurt": bool(found.hurt[place]),
            }
            for place, (id_, route) in enumerate(zip(ids, answers.routes, strict=True))
        },
    }


def _mean(parts: Sequence[Report]) -> Report:
    """The means over data sets; `best_single` is who is best by them."""
    systems = {name: _over(part["systems"][name] for part in parts) for name in parts[0]["systems"]}
    best = max(systems, key=lambda name: systems[name])
    names = ("routed", "instance_oracle", "regret", "hurt", "fallback")
    return {
        "systems": systems,
        **{name: _over(part[name] for part in parts) for name in names},
        "dataset_oracle": _over(part["dataset_oracle"]["value"] for part in parts),
        "best_single": {"name": best, "value": systems[best]},
        "milliseconds": {
            name: _over(part["milliseconds"][name] for part in parts) for name in parts[0]["milliseconds"]
        },
    }


def _over(values: Any) -> float:
    return float(np.mean([*values]))


def rows_of(report: Report) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of a table: who answers, on each data set and on their mean, and milliseconds a query."""
    parts, mean = report["datasets"], report["mean"]
    rows = [
        [name, *(f"{part['systems'][name]:.4f}" for part in parts), f"{value:.4f}", _ms(mean, name)]
        for name, value in mean["systems"].items()
    ]
    rows.append([ROUTED, *(f"{part['routed']:.4f}" for part in (*parts, mean)), _ms(mean, ROUTED)])
    oracles = [f"{part['dataset_oracle']['value']:.4f}" for part in parts]
    rows.append(["dataset oracle", *oracles, f"{mean['dataset_oracle']:.4f}", ""])
    for name, told in (("instance_oracle", "instance oracle"), ("regret", "regret")):
        rows.append([told, *(f"{part[name]:.4f}" for part in (*parts, mean)), ""])
    for name, told in (("hurt", "queries hurt"), ("fallback", "queries left to the base")):
        rows.append([told, *(f"{part[name]:.1%}" for part in (*parts, mean)), ""])
    return [report["measure"], *(part["name"] for part in parts), "mean", "ms/query"], rows


def _ms(mean: Report, name: str) -> str:
    return f"{mean['milliseconds'][name]:.2f}"

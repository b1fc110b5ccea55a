"""The command line's options of reranking, and what they make."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from retrieval.cli.options import PrecisionName
from retrieval.errors import InputError
from retrieval.rerank.loading import load_reranker
from retrieval.reranking import Reranking

RerankOption = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Cross-encoder or set-encoder that orders the first hits anew."),
]
RerankPrecisionOption = Annotated[
    PrecisionName | None,
    typer.Option(
        help="Its arithmetic: auto takes bf16 where this machine has it; int8 is calibrated on the corpus first.",
        show_default="auto",
    ),
]
RerankDepthOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Hits that it reads.", show_default="100")
]
RerankWeightOption = Annotated[
    float | None,
    typer.Option(
        metavar="W",
        help="Its weight, up to 1, where it alone decides; the rest is of what found the hits, both as 0..1.",
        show_default="1",
    ),
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--budget-ms",
        metavar="MS",
        help="Read as many of them as this time allows for a query, 4 at least.",
        show_default=False,
    ),
]


def make_reranking(
    model: str | None,
    depth: int | None,
    budget_ms: float | None,
    device: str | None,
    precision: PrecisionName | None,
    queries: Sequence[str] = (),
    *,
    weight: float | None = None,
) -> Reranking | None:
    """What puts hits in another order; None without a model, and an error if other options are given then."""
    if model is None:
        others = {
            "--rerank-depth": depth,
            "--rerank-weight": weight,
            "--rerank-precision": precision,
            "--budget-ms": budget_ms,
        }
        if idle := [name for name, value in others.items() if value is not None]:
            raise InputError(f"{idle[0]} is for --rerank MODEL")
        return None
    scorer = load_reranker(model, device=device, precision=precision.value if precision else None)
    said = {"depth": depth, "weight": weight}
    given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    return Reranking(model=scorer, budget_ms=budget_ms, queries=queries, **given)

"""`retrieval train average`."""

from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.console import say
from retrieval.learning.dense import needs_torch

__all__ = ["average"]


def average(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Dense encoders that began as one.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model goes to DIR/model.")],
    weight: Annotated[
        list[float] | None,
        typer.Option(metavar="W", help="How much a model counts; once for each, in their order.", show_default=False),
    ] = None,
) -> None:
    """Average the weights of models, as of a trained one and the one that it began with."""
    needs_torch()
    from retrieval.training.averaging import average as average_into

    say(f"{average_into(models, out, weight)}: the average of {len(models)} models")

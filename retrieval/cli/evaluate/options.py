"""Options that several commands of `retrieval eval` share."""

import re
from enum import StrEnum
from typing import Annotated

import typer

from retrieval.beir_eval.measures import DEFAULT_MEASURES, parse_measures
from retrieval.cli.options import OnErrorName

# A comma inside parentheses belongs to a measure: P(rel=2,judged_only=True)@5.
_COMMA = re.compile(r",(?![^(]*\))")

USUAL_MEASURES = ",".join(DEFAULT_MEASURES)


class TiesName(StrEnum):  # noqa: D101 - the name says it
    DESCENDING = "descending"
    ASCENDING = "ascending"


SplitOption = Annotated[str, typer.Option(help="Which judgements: qrels/SPLIT.tsv.")]
MeasuresOption = Annotated[
    str, typer.Option(metavar="NAMES", help="ir-measures' names, with commas; Judged@10 is taken with them.")
]
KeepSelfOption = Annotated[bool, typer.Option("--keep-self", help="Keep a document whose id is the query's.")]
RunErrorOption = Annotated[OnErrorName, typer.Option(help="What to do with judgements and hits that do not fit.")]
TiesOption = Annotated[
    TiesName | None,
    typer.Option(help="Equal scores by id: descending as trec_eval, ascending as Anserini.", show_default=False),
]


def split_measures(text: str) -> list[str]:
    """The names of measures in a list with commas; an unknown one is an error."""
    return [str(measure) for measure in parse_measures(_COMMA.split(text))]

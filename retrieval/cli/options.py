"""Options that several commands share, and what they stand for."""

from enum import StrEnum
from typing import Annotated

import typer

from retrieval.errors import InputError
from retrieval.fusion import Fusion, MinMax, ReciprocalRank, ZScore
from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.index.lexical.bm25 import BM25
from retrieval.indexing import LexicalOptions
from retrieval.pipeline import MODES

# ruff: noqa: D101 - the names say it

DenseOption = Annotated[
    str | None,
    typer.Option("--dense", metavar="MODEL", help="Dense part: minilm, a Hugging Face id or a local folder."),
]
DeviceOption = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="torch's device for the model, such as cpu or cuda:1.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Cores to use; all by default.", show_default=False)]
PresetOption = Annotated[str, typer.Option("--bm25", metavar="PRESET", help="bm25s (k1 1.5, b .75), anserini (.9, .4)")]
LanguageOption = Annotated[str, typer.Option(metavar="NAME", help="Stop words and stemmer of a language, or none.")]


class OnErrorName(StrEnum):
    STOP = "stop"
    SKIP = "skip"


class FusionName(StrEnum):
    MINMAX = "minmax"
    RRF = "rrf"
    ZSCORE = "zscore"


FusionOption = Annotated[FusionName, typer.Option(help="How hybrid puts its lists together.")]
WeightOption = Annotated[
    list[str] | None, typer.Option("--weight", metavar="STAGE=NUMBER", help="Weight of a list in hybrid; repeatable.")
]
DepthOption = Annotated[int, typer.Option(min=1, help="Hits of each list that hybrid puts together.")]

_FUSIONS: dict[FusionName, type[Fusion]] = {
    FusionName.MINMAX: MinMax,
    FusionName.RRF: ReciprocalRank,
    FusionName.ZSCORE: ZScore,
}


def make_fusion(name: FusionName, weights: list[str] | None, depth: int) -> Fusion:
    """The fusion that the options describe."""
    return _FUSIONS[name](weights=dict(map(_weight, weights or [])), depth=depth)


def _weight(text: str) -> tuple[str, float]:
    stage, _, number = text.partition("=")
    if stage not in MODES["hybrid"]:
        raise InputError(f"--weight takes STAGE=NUMBER with a stage of {', '.join(MODES['hybrid'])}; got {text!r}")
    try:
        return stage, float(number)
    except ValueError as error:
        raise InputError(f"--weight takes STAGE=NUMBER, as lexical=0.5; got {text!r}") from error


def make_lexical(
    preset: str,
    language: str,
    *,
    method: str | None = None,
    k1: float | None = None,
    b: float | None = None,
    delta: float | None = None,
    tokenizer: str | None = None,
    stopwords: bool = True,
    stem: bool = True,
) -> LexicalOptions:
    """The lexical part that the options describe: a preset, and what is said beside it."""
    given = {"method": method, "k1": k1, "b": b, "delta": delta}
    parameters = {**vars(BM25.preset(preset)), **{name: value for name, value in given.items() if value is not None}}
    analyzer = AnalyzerSettings.for_language(language, tokenizer=tokenizer, stopwords=stopwords, stem=stem)
    return LexicalOptions(analyzer=analyzer, bm25=BM25(**parameters))

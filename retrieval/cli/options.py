"""Options that several commands share, and what they stand for."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from retrieval.corpus import Columns
from retrieval.errors import FilterError, InputError
from retrieval.fusion import FUSIONS, Fusion
from retrieval.index.dense.kinds import names
from retrieval.index.dense.options import FLAT, DenseOptions
from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.index.lexical.bm25 import BM25
from retrieval.indexing import LexicalOptions, LuceneOptions
from retrieval.pipeline import STAGES
from retrieval.vectors import VectorFile

# ruff: noqa: D101 - the names say it

DenseOption = Annotated[
    str | None,
    typer.Option("--dense", metavar="MODEL", help="Dense part: minilm, a Hugging Face id or a local folder."),
]
DenseIndexOption = Annotated[
    str,
    typer.Option(
        "--dense-index",
        metavar="KIND",
        help=f"What searches the vectors: {', '.join(names())}, or a factory string of FAISS.",
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="What an index of kind auto may take in memory, as 2GB.", show_default=False),
]
SparseOption = Annotated[
    str | None,
    typer.Option("--sparse", metavar="MODEL", help="Learned-sparse part: a Hugging Face id or a local folder."),
]
SparseVectorsOption = Annotated[
    Path | None,
    typer.Option(
        "--sparse-vectors",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help='Learned-sparse part of vectors computed elsewhere: JSONL of {"id", "vector": {token: weight}}.',
    ),
]
QueryTopOption = Annotated[
    int | None,
    typer.Option("--query-top", min=1, metavar="N", help="Keep the N largest weights of a query.", show_default=False),
]
DocumentTopOption = Annotated[
    int | None,
    typer.Option(
        "--document-top", min=1, metavar="N", help="Keep the N largest weights of a document.", show_default=False
    ),
]
QueryVectorsOption = Annotated[
    Path | None,
    typer.Option(
        "--query-vectors",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="The queries' sparse vectors, by their ids, in the same form.",
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="torch's device for the model, such as cpu or cuda:1.")
]


class PrecisionName(StrEnum):
    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


class RuntimeName(StrEnum):
    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"
    ONNX = "onnx"


PrecisionOption = Annotated[
    PrecisionName | None,
    typer.Option(
        help="Arithmetic that encodes documents: auto takes bf16 where this machine has it, and never int8.",
        show_default="auto",
    ),
]
RuntimeOption = Annotated[
    RuntimeName | None, typer.Option(help="What runs the model for documents.", show_default="auto")
]
BatchTokensOption = Annotated[
    int | None,
    typer.Option(
        "--batch-tokens",
        min=1,
        metavar="N",
        help="Tokens that go through the model together, padding included.",
        show_default=False,
    ),
]
DimensionsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Keep the first N dimensions of dense vectors, of a model trained for it.",
        show_default=False,
    ),
]
RouterOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="For --using routed, the router.", show_default=False)
]


class AggregateName(StrEnum):
    MEAN = "mean"
    MAX = "max"


AggregateOption = Annotated[
    AggregateName, typer.Option(help="Which of the similarities to an expert's pilots counts: their mean, or the most.")
]
MarginOption = Annotated[
    float, typer.Option(help="By how much the best expert must be above the next, or the base answers.")
]
MovedOption = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Where the dense part's model is now, if it has moved.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Cores to use; all by default.", show_default=False)]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--bm25",
        metavar="PRESET",
        help="bm25s (k1 1.5, b .75), anserini (.9, .4). Each engine has the one it is known by.",
        show_default=False,
    ),
]
LanguageOption = Annotated[str, typer.Option(metavar="NAME", help="Stop words and stemmer of a language, or none.")]


RestartOption = Annotated[
    bool, typer.Option("--restart", help="Discard the work of an interrupted run, and do not go on with it.")
]
IdFieldOption = Annotated[str | None, typer.Option("--id-field", metavar="FIELD", help="Field that holds the id.")]
TitleFieldOption = Annotated[
    str | None, typer.Option("--title-field", metavar="FIELD", help="Field that holds the title.")
]
TextFieldOption = Annotated[
    str | None, typer.Option("--text-field", metavar="FIELD", help="Field that holds the text.")
]
ShardOption = Annotated[
    int, typer.Option("--shard-documents", min=1, metavar="N", help="Documents handled at a time: bounds memory.")
]


class ImpactsName(StrEnum):
    EXACT = "exact"
    U16 = "u16"
    U8 = "u8"


ImpactsOption = Annotated[ImpactsName, typer.Option(help="How scores are stored: exact, or in steps of 16 or 8 bits.")]
SparseImpactsOption = Annotated[
    ImpactsName, typer.Option(help="How sparse weights are stored: exact, or in steps of 16 or 8 bits.")
]


class SparseEngineName(StrEnum):
    NATIVE = "native"
    SEISMIC = "seismic"


SparseEngineOption = Annotated[SparseEngineName, typer.Option(help="What searches the sparse part approximately.")]
RecallOption = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Share of the best hits to find, as 0.99: of the sparse part, and of the dense with --dense-index.",
        show_default=False,
    ),
]
RecallAtOption = Annotated[int, typer.Option(min=1, metavar="K", help="Hits for which that holds.")]


class EngineName(StrEnum):
    NATIVE = "native"
    LUCENE = "lucene"


EngineOption = Annotated[
    EngineName, typer.Option("--lexical-engine", help="What builds and searches the lexical part.")
]


class OnErrorName(StrEnum):
    STOP = "stop"
    SKIP = "skip"


OnErrorOption = Annotated[OnErrorName, typer.Option(help="What to do with a record that cannot be read.")]


class FusionName(StrEnum):
    MINMAX = "minmax"
    RRF = "rrf"
    ZSCORE = "zscore"


FusionOption = Annotated[
    FusionName | None, typer.Option(help="How hybrid puts its lists together.", show_default=FusionName.MINMAX)
]
WeightOption = Annotated[
    list[str] | None, typer.Option("--weight", metavar="STAGE=NUMBER", help="Weight of a list in hybrid; repeatable.")
]
DepthOption = Annotated[
    int | None, typer.Option(min=1, help="Hits of each list that hybrid puts together.", show_default="1000")
]


def encoding_options(
    device: str | None,
    precision: PrecisionName | None = None,
    runtime: RuntimeName | None = None,
    batch_tokens: int | None = None,
) -> dict[str, Any]:
    """How a model is run, as both kinds of encoders take it."""
    return {
        "device": device,
        "precision": precision.value if precision else None,
        "runtime": runtime.value if runtime else None,
        "batch_tokens": batch_tokens,
    }


def make_columns(id_field: str | None, title_field: str | None, text_field: str | None) -> Columns:
    """Which fields hold id, title and text."""
    given = {"id": id_field, "title": title_field, "text": text_field}
    return Columns(**{name: (field,) for name, field in given.items() if field})


def parse_filter(text: str | None) -> dict[str, Any] | None:
    """A filter given as JSON."""
    if text is None:
        return None
    try:
        parsed: dict[str, Any] = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise FilterError("--filter", f"not JSON ({error})") from error
    if parsed is None:
        raise FilterError("--filter", "must be an object; got null")
    return parsed


def make_fusion(name: FusionName | None, weights: list[str] | None, depth: int | None, *, fuses: bool) -> Fusion:
    """The fusion that the options describe; an error if some are given and nothing is fused."""
    given = {"--fusion": name, "--weight": weights or None, "--depth": depth}
    fusion = FUSIONS[(name or FusionName.MINMAX).value]
    made = fusion(weights=dict(map(_weight, weights or [])), **({} if depth is None else {"depth": depth}))
    if not fuses and (idle := [option for option, value in given.items() if value is not None]):
        raise InputError(f"{idle[0]} is for search with several lists", hint="as --using hybrid, or lexical+dense")
    return made


def _weight(text: str) -> tuple[str, float]:
    stage, _, number = text.partition("=")
    if stage not in STAGES:
        raise InputError(f"--weight takes STAGE=NUMBER with a stage of {', '.join(STAGES)}; got {text!r}")
    try:
        return stage, float(number)
    except ValueError as error:
        raise InputError(f"--weight takes STAGE=NUMBER, as lexical=0.5; got {text!r}") from error


def make_dense(index: str, recall: float | None, recall_at: int, memory: str | None) -> DenseOptions | None:
    """The dense index that the options describe; None for exact search."""
    if index == FLAT and memory is None:
        return None
    given = {} if recall is None else {"recall": recall}
    return DenseOptions(index=index, recall_at=recall_at, memory=_bytes(memory) if memory else None, **given)


def _bytes(text: str) -> int:
    """A size in bytes, as 2GB or 500 MiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)[bB]?", text.strip())
    if match is None or float(match[1]) == 0:
        raise InputError(f"--memory {text!r} is no size", hint="as 2GB or 500MB")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** " KMGT".index(match[2].upper() or " "))


def sparse_source(model: str | None, vectors: Path | None) -> str | VectorFile | None:
    """Where a sparse part's vectors come from: a model's name, a file of them, or nowhere."""
    if model and vectors:
        raise InputError("--sparse and --sparse-vectors exclude each other: vectors come from a model or from a file")
    return VectorFile(vectors) if vectors is not None else model


def make_lexical(
    preset: str | None,
    language: str,
    *,
    engine: EngineName = EngineName.NATIVE,
    method: str | None = None,
    k1: float | None = None,
    b: float | None = None,
    delta: float | None = None,
    tokenizer: str | None = None,
    stopwords: bool = True,
    stem: bool = True,
    impacts: ImpactsName = ImpactsName.EXACT,
    reorder: bool = False,
) -> LexicalOptions | LuceneOptions:
    """The lexical part that the options describe: a preset, and what is said beside it."""
    given = {"method": method, "k1": k1, "b": b, "delta": delta}
    named = BM25.preset(preset or ("bm25s" if engine is EngineName.NATIVE else "anserini"))
    parameters = {**vars(named), **{name: value for name, value in given.items() if value is not None}}
    if engine is EngineName.LUCENE:
        others = {
            "--language": language != "english",
            "--method": method not in (None, "lucene"),
            "--delta": delta is not None,
            "--tokenizer": tokenizer is not None,
            "--no-stopwords": not stopwords,
            "--no-stem": not stem,
            "--impacts": impacts is not ImpactsName.EXACT,
            "--reorder": reorder,
        }
        if unknown := [name for name, is_given in others.items() if is_given]:
            raise InputError(
                f"Lucene has no {unknown[0]}: it analyses English as Anserini does, with a BM25 of k1 and b",
                hint="leave it out, or take the other engine: --lexical-engine native",
            )
        return LuceneOptions(k1=parameters["k1"], b=parameters["b"])
    analyzer = AnalyzerSettings.for_language(language, tokenizer=tokenizer, stopwords=stopwords, stem=stem)
    return LexicalOptions(analyzer=analyzer, bm25=BM25(**parameters), impacts=impacts.value, reorder=reorder)

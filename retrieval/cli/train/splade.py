"""`retrieval train splade`."""

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.console import progress
from retrieval.cli.options import DeviceOption, JsonOption, RestartOption, ThreadsOption
from retrieval.cli.train.telling import report, tell, use_threads
from retrieval.errors import InputError
from retrieval.files import make_folder
from retrieval.learning.dense import needs_torch, read_data, steps_of
from retrieval.protocols import Progress
from retrieval.training.settings import DataSettings, TrainerSettings

if TYPE_CHECKING:
    from torch import Tensor

    from retrieval.training.data import TrainingData
    from retrieval.training.dev import DevSet
    from retrieval.training.recipes.splade import SpladeRecipe, SpladeSettings
    from retrieval.training.warmstart import LexicalStart

# ruff: noqa: D101 - the names say it

# Of the head of an encoder that had none: at 0 nearly every word would have a weight.
_BIAS = -6.0

_LOSSES = ("contrastive", "margin-mse", "kl")


class PrecisionName(StrEnum):
    NO = "no"
    BF16 = "bf16"
    FP16 = "fp16"


class SidesName(StrEnum):
    BOTH = "both"
    QUERY = "query"


class WarmStartName(StrEnum):
    NONE = "none"
    LEXICAL = "lexical"


def splade(
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA...", help="BEIR folders, .jsonl of query, pos and neg, or .tsv of triples."),
    ],
    model: Annotated[str, typer.Option(metavar="MODEL", help="What to begin with: minilm, a folder or a hub id.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the model goes, with its log and checkpoints.")],
    split: Annotated[str, typer.Option(help="Whose judgements train: qrels/SPLIT.tsv.")] = "train",
    dev: Annotated[
        str | None, typer.Option(metavar="SPLIT", help="Judgements that choose the model.", show_default=False)
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="The same, of folders without that split: a share of the queries.", show_default=False
        ),
    ] = None,
    dev_data: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder of DATA to take dev data from; by default all.", show_default=False),
    ] = None,
    dev_documents: Annotated[
        int | None, typer.Option(min=1, help="Search a sample of so many documents, to save time.", show_default=False)
    ] = None,
    negatives: Annotated[
        list[Path] | None, typer.Option(metavar="RUN", help="TREC run to take hard negatives from; repeatable.")
    ] = None,
    negatives_depth: Annotated[int, typer.Option(min=1, help="Hits of each run that may be negatives.")] = 100,
    teacher_run: Annotated[
        list[Path] | None, typer.Option(metavar="RUN", help="TREC run whose scores teach; several are averaged.")
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHT]",
            help="contrastive, margin-mse, kl; repeatable. By default contrastive, and kl where there is a teacher.",
            show_default=False,
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(help="What the model's scores are divided by.")] = 1.0,
    teacher_scale: Annotated[float, typer.Option(help="What the teacher's, 0 to 1 of a run, are multiplied by.")] = 10,
    flops_query: Annotated[float, typer.Option(help="Weight of FLOPS on queries.")] = 0.0,
    l1_query: Annotated[float, typer.Option(help="Weight of L1 on queries.")] = 0.0,
    flops_document: Annotated[float, typer.Option(help="Weight of FLOPS on documents.")] = 0.0,
    ramp: Annotated[int, typer.Option(min=0, help="Steps over which these weights rise.")] = 0,
    warm_start: Annotated[
        WarmStartName,
        typer.Option(help="lexical: give an encoder without a vocabulary head one that names the tokens it reads."),
    ] = WarmStartName.NONE,
    side: Annotated[
        SidesName,
        typer.Option(help="query: documents are encoded once and stay, and queries learn against all of them."),
    ] = SidesName.BOTH,
    sharpness: Annotated[float, typer.Option(help="Of the warm start: higher, and fewer words are added.")] = 16.0,
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="Batches to learn from; 0 writes what training begins with.", show_default=False),
    ] = None,
    epochs: Annotated[float, typer.Option(help="Or: times that each query is seen.")] = 1.0,
    batch: Annotated[int, typer.Option(min=1, help="Queries of a batch.")] = 16,
    negatives_per_query: Annotated[int, typer.Option(min=0, help="Hard negatives for each.")] = 4,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-5,
    warmup: Annotated[float, typer.Option(help="Share of the steps in which it rises.")] = 0.1,
    weight_decay: Annotated[float, typer.Option(help="AdamW's.")] = 0.01,
    clip: Annotated[float, typer.Option(help="Largest norm of a gradient.")] = 1.0,
    query_length: Annotated[int, typer.Option(min=1, help="Tokens of a query, in training.")] = 64,
    document_length: Annotated[int, typer.Option(min=1, help="Tokens of a document, in training.")] = 256,
    lora: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="R",
            help="Train low-rank adapters of so many dimensions, of a causal model.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[PrecisionName, typer.Option(help="Of matrix products; no is float32.")] = PrecisionName.NO,
    seed: Annotated[int, typer.Option(help="Of batches and dropout.")] = 0,
    evaluate_every: Annotated[int, typer.Option(min=0, help="Steps between evaluations on dev data.")] = 500,
    patience: Annotated[int, typer.Option(min=0, help="Evaluations that may be no better; 0: any number.")] = 0,
    checkpoint_every: Annotated[int, typer.Option(min=0, help="Steps between checkpoints.")] = 100,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between lines of the log.")] = 10,
    restart: RestartOption = False,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Train a SPLADE model on DATA; interrupted, the same command goes on where it was.

    Judged queries of other splits never train. Several GPUs: accelerate launch -m retrieval train splade ...
    """
    needs_torch()
    from retrieval.training.recipes.splade import SpladeSettings
    from retrieval.training.trainer import train

    use_threads(threads)
    weights = _losses(loss, taught=bool(teacher_run))
    settings = SpladeSettings(
        batch=batch,
        negatives=negatives_per_query,
        contrastive=weights["contrastive"],
        margin_mse=weights["margin-mse"],
        kl=weights["kl"],
        temperature=temperature,
        teacher_scale=teacher_scale,
        flops_query=flops_query,
        l1_query=l1_query,
        flops_document=flops_document,
        ramp=ramp,
        query_length=query_length,
        document_length=document_length,
        lora=lora,
        seed=seed,
    )
    given = DataSettings(
        split=split,
        dev=dev,
        hold_out=hold_out,
        dev_data=dev_data or [],
        dev_documents=dev_documents,
        negatives=negatives or [],
        negatives_depth=negatives_depth,
        teacher_run=teacher_run or [],
    )
    training, sets = read_data(data, given, seed)
    report(training, sets)
    optimising = TrainerSettings(
        steps=steps_of(epochs, training, batch) if steps is None else steps,
        lr=lr,
        warmup=warmup,
        weight_decay=weight_decay,
        clip=clip,
        precision=precision.value,
        seed=seed,
        evaluate_every=evaluate_every if sets else 0,
        patience=patience,
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        device=device,
    )
    start = _warm_start(warm_start, sharpness, settings)
    with progress() as show:
        prepare = _query_recipe if side is SidesName.QUERY else _splade_recipe
        recipe, evaluate = prepare(model, device, training, settings, start, out, sets, show)
        outcome = train(recipe, optimising, out, evaluate=evaluate if sets else None, restart=restart, progress=show)
    tell(outcome, json=json)


def _losses(given: list[str] | None, *, taught: bool) -> dict[str, float]:
    """Each loss' weight, 0 for one that is not wanted."""
    chosen = dict.fromkeys(_LOSSES, 0.0)
    for text in given or ["contrastive", *(["kl"] if taught else [])]:
        name, equals, number = text.partition("=")
        try:
            weight = float(number) if equals else 1.0
        except ValueError:
            weight = math.nan
        if name not in chosen or not weight >= 0:
            raise InputError(f"--loss takes {', '.join(_LOSSES)}, as kl or kl=0.5; got {text!r}")
        chosen[name] = weight
    return chosen


def _warm_start(name: WarmStartName, sharpness: float, settings: "SpladeSettings") -> "LexicalStart | None":
    from retrieval.training.warmstart import LexicalStart

    if name is WarmStartName.NONE:
        return None
    return LexicalStart(max_length=settings.document_length, sharpness=sharpness, seed=settings.seed)


def _splade_recipe(
    model: str,
    device: str | None,
    training: "TrainingData",
    settings: "SpladeSettings",
    start: "LexicalStart | None",
    out: Path,
    sets: list["DevSet"],
    show: Progress,
) -> tuple["SpladeRecipe", Callable[[], float]]:
    """Of one model, or of both sides; nothing of it is kept in the folder."""
    from retrieval.encoders.layout import is_sparse
    from retrieval.encoders.neural.splade import Splade
    from retrieval.training.recipes.splade import SpladeRecipe, evaluator

    if start is not None:
        encoder = Splade.from_encoder(model, device=device)
    elif is_sparse(model):
        encoder = Splade.load(model, device=device)
    else:
        encoder = Splade.from_encoder(model, device=device, bias=_BIAS)
    if settings.lora is not None:
        encoder.with_lora(r=settings.lora, alpha=max(settings.lora // 2, 1))
    recipe = SpladeRecipe(encoder, training, settings, warm_start=start, progress=show)
    return recipe, evaluator(encoder, sets)


def _query_recipe(
    model: str,
    device: str | None,
    training: "TrainingData",
    settings: "SpladeSettings",
    start: "LexicalStart | None",
    out: Path,
    sets: list["DevSet"],
    show: Progress,
) -> tuple["SpladeRecipe", Callable[[], float]]:
    """Of the query side, against documents that are encoded now, or were by an earlier run in this folder."""
    from retrieval.encoders.layout import is_sparse
    from retrieval.encoders.models import weights_digest
    from retrieval.encoders.neural.splade import Splade
    from retrieval.training.frozen import encode_frozen
    from retrieval.training.recipes.splade import shortened
    from retrieval.training.recipes.splade_query import SpladeQueryRecipe, frozen_evaluator, with_query_side

    if not is_sparse(model):
        raise InputError(
            f"{model!r} has no vocabulary head, so its documents have no sparse vectors yet",
            hint="give it one first: retrieval train splade DATA --model MODEL --warm-start lexical --steps 0",
        )
    encoder = Splade.load(model, device=device)
    # What is written reads as much of a document as the vectors that it learned against.
    length = encoder.document.max_length = min(encoder.document.max_length, settings.document_length)

    def encode(texts: Sequence[str]) -> "Tensor":
        weights: Tensor = encoder(shortened(encoder, texts, "document", length), "document")
        return weights

    about = f"{weights_digest(encoder.document)} {length}"
    encoder.eval()
    make_folder(out)
    documents = encode_frozen(encode, training.texts, out / "documents", model=about, progress=show)
    recipe = SpladeQueryRecipe(with_query_side(encoder), training, documents, settings, warm_start=start, progress=show)
    return recipe, frozen_evaluator(encoder, training, documents, sets)

"""Learn: training data, a model and a method become a better model, in a folder that holds all that led to it."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import InputError, MissingExtraError
from retrieval.files import make_folder
from retrieval.learning.indexed import IndexedDocuments, index_of
from retrieval.protocols import Progress, silent
from retrieval.training.settings import (
    AdoreSettings,
    Ar2Settings,
    CetSettings,
    DataSettings,
    DenseSettings,
    PairSettings,
    RankerSettings,
    RocketQaSettings,
    StarSettings,
    TasBalancedSettings,
    TrainerSettings,
    check_epochs,
)

if TYPE_CHECKING:
    from retrieval.encoders.neural.dual import DualEncoder
    from retrieval.rerank.neural.cross_encoder import CrossEncoder
    from retrieval.training.data import TrainingData
    from retrieval.training.dev import DevSet
    from retrieval.training.recipes.dual import DualRecipe
    from retrieval.training.trainer import Outcome

__all__ = ["METHODS", "each_epoch", "learn", "needs_torch", "read_data", "steps_of"]

METHODS: Mapping[str, type[DenseSettings]] = {
    "dense": DenseSettings,
    "star": StarSettings,
    "adore": AdoreSettings,
    "ar2": Ar2Settings,
    "cet": CetSettings,
    "tas-b": TasBalancedSettings,
    "rocketqa": RocketQaSettings,
    "pair": PairSettings,
}
"""The methods for dense encoders, and what can be set of each."""


# Candidates of a dev query that a ranker is judged by.
_RERANKED = 50


def read_data(data: Sequence[Path], settings: DataSettings, seed: int) -> tuple["TrainingData", list["DevSet"]]:
    """Training data and dev data, none of whose queries trains.

    Raises:
        InputError: dev data is wanted, and no folder has any.
        CollectionError, CorpusError: something cannot be read, or nothing is left to train on.
    """
    from retrieval.training.data import Sources, read_training_data

    sets, held = _dev_sets(settings.dev_data or data, settings, seed)
    sources = Sources(
        data=data,
        split=settings.split,
        negatives=settings.negatives,
        depth=settings.negatives_depth,
        pseudo_positives=settings.pseudo_positives,
        found_positives=settings.found_positives,
        teacher=settings.teacher_run,
        held_out=held,
        held_texts=frozenset(query.text for dev in sets for query in dev.queries),
    )
    return read_training_data(sources), sets


def _dev_sets(data: Sequence[Path], settings: DataSettings, seed: int) -> tuple[list["DevSet"], frozenset[str]]:
    """Dev data of every folder that has it, and the queries that must not train for it."""
    dev, share, count = settings.dev, settings.hold_out, settings.dev_documents
    if dev is None and share is None:
        return [], frozenset()
    if dev == settings.split and not settings.dev_data:
        raise InputError(f"split {dev} trains, and cannot choose the model", hint="--hold-out SHARE takes some of it")
    from retrieval.beir_eval.datasets import load_collection
    from retrieval.training.dev import hold_out, load_dev_set

    sets, held = [], frozenset[str]()
    for folder in data:
        if dev and (folder / "qrels" / f"{dev}.tsv").is_file():
            sets.append(load_dev_set(folder, dev, documents=count, seed=seed))
        elif share is not None and folder.is_dir():
            asked = load_collection(folder, settings.split, on_error="skip").queries
            only = hold_out([query.id for query in asked], share, seed)
            held |= only
            sets.append(load_dev_set(folder, settings.split, only=only, documents=count, seed=seed))
    if not sets:
        raise InputError(f"no folder of the data has judgements for dev data: qrels/{dev or settings.split}.tsv")
    return sets, held


def learn(
    method: str,
    model: str,
    data: "TrainingData",
    sets: Sequence["DevSet"],
    settings: DenseSettings,
    optimising: TrainerSettings,
    out: Path,
    *,
    corpus: Path | None = None,
    index: Path | None = None,
    restart: bool = False,
    progress: Progress = silent,
) -> "Outcome":
    """Train a dense encoder, or go on with a run that was interrupted.

    Args:
        method: one of METHODS.
        model: what to begin with.
        data: what to learn from.
        sets: dev data, which choose the model; without any it is the last.
        settings: the method's.
        optimising: the trainer's; where dev data is given and no steps between evaluations, each epoch ends with one.
        out: where the model goes, with its log, its checkpoints and the negatives that were found.
        corpus: for ADORE, the folder of documents that `index` is built of where it is not given.
        index: for ADORE, an index with a dense part of this model.
        restart: begin anew where an interrupted run stands.
        progress: told of documents and steps.

    Raises:
        MissingExtraError: torch, accelerate or peft is not installed.
        ModelError: the model cannot be had, or is none to train.
        TrainingError: see `retrieval.training.trainer.train`.
        InputError: an unknown method, or a finished model stands at `out`, or it is no folder to write to.
    """
    needs_torch()
    from retrieval.encoders.neural.dual import DualEncoder
    from retrieval.training.trainer import train

    if method not in METHODS:
        raise InputError(f"no method {method!r}", hint=f"name one of {', '.join(METHODS)}")
    optimising = each_epoch(optimising, data, settings.batch) if sets else optimising
    encoder = DualEncoder.load(model, device=optimising.device)
    prepare = _prepare_adore if method == "adore" else _prepare
    given: dict[str, Any] = {
        "corpus": corpus,
        "index": index,
        "device": optimising.device,
        "folder": out,
        "restart": restart,
        "progress": progress,
    }
    recipe, evaluate = prepare(method, encoder, data, sets, settings, **given)
    if sets:
        recipe.origin["dev"] = [dev.fingerprint() for dev in sets]
    return train(recipe, optimising, out, evaluate=evaluate if sets else None, restart=restart, progress=progress)


def each_epoch(optimising: TrainerSettings, data: "TrainingData", batch: int) -> TrainerSettings:
    """With an evaluation after each epoch, where nothing else was said."""
    every = optimising.evaluate_every or max(1, round(len(data.examples) / batch))
    return replace(optimising, evaluate_every=every)


def steps_of(epochs: float, data: "TrainingData", batch: int) -> int:
    """The batches in which each query is seen so many times, the last one being full.

    Raises:
        InputError: that is no number of times.
    """
    check_epochs(epochs)
    return math.ceil(epochs * len(data.examples) / batch)


def needs_torch() -> None:
    """An error that says how to install it, where it is not."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("torch", "models", "training") from error


Prepared = tuple["DualRecipe[Any]", Callable[[], float]]


def _prepare(
    method: str,
    encoder: "DualEncoder",
    data: "TrainingData",
    sets: Sequence["DevSet"],
    settings: DenseSettings,
    *,
    device: str | None,
    folder: Path,
    progress: Progress,
    **unused: Any,
) -> Prepared:
    """A recipe, and what says how good its model is."""
    from retrieval.encoders.neural.dual import DualEncoder
    from retrieval.rerank.neural.cross_encoder import CrossEncoder
    from retrieval.training.recipes.dense import evaluator

    models: dict[str, Any] = {}
    if isinstance(settings, RankerSettings) and not _is_dual(settings):
        _check_taught(settings)
        models["ranker"] = CrossEncoder.for_training(settings.ranker, device=device, seed=settings.seed)
    if isinstance(settings, TasBalancedSettings):
        # A new head knows nothing, and here it would teach.
        models["ranker"] = CrossEncoder.load(settings.ranker, device=device) if settings.ranker else None
        teacher = settings.batch_teacher
        models["batch_teacher"] = DualEncoder.load(teacher, device=device).requires_grad_(False) if teacher else None
    recipe = _recipe(method)(encoder, data, settings, folder=folder, progress=progress, **models)
    if isinstance(settings, CetSettings) and not _is_dual(settings):
        return recipe, _reranking(encoder, models["ranker"], sets, settings)
    return recipe, evaluator(encoder, sets)


def _recipe(method: str) -> Any:
    from retrieval.training.recipes.ar2 import Ar2Recipe
    from retrieval.training.recipes.cet_style import CetStyleRecipe
    from retrieval.training.recipes.dense import DenseRecipe
    from retrieval.training.recipes.pair import PairRecipe
    from retrieval.training.recipes.rocketqa import RocketQaRecipe
    from retrieval.training.recipes.star import StarRecipe
    from retrieval.training.recipes.tas_balanced import TasBalancedRecipe

    return {
        "dense": DenseRecipe,
        "star": StarRecipe,
        "ar2": Ar2Recipe,
        "cet": CetStyleRecipe,
        "tas-b": TasBalancedRecipe,
        "rocketqa": RocketQaRecipe,
        "pair": PairRecipe,
    }[method]


def _is_dual(settings: DenseSettings) -> bool:
    return isinstance(settings, CetSettings) and settings.relevance == "dual"


def _check_taught(settings: RankerSettings) -> None:
    """An error where a head that is drawn at random would teach the retriever from the first step on."""
    from retrieval.encoders.layout import is_classifier

    teaches = isinstance(settings, Ar2Settings | RocketQaSettings)
    if teaches and not settings.ranker_warmup and not is_classifier(settings.ranker):
        raise InputError(
            f"the ranker {settings.ranker!r} gets a new head, which knows nothing and would teach",
            hint="--ranker-warmup STEPS trains it alone first; or name a cross-encoder",
        )


def _reranking(
    encoder: "DualEncoder", ranker: "CrossEncoder", sets: Sequence["DevSet"], settings: RankerSettings
) -> Callable[[], float]:
    """How well a ranker orders what the retriever finds, which is searched for once."""
    from retrieval.training.recipes.cross_encoder import evaluator
    from retrieval.training.recipes.dense import run_of

    runs: list[Any] = []

    def evaluate() -> float:
        if not runs:
            runs.extend(run_of(encoder, dev) for dev in sets)
        return evaluator(ranker, sets, runs, depth=_RERANKED, length=settings.pair_length)()

    return evaluate


def _prepare_adore(
    method: str,
    encoder: "DualEncoder",
    data: "TrainingData",
    sets: Sequence["DevSet"],
    settings: DenseSettings,
    *,
    corpus: Path | None,
    index: Path | None,
    device: str | None,
    folder: Path,
    restart: bool,
    progress: Progress,
) -> Prepared:
    from retrieval.training.gathering import first_alone, processes
    from retrieval.training.recipes.adore import AdoreRecipe
    from retrieval.training.recipes.query_side import frozen_evaluator

    assert isinstance(settings, AdoreSettings)
    make_folder(folder)
    with first_alone(device):
        if restart and processes()[0] == 0:
            shutil.rmtree(folder / "index", ignore_errors=True)
        opened = index_of(encoder, folder / "index", corpus, index, progress)
    documents = IndexedDocuments(opened, data.ids)
    if index is None and documents.lacking:
        raise InputError(
            f"{folder / 'index'}, which an earlier run has left, lacks documents of the data: {documents.lacking}",
            hint="remove it, and it is built anew",
        )
    recipe = AdoreRecipe(encoder, data, settings, index=documents, folder=folder, progress=progress)
    return recipe, frozen_evaluator(encoder, data, documents, sets)

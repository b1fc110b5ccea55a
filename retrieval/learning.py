"""Learn: training data, a model and a method become a better model, in a folder that holds all that led to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ArtifactMissingError, InputError, MissingExtraError
from retrieval.indexing import Index
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
)

if TYPE_CHECKING:
    from retrieval.encoders.neural.dual import DualEncoder
    from retrieval.rerank.neural.cross_encoder import CrossEncoder
    from retrieval.training.data import TrainingData
    from retrieval.training.dev import DevSet
    from retrieval.training.recipes.dense import DenseRecipe
    from retrieval.training.trainer import Outcome

__all__ = ["METHODS", "IndexedDocuments", "each_epoch", "learn", "needs_torch", "read_data"]

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
        teacher=settings.teacher_run,
        held_out=held,
    )
    return read_training_data(sources), sets


def _dev_sets(data: Sequence[Path], settings: DataSettings, seed: int) -> tuple[list["DevSet"], frozenset[str]]:
    """Dev data of every folder that has it, and the queries that must not train for it."""
    dev, share, count = settings.dev, settings.hold_out, settings.dev_documents
    if dev is None and share is None:
        return [], frozenset()
    from retrieval.beir_eval.datasets import load_collection
    from retrieval.training.dev import hold_out, load_dev_set

    sets, held = [], frozenset[str]()
    for folder in data:
        if dev and (folder / "qrels" / f"{dev}.tsv").is_file():
            sets.append(load_dev_set(folder, dev, documents=count, seed=seed))
        elif share is not None and folder.is_dir():
            only = hold_out([query.id for query in load_collection(folder, settings.split).queries], share, seed)
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
        InputError: an unknown method, or a finished model stands at `out`.
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


def needs_torch() -> None:
    """An error that says how to install it, where it is not."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("torch", "models", "training") from error


Prepared = tuple["DenseRecipe", Callable[[], float]]


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
    progress: Progress,
    **unused: Any,
) -> Prepared:
    from retrieval.training.gathering import first_alone
    from retrieval.training.recipes.adore import AdoreRecipe, frozen_evaluator

    assert isinstance(settings, AdoreSettings)
    with first_alone(device):
        opened = _index_of(encoder, folder / "index", corpus, index, progress)
    documents = IndexedDocuments(opened, data.ids)
    recipe = AdoreRecipe(encoder, data, settings, index=documents, folder=folder, progress=progress)
    return recipe, frozen_evaluator(encoder, data, documents, sets)


def _index_of(encoder: "DualEncoder", own: Path, corpus: Path | None, index: Path | None, show: Progress) -> Index:
    """The index that is given, or one of the corpus by this model, which an earlier run may have built."""
    if index is not None:
        return Index.open(index)
    if corpus is None:
        raise InputError("ADORE searches an index: of one folder of documents", hint="give one BEIR folder, or --index")
    try:
        return Index.open(own)
    except ArtifactMissingError:
        device = str(encoder.device)
        return Index.build(
            corpus, own, lexical=False, dense=encoder.name, device=device, on_error="skip", progress=show
        )


class IndexedDocuments:
    """The dense part of an index, in whose place documents are named by their rows in training data.

    Args:
        index: with a dense part.
        ids: of the rows; those that the index lacks are never found.
    """

    def __init__(self, index: Index, ids: Sequence[str]) -> None:
        if index.dense is None or index.manifest.dense is None:
            raise ArtifactMissingError(f"{index.path} has no dense part", hint="build it with one: --dense MODEL")
        self._dense = index.dense
        self.fingerprint = index.manifest.fingerprint
        self.encoder_digest = index.manifest.dense.encoder.document_weights or index.manifest.dense.encoder.weights
        places, ordinals = index.documents.find(ids)
        self._ordinals = np.full(len(ids), -1, dtype=np.int64)
        self._ordinals[places] = ordinals
        self._rows = np.full(int(ordinals.max(initial=-1)) + 2, -1, dtype=np.int64)
        self._rows[ordinals] = places

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """(n, k) rows, best first; -1 where there are fewer, or the data has no such document."""
        hits = self._dense.search(queries, k)
        found = np.full((len(queries), hits.ordinals.shape[1]), -1, dtype=np.int64)
        there = np.arange(found.shape[1]) < hits.counts[:, None]
        found[there] = self._rows[np.minimum(hits.ordinals[there], len(self._rows) - 1)]
        return found

    def has(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(m,) whether the index has such documents."""
        return self._ordinals[rows] >= 0

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m, d) of documents that the index has."""
        return self._dense.vectors_of(self._ordinals[rows])

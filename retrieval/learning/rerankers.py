"""Learn to rerank: training data and a model become a cross-encoder or a set-encoder that orders a run better."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.beir_eval.runs import read_run
from retrieval.learning.dense import each_epoch, needs_torch
from retrieval.protocols import Progress, silent
from retrieval.training.ranker_settings import CrossEncoderSettings, SetEncoderSettings
from retrieval.training.settings import TrainerSettings

if TYPE_CHECKING:
    from retrieval.training.data import TrainingData
    from retrieval.training.dev import DevSet
    from retrieval.training.recipes import Recipe
    from retrieval.training.trainer import Outcome

__all__ = ["learn_ranker"]

# Tokens of a query that a new set-encoder reads, as the published ones do.
_QUERY_LENGTH = 32


def learn_ranker(
    model: str,
    data: "TrainingData",
    sets: Sequence[tuple["DevSet", Path]],
    settings: CrossEncoderSettings,
    optimising: TrainerSettings,
    out: Path,
    *,
    depth: int = 100,
    subtopics: Path | None = None,
    restart: bool = False,
    progress: Progress = silent,
) -> "Outcome":
    """Train a cross-encoder, or by its settings a set-encoder, or go on with a run that was interrupted.

    Args:
        model: a cross-encoder, or an encoder that gets a new head.
        data: what to learn from.
        sets: dev data, and of each the TREC run whose hits are reranked to judge the model.
        settings: the method's.
        optimising: the trainer's; where dev data is given and no steps between evaluations, each epoch ends with one.
        out: where the model goes, with its log and checkpoints.
        depth: hits of a run that are reranked.
        subtopics: for a set-encoder, what `read_subtopics` reads; it teaches a novelty head, or else RankNet.
        restart: begin anew where an interrupted run stands.
        progress: told of steps.

    Raises:
        MissingExtraError, ModelError, TrainingError, InputError: see `retrieval.learning.dense.learn`.
        CollectionError: a run cannot be read, or holds no dev query; or the sub-topics cannot be read.
    """
    needs_torch()
    from retrieval.training.recipes.cross_encoder import evaluator
    from retrieval.training.trainer import train

    optimising = each_epoch(optimising, data, settings.batch) if sets else optimising
    runs = [read_run(path, dev.qrels) for dev, path in sets]
    if isinstance(settings, SetEncoderSettings):
        recipe, score = _set_encoder(model, data, settings, optimising.device, subtopics, progress)
    else:
        recipe, score = _cross_encoder(model, data, settings, optimising.device)
    evaluate = evaluator(recipe.model, [dev for dev, _ in sets], runs, depth=depth, score=score) if sets else None
    return train(recipe, optimising, out, evaluate=evaluate, restart=restart, progress=progress)


Prepared = tuple["Recipe", Callable[..., Any]]
"""A recipe, and what scores pairs by its model."""


def _cross_encoder(model: str, data: "TrainingData", settings: CrossEncoderSettings, device: str | None) -> Prepared:
    from retrieval.rerank.cross_encoder import score_pairs
    from retrieval.rerank.neural.cross_encoder import CrossEncoder
    from retrieval.training.recipes.cross_encoder import CrossEncoderRecipe

    ranker = CrossEncoder.for_training(model, device=device, seed=settings.seed)
    return CrossEncoderRecipe(ranker, data, settings), score_pairs


def _set_encoder(
    model: str,
    data: "TrainingData",
    settings: SetEncoderSettings,
    device: str | None,
    subtopics: Path | None,
    progress: Progress,
) -> Prepared:
    from retrieval.rerank.neural.set_encoder import SetEncoder
    from retrieval.training.recipes.set_encoder import SetEncoderRecipe, score_lists
    from retrieval.training.subtopics import read_subtopics

    known = read_subtopics(subtopics) if subtopics else None
    length = min(_QUERY_LENGTH, settings.pair_length // 2)
    ranker = SetEncoder.for_training(model, device=device, seed=settings.seed, query_length=length)
    return SetEncoderRecipe(ranker, data, settings, known, progress=progress), score_lists

"""Short runs of every method for dense encoders, as tests do them in processes of their own and in theirs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from retrieval.learning.dense import METHODS, learn, read_data
from retrieval.protocols import Progress, silent
from retrieval.rerank.neural.cross_encoder import CrossEncoder
from retrieval.training.log import read_log
from retrieval.training.ranker_settings import CrossEncoderSettings
from retrieval.training.recipes.cross_encoder import CrossEncoderRecipe
from retrieval.training.settings import DataSettings, TrainerSettings
from retrieval.training.trainer import Outcome, train

OPTIMISING = TrainerSettings(steps=5, lr=1e-3, checkpoint_every=2, evaluate_every=2, log_every=1, device="cpu")

_LISTS: dict[str, Any] = {"negatives_per_query": 3, "ranker_lr": 1e-3}

CASES: dict[str, dict[str, Any]] = {
    "dense": {"method": "dense", "negatives_per_query": 2},
    "cached": {"method": "dense", "negatives_per_query": 2, "cached": True, "at_once": 3},
    "star": {"method": "star", "mined": 5, "refresh": 2},
    "adore": {"method": "adore", "depth": 10},
    "ar2": {"method": "ar2", "mined": 6, "ranker_warmup": 1, "cycle": 2, "ranker_share": 0.5, **_LISTS},
    "rocketqa": {"method": "rocketqa", "mined": 0, "ranker_warmup": 1, "teacher_grad": True, **_LISTS},
    "cet": {"method": "cet", "mined": 6, "refresh": 3, "uncorrected": 1, **_LISTS},
    "cet-cross": {"method": "cet", "mined": 0, "relevance": "cross", **_LISTS},
    "tas-b": {"method": "tas-b", "mined": 8, "clusters": 3, "ranked": 4},
    "pair": {"method": "pair", "first_stage": 3},
    "lora": {"method": "dense", "lora": 2},
    "cross-encoder": {"negatives_per_query": 3},
}
"""By name: a method and its settings; each finds negatives, takes turns or changes its stage within a few steps."""


@dataclass(frozen=True)
class Task:
    """What there is to learn from, and with: see `making`.

    Attributes:
        collection: a BEIR folder.
        run: negatives of its training queries.
        model: a dense encoder.
        ranker: a cross-encoder.
        index: of the collection by the dense encoder; None lets ADORE build it.
    """

    collection: Path
    run: Path
    model: Path
    ranker: Path
    index: Path | None = None

    def told(self) -> list[str]:
        """As arguments of a process."""
        return [str(path) for path in (self.collection, self.run, self.model, self.ranker, self.index) if path]


def go(
    case: str, task: Task, out: Path, *, restart: bool = False, progress: Progress = silent, **changes: Any
) -> Outcome:
    """Train as a case has it, but for changes of the method or the trainer."""
    settings = {"batch": 7, "query_length": 16, "document_length": 16, **CASES[case]}
    if case == "cross-encoder":
        return _go_alone(task, out, **changes)
    method = str(settings.pop("method"))
    if hasattr(METHODS[method], "ranker"):
        settings["ranker"] = str(task.ranker)
    if method == "tas-b":
        settings["batch_teacher"] = str(task.model)
    optimising = replace(OPTIMISING, **{name: value for name, value in changes.items() if hasattr(OPTIMISING, name)})
    settings |= {name: value for name, value in changes.items() if not hasattr(OPTIMISING, name)}
    data, sets = read_data([task.collection], DataSettings(negatives=[task.run], hold_out=0.1), 0)
    given: dict[str, Any] = {"corpus": task.collection, "index": task.index if method == "adore" else None}
    made = METHODS[method](**settings)
    given |= {"restart": restart, "progress": progress}
    return learn(method, str(task.model), data, sets, made, optimising, out, **given)


def _go_alone(task: Task, out: Path, **changes: Any) -> Outcome:
    """Train the cross-encoder by itself, judged by its loss on one batch."""
    data, _ = read_data([task.collection], DataSettings(negatives=[task.run]), 0)
    made = CrossEncoderSettings(batch=7, **CASES["cross-encoder"])
    recipe = CrossEncoderRecipe(CrossEncoder.load(str(task.ranker), device="cpu"), data, made)

    def evaluate() -> float:
        return -recipe.loss(recipe.batch(0, 0, 1), 0).total.item()

    return train(recipe, replace(OPTIMISING, **changes), out, evaluate=evaluate)


def state(out: Path) -> dict[str, Any]:
    """What a run's last checkpoint holds."""
    found: dict[str, Any] = torch.load(max(out.glob("checkpoints/step-*/state.pt")), weights_only=True)
    return found


def told(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's log without rates."""
    return [{**line, "steps_per_second": 0} for line in read_log(out / "log.jsonl")]


def figures(lines: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Each line's figures, one after the other, under the step and their names."""
    for line in lines:
        yield from ((f"{line['step']} {name}", value) for name, value in line.items())


def names(folder: Path) -> list[str]:
    """All that stands below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

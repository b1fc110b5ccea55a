"""What every command that trains says, and how it uses the machine."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.cli.console import print_json, say

if TYPE_CHECKING:
    from retrieval.training.data import TrainingData
    from retrieval.training.dev import DevSet
    from retrieval.training.trainer import Outcome

__all__ = ["draw_curves", "is_spokesman", "report", "tell", "told_of", "use_threads"]


def draw_curves(folder: Path) -> None:
    """Write curves.png of a run's folder; of a run without a step there are none, which is said."""
    if not is_spokesman():
        return
    from retrieval.training.log import read_log
    from retrieval.training.plotting import plot_log

    if not any("loss" in line for line in read_log(folder / "log.jsonl")):
        say("curves: none, since no step was taken")
        return
    plot_log(folder / "log.jsonl", folder / "curves.png", title=folder.name)
    say(f"curves: {folder / 'curves.png'}")


def is_spokesman() -> bool:
    """Whether this process, of those that `accelerate launch` or torchrun started, is the one that talks."""
    return os.environ.get("RANK", "0") == "0"


def use_threads(threads: int | None) -> None:
    """Let torch use so many cores."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def report(training: "TrainingData", sets: Sequence["DevSet"]) -> None:
    """What there is to learn from, and what was found wrong with it."""
    if not is_spokesman():
        return
    for note in (*training.notes, *(note for dev in sets for note in dev.notes)):
        say(f"note: {note}")
    dev = ", ".join(f"{len(dev.queries)} of {dev.name}" for dev in sets) or "none"
    say(f"{len(training.examples)} training queries, {len(training.texts)} documents; dev queries: {dev}")


def tell(outcome: "Outcome", *, json: bool) -> None:
    """What came of it."""
    if not is_spokesman():
        return
    say(told_of(outcome))
    if json:
        print_json({"model": str(outcome.model), "steps": outcome.steps, "best": outcome.best})


def told_of(outcome: "Outcome") -> str:
    """A run, in a line."""
    best = f", the best of step {outcome.best.step}: dev nDCG@10 {outcome.best.score:.4f}" if outcome.best else ""
    return f"{outcome.model}: {outcome.steps} steps{best}"

"""A short training run, as a test does it or as a process of its own that is killed in the middle."""

import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from retrieval.encoders.neural.splade import Splade
from retrieval.training.batches import Batch
from retrieval.training.data import Sources, read_training_data
from retrieval.training.recipes.splade import SpladeRecipe, SpladeSettings
from retrieval.training.settings import TrainerSettings
from retrieval.training.trainer import Outcome, train

METHOD = SpladeSettings(
    batch=6, negatives=2, kl=1.0, teacher_scale=5.0, flops_document=1e-3, l1_query=1e-3, ramp=4, document_length=16
)
OPTIMISING = TrainerSettings(steps=8, lr=1e-3, checkpoint_every=3, log_every=1, device="cpu")


class KilledRecipe(SpladeRecipe):
    """SPLADE, in a process that is killed before it reads a step's batch."""

    at: int

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """Nothing, in the end."""
        if step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(step, rank, world)


def recipe(
    collection: Path, run: Path, model: Path, kind: type[SpladeRecipe] = SpladeRecipe, **changes: Any
) -> SpladeRecipe:
    """What is trained."""
    data = read_training_data(Sources(data=[collection], negatives=[run], teacher=[run]))
    return kind(Splade.load(str(model), device="cpu"), data, replace(METHOD, **changes))


def short_run(collection: Path, run: Path, model: Path, out: Path, **changes: Any) -> Outcome:
    """Train for some steps."""
    return train(recipe(collection, run, model), replace(OPTIMISING, **changes), out)


def undone(out: Path) -> None:
    """As if a run had been killed before it handed its model out."""
    shutil.rmtree(out / "model")


if __name__ == "__main__":
    torch.set_num_threads(1)
    *paths, step = sys.argv[1:]
    killed = recipe(*map(Path, paths[:3]), kind=KilledRecipe)
    assert isinstance(killed, KilledRecipe)
    killed.at = int(step)
    train(killed, OPTIMISING, Path(paths[3]))

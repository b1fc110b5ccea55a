"""Checkpoints: all that a run needs to go on as if it had never stopped, there whole or not at all.

A checkpoint is a folder `step-<number>` with `state.pt` (tensors and plain values, read with `weights_only`) and
`checkpoint.json` (the step, the settings, the best model so far). It is written beside and renamed; the one before
it goes only then.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from retrieval.errors import TrainingError
from retrieval.files import sync_folder, sync_tree

__all__ = ["Best", "Checkpoints", "Progressed", "commit"]

_STATE, _ABOUT = "state.pt", "checkpoint.json"
_NEW = ".new"
# What torch and safetensors raise where a file cannot be written, beside what Python does.
_UNWRITTEN = (OSError, RuntimeError, SafetensorError)

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Best:
    """The best model so far: at which step, with which score, and how many evaluations since were no better."""

    step: int
    score: float
    since: int = 0


@dataclass(frozen=True)
class Progressed:
    """How far a run has come: after how many steps, its best model, and the state of all that changes."""

    step: int
    best: Best | None
    state: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run, in a folder of their own."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        # As JSON gives it back, so that tuples and lists compare alike.
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))

    @property
    def exist(self) -> bool:
        """Whether there is a run to go on with."""
        return bool(self._committed())

    def load(self) -> Progressed | None:
        """The last checkpoint, or None at the start of a run.

        Raises:
            TrainingError: it is of a run with other settings or other data, or cannot be read.
        """
        if not (committed := self._committed()):
            return None
        folder = committed[-1]
        try:
            about = json.loads((folder / _ABOUT).read_text())
            state = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
        except (OSError, ValueError, RuntimeError, EOFError, UnpicklingError) as error:
            raise TrainingError(
                f"{folder}: the checkpoint cannot be read ({error})", hint="--restart begins anew"
            ) from error
        self._check(about["settings"])
        best = about["best"]
        return Progressed(about["step"], Best(**best) if best else None, state)

    @staticmethod
    def last(folder: Path) -> tuple[int, Best | None]:
        """The step of the last checkpoint in a folder, and the best model that it names; 0 and None without one."""
        committed = sorted(path for path in folder.glob(f"step-*/{_ABOUT}") if path.parent.suffix != _NEW)
        if not committed:
            return 0, None
        about = json.loads(committed[-1].read_text())
        return about["step"], Best(**about["best"]) if about["best"] else None

    def save(self, progressed: Progressed) -> None:
        """Commit a checkpoint, then let go of the one before it and of best models that it does not name."""
        about = {
            "step": progressed.step,
            "best": vars(progressed.best) if progressed.best else None,
            "settings": self._settings,
        }
        final = self._step_folder(progressed.step)

        def fill(folder: Path) -> None:
            # An error of torch's own writer would not say why.
            with (folder / _STATE).open("wb") as file:
                torch.save(dict(progressed.state), file)
            (folder / _ABOUT).write_text(json.dumps(about, indent=2))

        commit(final, fill)
        self.sweep(progressed)

    def save_best(self, best: Best, save: Callable[[Path], None]) -> None:
        """Keep a model that did best; it counts from the checkpoint that names it."""
        commit(self.best_folder(best), save)

    def best_folder(self, best: Best) -> Path:
        """Where a best model is kept."""
        return self._folder / f"best-{best.step:08d}"

    def sweep(self, last: Progressed) -> None:
        """Let go of all but the last checkpoint and the best model that it names; a run may be killed within."""
        keep = {self._step_folder(last.step), *([self.best_folder(last.best)] if last.best else [])}
        for path in self._folder.iterdir():
            if path not in keep:
                shutil.rmtree(path)

    def discard(self) -> None:
        """Forget the run."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _committed(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("step-*") if path.suffix != _NEW)

    def _check(self, before: Settings) -> None:
        names = sorted({*before, *self._settings})
        if differing := [name for name in names if before.get(name) != self._settings.get(name)]:
            told = "; ".join(
                f"{name} was {before.get(name)!r} and is {self._settings.get(name)!r}" for name in differing
            )
            raise TrainingError(
                f"{self._folder}: holds a run with other settings: {told}",
                hint="give the same options to go on with it, or --restart to begin anew",
            )

    def _step_folder(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}"


def commit(final: Path, fill: Callable[[Path], None]) -> None:
    """A folder that is filled beside its place, made durable and renamed.

    Raises:
        TrainingError: it cannot be written, as on a full disk; nothing is left of it then, and what stood there stays.
    """
    beside = final.with_name(final.name + _NEW)
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        fill(beside)
        sync_tree(beside)
    except _UNWRITTEN as error:
        shutil.rmtree(beside, ignore_errors=True)
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise TrainingError(
            f"{final}: cannot be written ({cause}); what was kept before stays",
            hint="see to the disk, and give the same command again to go on",
        ) from error
    # A run that goes on from an earlier checkpoint comes by here again, with the same content.
    shutil.rmtree(final, ignore_errors=True)
    beside.replace(final)
    sync_folder(final.parent)

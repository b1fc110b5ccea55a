"""One training loop for every recipe: on a CPU, a GPU, or several under `accelerate launch`.

A batch depends on the seed and the step, and so do the random numbers drawn within a step; the learning rate is a
function of the step. So weights and the optimiser's state are all that a checkpoint holds, and a run that was killed
and goes on ends with the very weights of one that was not.
"""

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retrieval.encoders.neural.attention import attend_in_float32
from retrieval.errors import InputError, MissingExtraError, TrainingError
from retrieval.files import make_folder
from retrieval.protocols import Progress, silent
from retrieval.training.checkpoints import Best, Checkpoints, Progressed, commit
from retrieval.training.gathering import average_gradients, share_weights
from retrieval.training.log import Log
from retrieval.training.recipes import Recipe, StepLoss
from retrieval.training.settings import TrainerSettings

__all__ = ["Outcome", "learning_rate", "train"]

Evaluate = Callable[[], float]

_KEPT_SECONDS = 60.0  # after which a checkpoint is due, however few steps there were
# Ends of names of parameters that decay would only harm.
_NO_DECAY = ("bias", "LayerNorm.weight", "layer_norm.weight", "norm.weight")


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        model: the folder of the model that did best on dev data; of the last one where there was no evaluation.
        steps: batches learned from, over all its parts.
        best: the step and score of that model, if there was an evaluation.
    """

    model: Path
    steps: int
    best: Best | None


def learning_rate(settings: TrainerSettings, step: int) -> float:
    """The rate of a step, counted from 0: up in a straight line, then down to 0."""
    rising = round(settings.warmup * settings.steps)
    if step < rising:
        return settings.lr * (step + 1) / rising
    return settings.lr * (settings.steps - step) / max(1, settings.steps - rising)


def train(
    recipe: Recipe,
    settings: TrainerSettings,
    out: Path,
    *,
    evaluate: Evaluate | None = None,
    restart: bool = False,
    progress: Progress = silent,
) -> Outcome:
    """Train, or go on with a run that was interrupted, and write `out/model`, `out/log.jsonl` and checkpoints.

    Args:
        recipe: the method.
        settings: how to optimise.
        out: where everything goes.
        evaluate: the score of the model as it is on dev data, higher is better; asked every `evaluate_every` steps.
        restart: begin anew where an interrupted run stands.
        progress: told of steps.

    Raises:
        MissingExtraError: accelerate is not installed.
        TrainingError: the loss is no longer a number, or `out` holds a run with other settings; the last good
            checkpoint stays.
        InputError: `out` holds a finished model already, or is no folder to write to, or fp16 is asked for without a
            GPU.
    """
    make_folder(out)
    if (out / "model").exists() and not restart:
        raise InputError(f"{out / 'model'}: a finished model stands there", hint="name a new folder, or --restart")
    run = _Run(recipe, settings, out, evaluate, progress)
    return run.run(restart=restart)


class _Run:
    def __init__(
        self, recipe: Recipe, settings: TrainerSettings, out: Path, evaluate: Evaluate | None, progress: Progress
    ) -> None:
        self._recipe, self._settings, self._out, self._progress = recipe, settings, out, progress
        self._evaluate = evaluate if settings.evaluate_every else None
        self._accelerator = _accelerator(settings)
        decided = {**settings.deciding(), "processes": self._accelerator.num_processes, **recipe.settings()}
        self._checkpoints = Checkpoints(out / "checkpoints", decided)
        self._best: Best | None = None
        self._saved = time.monotonic()

    def run(self, *, restart: bool) -> Outcome:
        if restart and self._is_main:
            self._checkpoints.discard()
            _remove(self._out / "model")
        self._accelerator.wait_for_everyone()
        progressed = self._checkpoints.load()
        if progressed and self._is_main:
            self._checkpoints.sweep(progressed)
        self._prepare(progressed)
        done = progressed.step if progressed else 0
        self._log = Log(self._out / "log.jsonl", step=done if progressed else -1) if self._is_main else None
        if not progressed:
            self._after(0)
        self._saved = begun = time.monotonic()
        first = done
        self._recipe.model.train()
        while done < self._settings.steps and not self._is_over:
            loss = self._step(done)
            done += 1
            self._tell(done, loss, (time.monotonic() - begun) / (done - first))
            self._after(done)
        if self._is_main:
            self._finish()
        self._accelerator.wait_for_everyone()
        return Outcome(self._out / "model", done, self._best)

    @property
    def _is_main(self) -> bool:
        return bool(self._accelerator.is_main_process)

    @property
    def _is_over(self) -> bool:
        """Whether it has been no better for too long."""
        best, patience = self._best, self._settings.patience
        return bool(patience and best and best.since >= patience)

    def _step(self, step: int) -> StepLoss:
        """Learn from one batch."""
        accelerator, settings = self._accelerator, self._settings
        with accelerator.autocast():
            self._recipe.before_step(step)
        torch.manual_seed(hash((settings.seed, step, accelerator.process_index)))
        batch = self._recipe.batch(step, accelerator.process_index, accelerator.num_processes)
        with accelerator.autocast():
            loss = self._recipe.loss(batch, step)
        self._check(loss, step)
        for group in self._optimizer.param_groups:
            highest = self._recipe.lr(group["part"], step, settings.lr)
            group["lr"] = learning_rate(settings, step) / settings.lr * highest
        self._optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss.total)
        if accelerator.num_processes > 1:
            average_gradients(self._recipe.model, accelerator.num_processes)
        self._clip(step)
        self._optimizer.step()
        return loss

    def _clip(self, step: int) -> None:
        """Each part of the model by itself: of two that learn together, one must not take the other's steps away."""
        self._accelerator.unscale_gradients()
        parts: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self._recipe.model.named_parameters():
            parts.setdefault(self._recipe.part(name), []).append(parameter)
        for parameters in parts.values():
            self._check_gradient(nn.utils.clip_grad_norm_(parameters, self._settings.clip), step)

    def _check(self, loss: StepLoss, step: int) -> None:
        if not math.isfinite(loss.total.item()):
            raise self._diverged(step, f"the loss is {loss.total.item()} ({_listed(loss.parts)})")

    def _check_gradient(self, norm: Tensor, step: int) -> None:
        """Before weights are no numbers, and a checkpoint holds them; with scaled losses the step is left out."""
        if not self._accelerator.scaler and not math.isfinite(norm.item()):
            raise self._diverged(step, f"the norm of the gradient is {norm.item()}")

    def _diverged(self, step: int, what: str) -> TrainingError:
        kept = "its last checkpoint stays" if self._checkpoints.exist else "there was no checkpoint yet"
        return TrainingError(
            f"step {step + 1}: {what}; {kept}",
            hint="a lower --lr, a longer warm-up, or bf16 instead of fp16, and --restart",
        )

    def _tell(self, done: int, loss: StepLoss, seconds: float) -> None:
        self._progress(f"training, loss {loss.total.item():.4f}", done, self._settings.steps)
        if self._log and (done % self._settings.log_every == 0 or done == 1):
            rate = {"lr": learning_rate(self._settings, done - 1), "steps_per_second": 1 / seconds}
            self._log.write({"step": done, "loss": loss.total.item(), **loss.parts, **loss.figures, **rate})

    def _after(self, done: int) -> None:
        """Evaluate and keep, where it is time for that."""
        is_last = done == self._settings.steps
        evaluated = self._evaluate is not None and (is_last or done % self._settings.evaluate_every == 0)
        if evaluated:
            self._judge(done)
        if self._is_main and (evaluated or is_last or self._is_due(done)):
            self._checkpoints.save(Progressed(done, self._best, self._state()))
            self._saved = time.monotonic()
        self._accelerator.wait_for_everyone()

    def _is_due(self, done: int) -> bool:
        """Whether a checkpoint is, by steps or by the clock: a step may take seconds, or a search before it minutes."""
        every = self._settings.checkpoint_every
        return bool(done and every) and (done % every == 0 or time.monotonic() - self._saved >= _KEPT_SECONDS)

    def _judge(self, done: int) -> None:
        assert self._evaluate
        score = self._scored(self._evaluate)
        if self._log:
            self._log.write({"step": done, "dev": score})
        if self._best is None or score > self._best.score:
            self._best = Best(done, score)
            if self._is_main:
                self._checkpoints.save_best(self._best, self._recipe.save)
        else:
            self._best = Best(self._best.step, self._best.score, self._best.since + 1)

    def _scored(self, evaluate: Evaluate) -> float:
        """The score of the model without dropout; all processes work on it, and one says what it is."""
        self._recipe.model.eval()
        with torch.no_grad(), self._accelerator.autocast():
            score = torch.tensor([evaluate()], dtype=torch.float64, device=self._accelerator.device)
        self._recipe.model.train()
        if self._accelerator.num_processes > 1:
            torch.distributed.broadcast(score, src=0)
        return score.item()

    def _state(self) -> Mapping[str, Any]:
        scaler = self._accelerator.scaler
        return {
            "model": self._recipe.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else {},
            "recipe": dict(self._recipe.state()),
        }

    def _prepare(self, progressed: Progressed | None) -> None:
        """Bring model and optimiser to where the run begins, or was."""
        recipe, state = self._recipe, progressed.state if progressed else None
        if self._settings.dropout is not None:
            _set_dropout(recipe.model, self._settings.dropout)
        if state:
            recipe.model.load_state_dict(state["model"])
            recipe.load_state(state["recipe"])
        recipe.model.to(self._accelerator.device)
        attend_in_float32(recipe.model)
        if not state:
            share_weights(recipe.model)
            with self._accelerator.autocast():  # a search for negatives is as precise as the steps
                recipe.begin()
            share_weights(recipe.model)  # which may have learned there, not to the bit the same in all processes
        optimizer = torch.optim.AdamW(_groups(recipe, self._settings.weight_decay), lr=self._settings.lr, fused=True)
        self._optimizer = self._accelerator.prepare(optimizer)
        self._best = progressed.best if progressed else None
        if state:
            self._optimizer.load_state_dict(state["optimizer"])
            if self._accelerator.scaler:
                self._accelerator.scaler.load_state_dict(state["scaler"])

    def _finish(self) -> None:
        """Put the model where it is looked for, whole or not at all."""

        def fill(folder: Path) -> None:
            if self._best:
                shutil.copytree(self._checkpoints.best_folder(self._best), folder, dirs_exist_ok=True)
            else:
                self._recipe.save(folder)

        commit(self._out / "model", fill)


def _accelerator(settings: TrainerSettings) -> Any:
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise MissingExtraError("accelerate", "train", "training") from error
    is_cpu = settings.device == "cpu"
    if settings.device and settings.device.startswith("cuda:"):
        raise InputError(
            f"{settings.device}: which GPU is used is for the launcher to say",
            hint="CUDA_VISIBLE_DEVICES=1, and --device cuda",
        )
    if settings.precision == "fp16" and (is_cpu or not torch.cuda.is_available()):
        raise InputError("fp16 needs a GPU", hint="--precision bf16, or no")
    # It is one for the process, and another run in it may want another precision.
    AcceleratorState._reset_state()
    return Accelerator(mixed_precision=settings.precision, cpu=is_cpu)


def _groups(recipe: Recipe, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters by parts, with and without decay."""
    groups: dict[tuple[str, float], list[nn.Parameter]] = {}
    for name, parameter in recipe.model.named_parameters():
        if parameter.requires_grad:
            decay = 0.0 if name.endswith(_NO_DECAY) else weight_decay
            groups.setdefault((recipe.part(name), decay), []).append(parameter)
    return [{"params": parameters, "part": part, "weight_decay": decay} for (part, decay), parameters in groups.items()]


def _set_dropout(model: nn.Module, share: float) -> None:
    """Of all layers; some kinds of attention have theirs as a number."""
    module: Any
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = share


def _listed(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in parts.items())


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)

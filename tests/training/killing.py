"""A process that trains in forks of itself and kills them; everything is imported before the first fork."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from tests.training.methods import Task, go

ROOT = Path(__file__).parents[2]

# Imported by the jobs themselves, at their first need.
_LATER = (
    "accelerate",
    "peft.tuners.lora",
    "sentence_transformers",
    "sklearn.cluster",
    "retrieval.training.trainer",
    "retrieval.training.recipes.tas_balanced",
    "retrieval.training.recipes.adore",
)


class Killer:
    """Trains when it is told to; use as a context manager."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __enter__(self) -> Self:
        command, pipe = [sys.executable, "-m", __name__, *self._task.told()], subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        return self

    def run(self, case: str, out: Path, *, seed: int | None = None) -> list[str]:
        """Train as a case has it, killed and begun again until it ends; what each run was about to do when it was.

        A step is a file or a folder that is opened for writing, made, renamed or removed, a batch that is drawn, or
        some texts that have been encoded. Without a seed the run is left alone.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"case": case, "out": str(out), "seed": seed}) + "\n")
        self._process.stdin.flush()
        answer: list[str] = json.loads(self._process.stdout.readline())
        return answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            assert self._process.stdin
            self._process.stdin.close()


def main() -> None:
    """Do what stdin says, line by line."""
    import importlib

    torch.set_num_threads(1)
    for name in _LATER:
        importlib.import_module(name)
    task = Task(*map(Path, sys.argv[1:]))
    for line in sys.stdin:
        print(json.dumps(_all(task, **json.loads(line))), flush=True)  # noqa: T201 - the answer


def _all(task: Task, case: str, out: str, seed: int | None) -> list[str]:
    """Runs, one after the other, until one ends."""
    generator, ends = random.Random(seed), []
    longest = 40
    while True:
        at = None if seed is None else generator.randint(1, longest)
        longest += 20  # so that an end is reached, however far apart checkpoints are
        last = _forked(task, case, Path(out), at)
        ends.append(last)
        if last == "end" or last.startswith("error"):
            return ends


def _forked(task: Task, case: str, path: Path, at: int | None) -> str:
    """Train in a fork; `end`, an error, or the step at which it was killed."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        _child(task, case, path, into, at)
    os.close(into)
    with os.fdopen(out) as pipe:
        told = pipe.read().splitlines()
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return told[-1] if told and (killed or told[-1] == "end" or told[-1].startswith("error")) else "error: no word"


def _child(task: Task, case: str, path: Path, into: int, at: int | None) -> None:
    """Train and end, whatever happens."""
    steps = 0

    def step(what: str) -> None:
        nonlocal steps
        steps += 1
        if at is not None:
            os.write(into, f"{what}\n".encode())
        if steps == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, arguments: Sequence[Any]) -> None:
        if _is_change(event, arguments, path):
            step(f"{event} {Path(str(arguments[0])).name}")

    try:
        sys.addaudithook(hear)
        go(case, task, path, progress=lambda stage, done, total: step(stage))
        os.write(into, b"end\n")
    except BaseException as error:
        os.write(into, f"error: {type(error).__name__}: {error}\n".replace("\n", " ").encode() + b"\n")
    finally:
        os._exit(0)


def _is_change(event: str, arguments: Sequence[Any], path: Path) -> bool:
    """Whether files are changed; what is in a tree that is removed is named without its folder."""
    if event in ("os.remove", "os.rmdir"):
        return True
    if event == "open" and not int(arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        return False
    return event in ("open", "os.mkdir", "os.rename") and str(arguments[0]).startswith(str(path))


if __name__ == "__main__":
    main()

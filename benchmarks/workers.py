"""Engines that are measured in processes of their own: one asks by lines of JSON, the other answers."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Worker:
    """A process that holds one engine, and does what a line of JSON asks.

    Args:
        script: of this folder; it ends in `serve`.
        threads: of the process.
        work: where it may keep what it makes.
        given: what the engine is loaded with.
    """

    def __init__(self, script: str, threads: int, work: Path, given: Mapping[str, Any]) -> None:
        own = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "XDG_CACHE_HOME": str(work)}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **own},
        )
        self.about = self.call("load", **given)

    def call(self, what: str, **given: Any) -> dict[str, Any]:
        """Ask, and wait."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"what": what, **given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def serve(engine: Any) -> None:
    """Let an engine do what stdin says, by the names of its methods; whatever else is printed goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            asked = json.loads(line)
            answer = getattr(engine, asked.pop("what"))(**asked)
            print(json.dumps(answer), file=out, flush=True)

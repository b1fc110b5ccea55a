"""A process that does jobs on an index, each in a fork of itself, and kills them; see `Killer`.

Everything is imported before the first fork, so that a job takes no longer than its own work.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from retrieval.indexing import Index
from retrieval.protocols import Encoder
from tests.index.changing import ToyEncoder, ToySparseEncoder, document

ROOT = Path(__file__).parents[2]

N, SHARD, BLOCK = 40, 8, 7
"""Documents of a build, in a shard, and in a block that is encoded before the journal says so."""

CORPUS = [document(number, 9 * number) for number in range(N)]
MORE = [document(number, 9 * number) for number in range(N, N + 20)]
CHANGED = [document(number, 9 * number + 5) for number in range(0, N, 3)]

# Imported by the jobs themselves, at their first need.
_LATER = ("retrieval.index.lexical.builder", "retrieval.index.lexical.searcher", "Stemmer", "bm25s")

_ENCODE_SECONDS = 0.002


def build(path: Path, encoder: Encoder, *, restart: bool = False) -> Index:
    """All of the corpus."""
    return Index.build(CORPUS, path, dense=encoder, sparse=ToySparseEncoder(), shard_documents=SHARD, restart=restart)


def restart(path: Path, encoder: Encoder) -> Index:
    """The same, not going on with what was interrupted."""
    return build(path, encoder, restart=True)


def overwrite(path: Path, encoder: Encoder) -> Index:
    """The same, in the place of another index."""
    return Index.build(CORPUS, path, dense=encoder, sparse=ToySparseEncoder(), shard_documents=SHARD, overwrite=True)


def add(path: Path, encoder: Encoder) -> Index:
    """New documents."""
    return Index.open(path).add(MORE, encoder=encoder, sparse=ToySparseEncoder(), shard_documents=SHARD)


def replace(path: Path, encoder: Encoder) -> Index:
    """Documents that take the place of others."""
    return Index.open(path).add(
        CHANGED, replace=True, encoder=encoder, sparse=ToySparseEncoder(), shard_documents=SHARD
    )


def delete(path: Path, encoder: Encoder) -> Index:
    """By id and by filter."""
    return Index.open(path).delete([f"d{number}" for number in range(5, N, 4)], filter={"day": "2021-05-05"})


def compact(path: Path, encoder: Encoder) -> Index:
    """One segment of all."""
    return Index.open(path).compact()


JOBS: dict[str, Callable[[Path, Encoder], Index]] = {
    job.__name__: job for job in (build, restart, overwrite, add, replace, delete, compact)
}


@dataclass(frozen=True)
class Done:
    """What became of a job.

    Attributes:
        killed: whether it was.
        seconds: it took.
        steps: files and folders that it made, opened for writing, renamed or removed.
        encoded: documents that its encoder saw.
        shards: folders of postings that it made.
        error: what it raised, if it did.
    """

    killed: bool
    seconds: float
    steps: int
    encoded: int
    shards: int
    error: str | None


class Killer:
    """A process that does jobs when it is told to; use as a context manager."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", __name__]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        return self

    def run(self, job: str, path: Path, *, after: float | None = None, at: int | None = None) -> Done:
        """Do a job, and kill it after some seconds or before a step, if it comes to that."""
        assert self._process.stdin
        assert self._process.stdout
        order = {"job": job, "path": str(path), "after": after, "at": at}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Done(**json.loads(self._process.stdout.readline()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            assert self._process.stdin
            self._process.stdin.close()


@contextmanager
def small_blocks() -> Iterator[None]:
    """Within it, a few documents are encoded before the journal says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval.encoding._BLOCK_DOCUMENTS", BLOCK)
        yield


def main() -> None:
    """Do what stdin says, line by line."""
    for name in _LATER:
        importlib.import_module(name)
    with small_blocks():
        for line in sys.stdin:
            print(json.dumps(_forked(**json.loads(line))), flush=True)  # noqa: T201 - the answer


def _forked(job: str, path: str, after: float | None, at: int | None) -> dict[str, Any]:
    """Do a job in a fork, which writes what it does into a pipe as it does it."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        _child(JOBS[job], Path(path), into, at)
    os.close(into)
    begun = time.monotonic()
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(out) as pipe:
        told = pipe.read().splitlines()
    seconds = time.monotonic() - begun
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return {
        "killed": killed,
        "seconds": seconds,
        "steps": told.count("step"),
        "encoded": sum(int(line.split()[1]) for line in told if line.startswith("encode ")),
        "shards": told.count("shard"),
        "error": next((line.removeprefix("error ") for line in told if line.startswith("error ")), None),
    }


def _child(job: Callable[[Path, Encoder], Index], path: Path, into: int, at: int | None) -> None:
    """Do a job and end, whatever happens."""
    steps = 0

    def tell(line: str) -> None:
        os.write(into, f"{line}\n".encode())

    def step(event: str, arguments: Sequence[object]) -> None:
        nonlocal steps
        if not _is_step(event, arguments, path):
            return
        steps += 1
        if steps == at:
            os.kill(os.getpid(), signal.SIGKILL)
        tell("step")
        if event == "os.mkdir" and Path(str(arguments[0])).name.startswith("shard-"):
            tell("shard")

    def encode(texts: Sequence[str]) -> None:
        tell(f"encode {len(texts)}")
        time.sleep(_ENCODE_SECONDS)

    try:
        sys.addaudithook(step)
        job(path, ToyEncoder(encode))
    except BaseException as error:
        tell(f"error {type(error).__name__}: {error}".replace("\n", " "))
    finally:
        os._exit(0)


def _is_step(event: str, arguments: Sequence[object], path: Path) -> bool:
    """Whether files are changed; what is in a tree that is removed is named without its folder."""
    if event in ("os.remove", "os.rmdir"):
        return True
    if event == "open" and not int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR):
        return False
    return event in ("open", "os.mkdir", "os.rename") and str(arguments[0]).startswith(str(path))


if __name__ == "__main__":
    main()

"""An engine in a process of its own: memory, threads, JVM and compiled code of one do not touch another's.

A process may use as many cores as its engine may use threads, compilers and merges in the background included, where
the system can hold it to that (Linux); everywhere the variables that libraries read say the same. What an engine
prints goes to a log. Clocks run in the process that works.

What it does is an object of its benchmark's, often called `Work`, made there and called by name.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_THREAD_VARIABLES = (
    *("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"),
    "TBB_NUM_THREADS",
)
_LAST_LINES = 3
_PATIENCE = 10.0  # seconds that a process may take to end
_HANGS = 7200.0  # seconds without an answer after which a process is given up


class EngineError(Exception):
    """An engine cannot do what it is asked; the message says why."""


class Worker:
    """The parent's side of an engine's process; calls of what `make` gives there, by name.

    Raises:
        EngineError: from every call that fails in the process, and where it cannot start.
    """

    def __init__(self, name: str, threads: int, *, make: Callable[..., Any], **options: Any) -> None:
        self.name = name
        self._log = Path(tempfile.mkstemp(prefix=f"{name}-", suffix=".log")[1])
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, make, name, threads, options, self._log), daemon=True
        )
        with _environment(threads):
            self._process.start()
        theirs.close()
        self._receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, what: str, *arguments: Any) -> Any:
        """What the method gives."""
        try:
            self._connection.send((what, arguments))
        except OSError as error:
            raise EngineError(self._end()) from error
        return self._receive()

    def _receive(self) -> Any:
        if not self._connection.poll(_HANGS):
            self.close()
            raise EngineError(f"no answer for {_HANGS:.0f} seconds")
        try:
            failed, given = self._connection.recv()
        except (EOFError, OSError) as error:
            raise EngineError(self._end()) from error
        if failed:
            self.close()
            raise EngineError(given)
        return given

    def _end(self) -> str:
        """How a process ended that did not say so itself."""
        self._process.join(timeout=_PATIENCE)
        lines = self._log.read_text(errors="replace").split("\n") if self._log.exists() else []
        last = " / ".join([line.strip()[-200:] for line in lines if line.strip()][-_LAST_LINES:])
        self.close()
        return f"its process ended with {self._process.exitcode}: {last}"

    def close(self) -> None:
        """End the process: it goes by itself once nobody is there to ask it, if it can."""
        self._connection.close()
        self._process.join(timeout=_PATIENCE)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()
        self._log.unlink(missing_ok=True)


def _serve(
    connection: Connection, make: Callable[..., Any], name: str, threads: int, options: dict[str, Any], log: Path
) -> None:
    """The process' side: answer calls until the parent is gone."""
    _print_to(log)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    work = _answer(connection, lambda: make(name, threads, **options), tell=False)
    while work is not None:
        try:
            what, arguments = connection.recv()
        except EOFError:
            break
        _answer(connection, lambda: getattr(work, what)(*arguments))  # noqa: B023 (called at once)


def _answer(connection: Connection, do: Any, *, tell: bool = True) -> Any:
    """Do it and send what it gives, or what is wrong; return what it gives."""
    try:
        given = do()
    except BaseException as error:  # also what an engine raises to end the process: the parent is to know why
        connection.send((True, f"{type(error).__name__}: {error}"))
        return None
    connection.send((False, given if tell else None))
    return given


def _print_to(log: Path) -> None:
    """Standard output and error of this process and of native code in it."""
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Variables that a process started meanwhile inherits."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

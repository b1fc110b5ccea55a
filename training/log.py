"""The log of a run: one line of JSON for each step that is told of, and for each evaluation."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from retrieval.files import write_whole

__all__ = ["Log", "read_log"]


class Log:
    """Lines in a file that is appended to; a run that goes on at a step first forgets what came after it."""

    def __init__(self, path: Path, *, step: int) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_log(path) if line["step"] <= step]
        write_whole(path, b"".join(orjson.dumps(line) + b"\n" for line in kept))

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line; it holds `step`, the number of steps done."""
        with self._path.open("ab") as file:
            file.write(orjson.dumps(dict(line)) + b"\n")


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; what a killed run left half written is passed over."""
    if not path.is_file():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue

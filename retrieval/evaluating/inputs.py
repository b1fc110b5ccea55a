"""What figures were measured on: files, and folders of models, by their sizes and contents."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from retrieval.files import sha256_of

__all__ = ["Stamp", "changes", "stamp_of"]

Stamp = dict[str, Any]
"""`bytes` and `sha256` of a file, or of all files below a folder and their places in it; where it is does not count."""


def stamp_of(path: Path) -> Stamp | None:
    """What stands for a file or a folder; None where there is none.

    Hidden files, and models that were made of this one and are kept beside it (`retrieval-int8`), are not its own.
    A process reads each file once, unless its size or time changes.
    """
    if path.is_file():
        return _stamp(path, (_state(path),))
    own = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_own(file.relative_to(path))]
    return _stamp(path, tuple(map(_state, own))) if own else None


def changes(then: Mapping[str, Stamp | None], now: Mapping[str, Stamp | None]) -> list[str]:
    """What is not as it was, by name, each with both sizes where these say it."""
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return [f"{name} ({_told(then.get(name), now.get(name))})" for name in names]


def _is_own(inside: Path) -> bool:
    return not any(part.startswith((".", "retrieval-")) for part in inside.parts)


def _state(file: Path) -> tuple[Path, int, int]:
    found = file.stat()
    return file, found.st_size, found.st_mtime_ns


@cache
def _stamp(path: Path, states: tuple[tuple[Path, int, int], ...]) -> Stamp:
    size = sum(size for _, size, _ in states)
    if [file for file, _, _ in states] == [path]:
        return {"bytes": size, "sha256": sha256_of(path)}
    digest = sha256()
    for file, _, _ in states:
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode())
    return {"bytes": size, "sha256": digest.hexdigest()}


def _told(then: Stamp | None, now: Stamp | None) -> str:
    if then is None:
        return "not known then"
    if now is None:
        return "not there now"
    if then["bytes"] == now["bytes"]:
        return "other content"
    return f"{then['bytes']:,} bytes then, {now['bytes']:,} now"

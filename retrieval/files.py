"""Files that are there whole or not at all, their checksums, and what text they can hold."""

import errno
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from retrieval.errors import InputError

__all__ = ["is_unicode", "make_folder", "sha256_of", "sync_folder", "sync_tree", "write_stream", "write_whole"]


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(folder: Path) -> None:
    """Make a folder that work is about to fill, before the work is done.

    Raises:
        InputError: it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(f"{folder}: no folder to write to ({error.strerror})", hint="name another one") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; without it, a renamed file can vanish in a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make every file and name below a folder durable."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part."""
    write_stream(path, [content])


def write_stream(path: Path, parts: Iterable[bytes]) -> int:
    """The same, of content that comes in parts; how many there were."""
    beside = path.with_name(f".{path.name}.new")
    count = 0
    try:
        with beside.open("wb") as file:
            for part in parts:
                file.write(part)
                count += 1
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)
    return count


def is_unicode(text: str) -> bool:
    """Whether a text is free of lone surrogates, which no file can hold."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

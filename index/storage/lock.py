"""One writer at a time: a lock on a file in the artifact, which the system releases when its holder dies."""

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from retrieval.errors import ArtifactLockedError

__all__ = ["LOCK", "WriterLock"]

LOCK = ".lock"


class WriterLock:
    """Held while a writer is at work; the file names its process and host, and stays when it is done.

    It stays because a file that is removed could be locked by one writer while the next makes a new one.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK

    def __enter__(self) -> Self:
        """Take the lock; an error that names the holder if another writer has it."""
        self._file = self._path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with self._file:
                raise ArtifactLockedError(
                    f"{self._path.parent} is being written by {self._holder()}", hint="wait until it is done"
                ) from None
        self._file.truncate(0)
        self._file.write(orjson.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        self._file.flush()
        return self

    def _holder(self) -> str:
        self._file.seek(0)
        try:
            holder = orjson.loads(self._file.read())
            return f"process {holder['pid']} on {holder['host']}"
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return "another process"  # which has not come to write its name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

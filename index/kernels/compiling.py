"""How kernels are compiled: without the GIL, and kept on disk where there is a place for it."""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import event
from numba.core.dispatcher import Dispatcher

__all__ = ["kernel"]

_LOG = logging.getLogger("retrieval")


def kernel(function: Callable[..., Any]) -> Any:
    """Compile at the first call; a later process finds the machine code in numba's cache."""
    try:
        compiled = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's can be written to; then every process compiles for itself.
        return njit(nogil=True)(function)
    if isinstance(compiled, Dispatcher):
        # numba looks at the file of the function alone; what it calls, and constants, stand in other files too.
        compiled._cache._cache_file._source_stamp = _stamp()  # type: ignore[attr-defined]
    return compiled


@cache
def _stamp() -> tuple[tuple[str, int, int], ...]:
    """What changes when the source of a kernel does: name, time and size of each file of this folder."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


class _Teller(event.Listener):
    """Says, once in a process, that it compiles: half a minute of silence looks like a hang."""

    told = False

    def on_start(self, event: event.Event) -> None:
        if not self.told and event.data["dispatcher"].__module__.startswith("retrieval."):
            self.told = True
            _LOG.warning(
                "compiling kernels, for up to a minute; later processes find them in a cache"
                " (of a place that can be written to: NUMBA_CACHE_DIR)"
            )

    def on_end(self, event: event.Event) -> None:
        """Nothing to say."""


# Told of what is compiled, not of what is found in the cache.
event.register("numba:compile", _Teller())  # type: ignore[no-untyped-call]

"""How kernels are compiled: without the GIL, and kept on disk where there is a place for it."""

import logging
from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core import event

__all__ = ["kernel"]

_LOG = logging.getLogger("retrieval")


def kernel(function: Callable[..., Any]) -> Any:
    """Compile at the first call; a later process finds the machine code in numba's cache."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's can be written to; then every process compiles for itself.
        return njit(nogil=True)(function)


class _Teller(event.Listener):
    """Says, once in a process, that it compiles: half a minute of silence looks like a hang."""

    told = False

    def on_start(self, event: event.Event) -> None:
        if not self.told and event.data["dispatcher"].__module__.startswith("retrieval."):
            self.told = True
            _LOG.warning("compiling the kernels: once after an installation, for up to a minute")

    def on_end(self, event: event.Event) -> None:
        """Nothing to say."""


# Told of what is compiled, not of what is found in the cache.
event.register("numba:compile", _Teller())  # type: ignore[no-untyped-call]

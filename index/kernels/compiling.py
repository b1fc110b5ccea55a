"""How kernels are compiled: without the GIL, and kept on disk where there is a place for it."""

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["kernel"]


def kernel(function: Callable[..., Any]) -> Any:
    """Compile at the first call; a later process finds the machine code in numba's cache."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's can be written to; then every process compiles for itself.
        return njit(nogil=True)(function)

"""Cells of the benchmarks' tables."""

from collections.abc import Mapping
from typing import Any


def named(parameters: Mapping[str, Any]) -> str:
    """Parameters in a line."""
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def mb(size: float) -> str:
    """Bytes in millions."""
    return f"{size / 1e6:,.1f}"


def spread(ratio: Mapping[str, float] | None) -> str:
    """A median with the least and the most; empty where there is none."""
    return f"{ratio['median']:.2f} ({ratio['least']:.2f}-{ratio['most']:.2f})" if ratio else ""

"""What it takes to answer: the time of single queries, and memory."""

import math
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

__all__ = ["peak_bytes", "per_million", "single_queries"]

Q = TypeVar("Q")

# Queries that are timed one by one, at most, and the seconds after which no more of them are.
_TIMED, _ENOUGH_SECONDS = 100, 20.0


def peak_bytes() -> int:
    """The most bytes that this process has held in memory."""
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere than in ru_maxrss, what a parent held before exec does not count here
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    import resource

    kilo = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo


def single_queries(answer: Callable[[Q], object], queries: Sequence[Q]) -> dict[str, float]:
    """Milliseconds per query where each is asked by itself: the median, and what 95 and 99 of 100 stay within.

    Up to 100 queries, spread evenly over those given, are timed after one that is not; fewer where they take longer
    than 20 seconds together. `timed_queries` says how many.
    """
    answer(queries[0])
    chosen = [queries[place * len(queries) // _TIMED] for place in range(_TIMED)] if len(queries) > _TIMED else queries
    times: list[float] = []
    while len(times) < len(chosen) and sum(times) < _ENOUGH_SECONDS:
        began = time.perf_counter()
        answer(chosen[len(times)])
        times.append(time.perf_counter() - began)
    times.sort()
    found = {f"p{share}_ms": 1000 * times[math.ceil(share / 100 * len(times)) - 1] for share in (50, 95, 99)}
    return {**found, "timed_queries": len(times)}


def per_million(price_per_hour: float, queries_per_second: float) -> float:
    """The price of a million queries on a machine that costs so much per hour and is kept busy with them."""
    return price_per_hour / 3600 / queries_per_second * 1_000_000

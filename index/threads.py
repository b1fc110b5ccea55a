"""Work on several threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

__all__ = ["MANY_QUERIES", "faiss_threads", "in_parts"]

# Queries of one kernel call, at most: enough to hide the call; fewer where that keeps every thread busy to the end.
_QUERIES_AT_ONCE = 128

MANY_QUERIES = 16
"""From so many queries on, it pays to prepare them by a kernel."""


def in_parts(n: int, threads: int, work: Callable[[slice], None]) -> None:
    """Do the work for n queries, some at a time, on several threads where there are enough of them."""
    size = min(_QUERIES_AT_ONCE, max(MANY_QUERIES, n // (4 * threads)))
    parts = [slice(i, min(i + size, n)) for i in range(0, n, size)]
    if threads == 1 or len(parts) == 1:
        for part in parts:
            work(part)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, parts))


@contextmanager
def faiss_threads(threads: int) -> Iterator[None]:
    """Let FAISS use so many cores when this thread calls it, and as many as before afterwards."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)

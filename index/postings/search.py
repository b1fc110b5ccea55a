"""Searches postings for many queries: in parts, on several threads, with the kernel or its reference."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels import postings_reference
from retrieval.index.kernels.layout import Queries, Scratch, new_scratch
from retrieval.index.postings.reader import PostingsReader
from retrieval.index.threads import in_parts
from retrieval.types import Hits

__all__ = ["ALL", "PostingsSearch"]

ALL = np.empty(0, dtype=bool)
"""A mask that allows every document."""

Prepare = Callable[[slice, NDArray[np.bool_]], Queries]
"""Some of the queries as the kernels take them, and which documents they may find, in the order of the postings."""


class PostingsSearch:
    """The best documents by sums of impacts; one instance serves any number of threads."""

    def __init__(self, postings: PostingsReader) -> None:
        self._postings = postings
        self._spare: list[Scratch] = []
        self._asked = False

    def fill(self, hits: Hits, prepare: Prepare, threads: int, allowed: NDArray[np.bool_] | None) -> Hits:
        """Fill in the hits of each query, and give them back.

        Args:
            hits: empty ones, a row for each query.
            prepare: gives the queries of a slice.
            threads: how many search at once.
            allowed: (rows,) which of them may be hits; None allows all.
        """
        mask = ALL if allowed is None else self._postings.in_order(allowed)
        if hits.scores.size:
            in_parts(len(hits), threads, lambda part: self._fill_part(hits, part, prepare(part, mask)))
        return hits

    def _fill_part(self, hits: Hits, part: slice, asked: Queries) -> None:
        try:
            scratch = self._spare.pop()  # memory that no other thread has now
        except IndexError:
            scratch = new_scratch()
        self._kernel(part.stop - part.start)(
            self._postings.arrays, asked, scratch, hits.ordinals[part], hits.scores[part], hits.counts[part]
        )
        # After an interruption its sums are not zero, so it is not kept.
        self._spare.append(scratch)

    def _kernel(self, n_queries: int) -> Callable[..., None]:
        """The compiled kernel, but for a first query that comes alone: loading numba would take longer than NumPy."""
        if n_queries == 1 and not self._asked:
            self._asked = True
            return postings_reference.search_postings
        from retrieval.index.kernels.postings import search_postings

        kernel: Callable[..., None] = search_postings
        return kernel

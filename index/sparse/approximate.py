"""Approximate sparse search: what finds most of the best documents sooner than all of them can be found.

The native engine's index is in `blocks.py`, Seismic's in `seismic.py`. Both propose documents, whose scores are then
computed exactly from their vectors.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.block_layout import BlockScratch, Pruning, Rows, WeightedQueries, new_block_scratch
from retrieval.index.postings.search import ALL
from retrieval.index.recall import Scores, goal_of, recall_of
from retrieval.index.sparse.blocks import BlocksReader, build_blocks, problems_of_rows
from retrieval.index.sparse.options import Engine
from retrieval.index.sparse.queries import TermQueries
from retrieval.index.sparse.rows import RowsReader, write_rows
from retrieval.index.sparse.seismic import CANDIDATES, SeismicSearcher, write_seismic
from retrieval.index.sparse.tuning import queries_from_rows, tune
from retrieval.index.storage.files import Folder
from retrieval.index.threads import in_parts
from retrieval.types import Hits, ScoreKind

__all__ = ["ApproximateSearcher", "BlocksSearcher", "open_approximate", "tuned_parameters", "write_approximate"]

Parameters = Mapping[str, float]

# Part of the misses that are allowed which is kept for other queries: real ones miss more than those made of documents.
_RESERVE = 0.75


class ApproximateSearcher(Protocol):
    """One engine's index, open for reading."""

    knows_filters: bool

    @property
    def rows(self) -> Rows:
        """The documents' vectors."""

    def fill(
        self,
        hits: Hits,
        asked: TermQueries,
        parameters: Parameters,
        threads: int,
        allowed: NDArray[np.bool_] | None,
    ) -> Hits:
        """Fill in the hits of each query, and give them back."""

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""


def write_approximate(folder: Path, rows: int, n_terms: int, engine: Engine) -> None:
    """Write what an engine searches beside the postings in a folder, of documents 0 to before `rows`."""
    vectors = write_rows(folder, rows)
    if engine == "seismic":
        write_seismic(folder, vectors)
    else:
        build_blocks(folder, vectors, n_terms)


def open_approximate(
    folder: Folder, vectors: RowsReader, n_terms: int, scale: float, engine: Engine
) -> ApproximateSearcher:
    """Open it."""
    if engine == "seismic":
        return SeismicSearcher(folder, vectors, scale)
    return BlocksSearcher(BlocksReader(folder, vectors.count, n_terms), vectors, n_terms, scale)


class BlocksSearcher:
    """Searches blocks of equal impact; one instance serves any number of threads."""

    knows_filters = True

    def __init__(self, blocks: BlocksReader, vectors: RowsReader, n_terms: int, scale: float) -> None:
        self._blocks = blocks
        self._vectors = vectors
        self._n_terms = n_terms
        self._scale = np.float32(scale)
        self._spare: list[BlockScratch] = []

    @cached_property
    def rows(self) -> Rows:
        """The documents' vectors, looked through once, as a kernel follows them without looking."""
        rows = self._vectors.all()
        if problems := problems_of_rows(rows, self._n_terms):
            raise self._vectors.damaged(problems[0])
        return rows

    def fill(
        self,
        hits: Hits,
        asked: TermQueries,
        parameters: Parameters,
        threads: int,
        allowed: NDArray[np.bool_] | None,
    ) -> Hits:
        """Fill in the hits of each query, and give them back."""
        from retrieval.index.kernels.blocks import search_blocks

        self._blocks.check(np.unique(asked.terms).tolist())
        blocks, rows = self._blocks.arrays, self.rows
        pruning = Pruning(parameters["share"], parameters["fill"], int(parameters["depth"]), parameters["patience"])
        mask = ALL if allowed is None else allowed

        def work(part: slice) -> None:
            own = asked.offsets[part.start : part.stop + 1]
            here = slice(own[0], own[-1])
            queries = WeightedQueries(asked.terms[here], asked.weights[here], own - own[0], self._scale, mask)
            try:
                scratch = self._spare.pop()
            except IndexError:
                scratch = new_block_scratch(self._n_terms)
            out = (hits.ordinals[part], hits.scores[part], hits.counts[part])
            search_blocks(blocks, rows, queries, pruning, scratch, *out)
            self._spare.append(scratch)

        if hits.scores.size:
            in_parts(len(hits), threads, work)
        return hits

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        return [*problems_of_rows(self._vectors.all(), self._n_terms), *self._blocks.problems()]


def least(
    candidates: Sequence[dict[str, float]], recall_with: Callable[[dict[str, float]], float], recall: float
) -> tuple[dict[str, float], float]:
    """The first of some parameters, the cheapest first, that reaches a recall, or else the best; and its recall."""
    best, reached = candidates[0], -1.0
    for parameters in candidates:
        found = recall_with(parameters)
        if found > reached:
            best, reached = parameters, found
        if reached >= recall:
            break
    return best, reached


class ExactSearch(Protocol):
    """Fills in the hits of each query exactly."""

    def __call__(self, hits: Hits, asked: TermQueries) -> Hits:
        """And gives them back."""


def tuned_parameters(
    searcher: ApproximateSearcher, exact: ExactSearch, recall: float, k: int
) -> tuple[dict[str, float], float]:
    """The parameters with which queries made of documents find that share of the best k; and the share."""
    asked = queries_from_rows(searcher.rows)
    k = min(k, len(searcher.rows.offsets) - 1)

    def room(queries: TermQueries) -> Hits:
        return Hits.empty(len(queries), k, ScoreKind.DOT)

    def search(queries: TermQueries, parameters: Parameters) -> Scores:
        hits = searcher.fill(room(queries), queries, parameters, 1, None)
        return hits.scores, hits.counts

    def truth(queries: TermQueries, k: int) -> Scores:
        hits = exact(room(queries), queries)
        return hits.scores, hits.counts

    if isinstance(searcher, SeismicSearcher):
        expected, goal = truth(asked, k), goal_of(recall, _RESERVE)
        return least(CANDIDATES, lambda parameters: recall_of(search(asked, parameters), expected), goal)
    tuned = tune(
        lambda queries, pruning, k: search(queries, pruning._asdict()), truth, asked, recall, k, margin=_RESERVE
    )
    return {name: float(value) for name, value in tuned.pruning._asdict().items()}, tuned.recall

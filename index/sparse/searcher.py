"""Searches the learned-sparse part of an artifact: sparse query vectors in, hits out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.index.kernels.layout import WINDOW, WINDOW_BITS, Queries
from retrieval.index.postings.reader import PostingsReader
from retrieval.index.postings.search import PostingsSearch
from retrieval.index.sparse.approximate import ApproximateSearcher
from retrieval.index.sparse.queries import TermQueries
from retrieval.types import Hits, ScoreKind, SparseVectors

__all__ = ["Approximate", "SparseSearcher"]

# Tokens whose numbers are kept; bounded, as vectors of anyone's making may name any.
_MOST_TOKENS = 1 << 17


@dataclass(frozen=True)
class Approximate:
    """An approximate search with the parameters that it was tuned to.

    Attributes:
        searcher: the engine's.
        parameters: of it.
        most: hits for which they were tuned.
    """

    searcher: ApproximateSearcher
    parameters: Mapping[str, float]
    most: int

    def serves(self, k: int, allowed: NDArray[np.bool_] | None) -> bool:
        """Whether so many hits can be found by it, under this filter."""
        return k <= self.most and (allowed is None or self.searcher.knows_filters)

    def fill(self, hits: Hits, asked: TermQueries, threads: int, allowed: NDArray[np.bool_] | None) -> Hits:
        """Fill in the hits of each query, and give them back."""
        return self.searcher.fill(hits, asked, self.parameters, threads, allowed)

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        return self.searcher.problems()


class SparseSearcher:
    """Inner products with sparse vectors, over memory-mapped postings; one instance serves any number of threads.

    Search is exact, but for few hits where an approximate search was asked for when the index was built.

    Args:
        postings: whose impacts are the documents' weights.
        scale: what a stored impact of 1 stands for.
        approximate: what searches few hits approximately; None searches all exactly.
    """

    def __init__(
        self, postings: PostingsReader, *, scale: float = 1.0, approximate: "Approximate | None" = None
    ) -> None:
        self.postings = postings
        self.approximate = approximate
        self._rows = len(postings.lengths)
        self._scale = np.float32(scale)
        self._numbers: dict[str, int] = {}
        self._search = PostingsSearch(postings)

    @property
    def n_terms(self) -> int:
        """Distinct tokens that a document has."""
        return len(self.postings.vocabulary)

    @property
    def n_postings(self) -> int:
        """Weights of all documents."""
        return len(self.postings)

    def search(
        self,
        queries: SparseVectors,
        k: int,
        threads: int = 1,
        allowed: NDArray[np.bool_] | None = None,
        *,
        exact: bool = False,
    ) -> Hits:
        """The best k documents of each query vector, fewer where fewer have one of its tokens.

        Args:
            queries: n vectors; tokens that no document has count nothing.
            k: hits per query.
            threads: how many search at once.
            allowed: (rows,) which of them may be hits; None allows all.
            exact: search exactly in any case.
        """
        asked = self.numbered(queries)
        hits = Hits.empty(len(queries), min(k, self._rows), ScoreKind.DOT)
        if exact or self.approximate is None or not self.approximate.serves(k, allowed):
            return self.fill(hits, asked, threads, allowed)
        self.approximate.fill(hits, asked, threads, allowed)
        self._complete(hits, asked, threads, allowed)
        return hits

    def _complete(self, hits: Hits, asked: TermQueries, threads: int, allowed: NDArray[np.bool_] | None) -> None:
        """Search exactly where fewer hits were found than were wanted: there may be more."""
        short = np.flatnonzero(hits.counts < hits.scores.shape[1])
        if len(short):
            room = Hits.empty(len(short), hits.scores.shape[1], hits.kind)
            found = self.fill(room, asked.only(short), threads, allowed)
            for name in ("ordinals", "scores", "counts"):
                getattr(hits, name)[short] = getattr(found, name)

    def fill(self, hits: Hits, asked: TermQueries, threads: int = 1, allowed: NDArray[np.bool_] | None = None) -> Hits:
        """Fill in the exact hits of queries given by the numbers of their tokens, and give them back."""
        terms, weights, offsets = asked.terms, asked.weights, asked.offsets
        shifts = np.zeros(len(asked), dtype=np.float32)

        def prepare(part: slice, mask: NDArray[np.bool_]) -> Queries:
            own = offsets[part.start : part.stop + 1]
            here = slice(own[0], own[-1])
            return Queries(terms[here], weights[here], own - own[0], shifts[part], self._scale, self._rows, mask)

        return self._search.fill(hits, prepare, threads, allowed)

    def numbered(self, queries: SparseVectors) -> TermQueries:
        """The queries' tokens that documents have, as numbers."""
        if not np.all((queries.weights > 0) & (queries.weights <= SparseVectors.LARGEST)):
            raise InputError(f"the weights of a query must be above 0 and at most {SparseVectors.LARGEST:g}")
        used, places = np.unique(queries.columns, return_inverse=True)
        numbers = np.array([self._number(queries.tokens[column]) for column in used.tolist()], dtype=np.int64)
        terms = numbers[places]
        found = terms >= 0
        offsets = np.concatenate([[0], np.cumsum(found)])[queries.offsets]
        return TermQueries(terms=terms[found], weights=queries.weights[found].astype(np.float32), offsets=offsets)

    def _number(self, token: str) -> int:
        """The number of a token, -1 if no document has it; what belongs to it is checked before it is first used."""
        if token in self._numbers:
            return self._numbers[token]
        number = self.postings.vocabulary.number(token)
        if number >= 0:
            self.postings.check(number)
        if len(self._numbers) >= _MOST_TOKENS:
            self._numbers.clear()
        self._numbers[token] = number
        return number

    def contributions(self, query: Mapping[str, float], ordinal: int) -> dict[str, float]:
        """What each token of a query adds to a document's score, the most first, without those that add nothing.

        Args:
            query: weights by token.
            ordinal: the document's.
        """
        parts = {}
        for token, weight in query.items():
            number = self._number(token)
            impact = self.postings.impact(number, ordinal) if number >= 0 else 0.0
            if impact:
                parts[token] = float(weight) * impact * float(self._scale)
        return dict(sorted(parts.items(), key=lambda item: -item[1]))

    def vectors(self) -> Iterator[tuple[NDArray[np.int64], SparseVectors]]:
        """The vectors of all documents, and their ordinals; of deleted ones they are empty. A window at a time."""
        tokens = [token.decode() for token in self.postings.vocabulary.as_arrow().to_pylist()]
        order = self.postings.order
        for first in range(0, self._rows, WINDOW):
            places, terms, impacts = self.postings.window(first >> WINDOW_BITS)
            here = np.arange(first, min(first + WINDOW, self._rows))
            offsets = np.searchsorted(places, np.append(here, here[-1] + 1))
            weights = (impacts * np.float64(self._scale)).astype(np.float32)
            vectors = SparseVectors(tokens, offsets, terms.astype(np.int32), weights)
            yield here if order is None else order[here].astype(np.int64), vectors

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        return [*self.postings.problems(), *(self.approximate.problems() if self.approximate else [])]

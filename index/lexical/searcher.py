"""Searches the lexical part of an artifact: query texts in, hits out."""

from collections.abc import Sequence
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.layout import Queries
from retrieval.index.lexical.analyzer import Analyzer, AnalyzerSettings
from retrieval.index.lexical.scoring import ABSENT
from retrieval.index.lexical.words import CompiledWords
from retrieval.index.postings.reader import PostingsReader
from retrieval.index.postings.search import ALL, PostingsSearch
from retrieval.index.storage.arrays import DiskArray
from retrieval.index.storage.files import Folder
from retrieval.index.threads import MANY_QUERIES
from retrieval.types import Hits, ScoreKind

__all__ = ["LexicalSearcher"]

# Words whose terms are kept: users ask with the same ones again and again; bounded, as a server runs for months.
_MOST_WORDS = 1 << 16


class LexicalSearcher:
    """Exact BM25 over memory-mapped postings; one instance serves any number of threads.

    Args:
        folder: the lexical part.
        settings: how the documents were analysed.
        postings: there.
        scale: what a stored impact of 1 stands for.
        shifts: whether a document gets something for a term that it does not hold, as in bm25l and bm25+.
    """

    def __init__(
        self,
        folder: Folder,
        settings: AnalyzerSettings,
        postings: PostingsReader,
        *,
        scale: float = 1.0,
        shifts: bool = False,
    ) -> None:
        self._analyzer = Analyzer(settings)
        self.postings = postings
        self._rows = len(postings.lengths)
        self._scale = np.float32(scale)
        self._absent = DiskArray(folder, ABSENT, np.float32) if shifts else None
        if self._absent is not None and len(self._absent) != self.n_terms:
            raise self._absent.damaged(f"holds {len(self._absent)} values, expected {self.n_terms}")
        self._numbers: dict[str, int] = {}
        self._search = PostingsSearch(postings)

    @property
    def n_terms(self) -> int:
        """Distinct terms."""
        return len(self.postings.vocabulary)

    @property
    def n_postings(self) -> int:
        """Pairs of a term and a document that holds it."""
        return len(self.postings)

    def search(
        self, queries: Sequence[str], k: int, threads: int = 1, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The best k documents of each query text, fewer where fewer hold one of its terms.

        Args:
            queries: n texts.
            k: hits per query.
            threads: how many search at once.
            allowed: (rows,) which of them may be hits; None allows all.
        """
        hits = Hits.empty(len(queries), min(k, self._rows), ScoreKind.BM25)
        return self._search.fill(hits, lambda part, mask: self.encode(queries[part], mask), threads, allowed)

    def document_frequencies(self, query: str) -> NDArray[np.int64]:
        """(m,) how many documents hold each of a query's m terms, in order; 0 for a term that none does."""
        words = [word for word in self._analyzer.words(query) if self._analyzer.term(word) is not None]
        numbers = [self._learn(word) for word in words]
        counts = [int(np.diff(self.postings.starts.slice(n, n + 2))[0]) if n >= 0 else 0 for n in numbers]
        return np.array(counts, dtype=np.int64)

    def encode(self, queries: Sequence[str], allowed: NDArray[np.bool_] = ALL) -> Queries:
        """The queries as the kernels take them; `allowed` as there."""
        compiled = len(queries) >= MANY_QUERIES and self._analyzer.settings.tokenizer == "words"
        terms, offsets = self._terms_of_many(queries) if compiled else self._terms_of(queries)
        weights = np.ones(len(terms), dtype=np.float32)
        return Queries(terms, weights, offsets, self._shifts(terms, offsets), self._scale, self._rows, allowed)

    def _terms_of(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The terms of queries, one query after the other, and where each query's begin."""
        numbers = [[number for number in self._numbers_of(query) if number >= 0] for query in queries]
        terms = np.array([*chain.from_iterable(numbers)], dtype=np.int64)
        return terms, np.array([0, *accumulate(map(len, numbers))], dtype=np.int64)

    def _terms_of_many(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The same, by the kernel that splits documents, which each word leaves once."""
        table = CompiledWords(self._analyzer)
        words, offsets = table.add(queries)
        terms = np.array([self._learn(word) for word in table.words], dtype=np.int64)[words]
        found = terms >= 0
        return terms[found], np.concatenate([[0], np.cumsum(found)])[offsets]

    def _shifts(self, terms: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
        """What each query gives every document; summed by itself, so that it does not depend on those beside it."""
        if self._absent is None:
            return np.zeros(len(offsets) - 1, dtype=np.float32)
        impacts = self._absent.unchecked
        return np.array([impacts[row].sum() for row in np.split(terms, offsets[1:-1])], dtype=np.float32)

    def _numbers_of(self, query: str) -> list[int]:
        """The numbers of a query's terms, in order; -1 for a word that has none."""
        words = self._analyzer.words(query)
        numbers = [*map(self._numbers.get, words)]
        if None in numbers:
            return [self._learn(word) for word in words]
        return numbers  # type: ignore[return-value]

    def _learn(self, word: str) -> int:
        """The number of a word's term, -1 if there is none; what belongs to it is checked before it is first used."""
        if word in self._numbers:
            return self._numbers[word]
        term = self._analyzer.term(word)
        number = -1 if term is None else self.postings.vocabulary.number(term)
        if number >= 0:
            self.postings.check(number)
            if self._absent is not None:
                self._absent.check(number, number + 1)
        if len(self._numbers) >= _MOST_WORDS:
            self._numbers.clear()
        self._numbers[word] = number
        return number

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        found = self.postings.problems()
        absent = np.empty(0, dtype=np.float32) if self._absent is None else self._absent.all()
        if not np.all(np.isfinite(absent) & (absent >= 0)):
            found.append(f"{ABSENT}: holds a value that is no impact")
        return found

"""Builds the lexical part of an artifact: texts in, eager BM25 postings out."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, vstack

from retrieval.index.lexical.analyzer import Analyzer, AnalyzerSettings
from retrieval.index.lexical.bm25 import BM25
from retrieval.index.lexical.vocabulary import write_vocabulary

__all__ = ["LexicalBuilder"]

# Impacts are computed for this many postings at a time, so that float64 intermediates stay small.
_POSTINGS_AT_ONCE = 1 << 22


class LexicalBuilder:
    """Collects term frequencies document by document, then writes the scores of all of them."""

    def __init__(self, analyzer: AnalyzerSettings, bm25: BM25) -> None:
        self._analyzer = Analyzer(analyzer)
        self._bm25 = bm25
        # A word's term number, -1 for a stop word; several words can share a term.
        self._word_numbers: dict[str, int] = {}
        self._term_numbers: dict[str, int] = {}
        self._batches: list[csr_array] = []

    def add(self, texts: Iterable[str]) -> None:
        """Add documents; their ordinals go on where the last call's ended."""
        documents = [self._numbers(text) for text in texts]
        offsets = np.zeros(len(documents) + 1, dtype=np.int64)
        np.cumsum([len(document) for document in documents], out=offsets[1:])
        numbers = np.fromiter(chain.from_iterable(documents), dtype=np.int32, count=offsets[-1])
        batch = csr_array(
            (np.ones(len(numbers), dtype=np.int32), numbers, offsets), shape=(len(documents), len(self._term_numbers))
        )
        batch.sum_duplicates()
        self._batches.append(batch)

    def _numbers(self, text: str) -> list[int]:
        known = self._word_numbers
        words = self._analyzer.words(text)
        numbers = [known[word] if word in known else self._learn(word) for word in words]
        return [number for number in numbers if number >= 0]

    def _learn(self, word: str) -> int:
        term = self._analyzer.term(word)
        number = -1 if term is None else self._term_numbers.setdefault(term, len(self._term_numbers))
        self._word_numbers[word] = number
        return number

    def write(self, folder: Path) -> None:
        """Write vocabulary and postings into an existing folder."""
        frequencies, lengths = self._frequencies()
        write_vocabulary(folder, sorted(term.encode() for term in self._term_numbers))
        starts = frequencies.indptr.astype(np.int64)
        np.save(folder / "starts.npy", starts)
        np.save(folder / "ordinals.npy", frequencies.indices.astype(np.int32))
        weights = self._bm25.idf(np.diff(starts), len(lengths))
        np.save(folder / "impacts.npy", self._impacts(frequencies, weights, lengths))
        np.save(folder / "absent_impacts.npy", (weights * self._bm25.absent_saturation).astype(np.float32))

    def _frequencies(self) -> tuple[csc_array, NDArray[np.int64]]:
        """Term frequencies with the terms in the vocabulary's order, and each document's length in terms."""
        n_terms = len(self._term_numbers)
        for batch in self._batches:
            batch.resize(batch.shape[0], n_terms)  # it was made when fewer terms were known
        rows = vstack([csr_array((0, n_terms), dtype=np.int32), *self._batches], format="csr")
        lengths = np.asarray(rows.sum(axis=1, dtype=np.int64)).ravel()
        order = np.argsort(np.array([term.encode() for term in self._term_numbers], dtype=object))
        place = np.empty(n_terms, dtype=np.int32)
        place[order] = np.arange(n_terms, dtype=np.int32)
        rows = csr_array((rows.data, place[rows.indices], rows.indptr), shape=rows.shape)
        columns = rows.tocsc()
        columns.sort_indices()
        return columns, lengths

    def _impacts(
        self, frequencies: csc_array, weights: NDArray[np.float64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        relative_lengths = lengths / max(lengths.mean(), 1e-9) if len(lengths) else lengths.astype(np.float64)
        per_posting = np.repeat(np.arange(len(weights), dtype=np.int32), np.diff(frequencies.indptr))
        impacts = np.empty(frequencies.nnz, dtype=np.float32)
        for start in range(0, frequencies.nnz, _POSTINGS_AT_ONCE):
            part = slice(start, start + _POSTINGS_AT_ONCE)
            gain = self._bm25.saturation(frequencies.data[part], relative_lengths[frequencies.indices[part]])
            impacts[part] = weights[per_posting[part]] * (gain - self._bm25.absent_saturation)
        # A term that most documents hold can weigh nothing; its documents still match, below all others.
        return np.maximum(impacts, np.finfo(np.float32).tiny, out=impacts)

"""Builds postings: texts in, term frequencies by term and document out."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, vstack

from retrieval.index.lexical.analyzer import Analyzer, AnalyzerSettings
from retrieval.index.lexical.postings import smallest_type, write_shard

__all__ = ["PostingsBuilder"]


class PostingsBuilder:
    """Collects the term frequencies of the documents of one shard."""

    def __init__(self, analyzer: AnalyzerSettings) -> None:
        self._analyzer = Analyzer(analyzer)
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
        """Write postings into an existing folder; `lengths.npy` holds each document's length in terms."""
        frequencies, lengths = self._frequencies()
        terms = pa.array(sorted(term.encode() for term in self._term_numbers), pa.large_binary())
        values = frequencies.data.astype(smallest_type(int(frequencies.data.max(initial=0))))
        np.save(folder / "lengths.npy", lengths)
        write_shard(folder, terms, frequencies.indptr, frequencies.indices, values)

    def _frequencies(self) -> tuple[csc_array, NDArray[np.int32]]:
        """Term frequencies with the terms in the vocabulary's order, and the documents' lengths."""
        n_terms = len(self._term_numbers)
        for batch in self._batches:
            batch.resize(batch.shape[0], n_terms)  # it was made when fewer terms were known
        rows = vstack([csr_array((0, n_terms), dtype=np.int32), *self._batches], format="csr")
        lengths = np.asarray(rows.sum(axis=1, dtype=np.int64)).ravel().astype(np.int32)
        order = np.argsort(np.array([term.encode() for term in self._term_numbers], dtype=object))
        place = np.empty(n_terms, dtype=np.int32)
        place[order] = np.arange(n_terms, dtype=np.int32)
        rows = csr_array((rows.data, place[rows.indices], rows.indptr), shape=rows.shape)
        columns = rows.tocsc()
        columns.sort_indices()
        return columns, lengths

"""Builds postings: texts in, term frequencies by term and document out."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrieval.index.lexical.analyzer import Analyzer, AnalyzerSettings
from retrieval.index.lexical.words import WordTable, word_table
from retrieval.index.postings.reader import LENGTHS, smallest_type, write_shard
from retrieval.streams import windows

__all__ = ["PostingsBuilder"]

# Texts that are split at a time.
_TEXTS_AT_ONCE = 1 << 15
_CHARACTERS_AT_ONCE = 1 << 20

# So many terms are sorted in the time in which the kernel that counts them is loaded.
_MANY_TERMS = 1 << 20


class PostingsBuilder:
    """Collects the words of the documents of one shard, four bytes each."""

    def __init__(self, analyzer: AnalyzerSettings) -> None:
        self._analyzer = Analyzer(analyzer)
        self._table: WordTable | None = None
        self._numbers = [np.empty(0, dtype=np.int32)]
        # Of each document, in words.
        self._sizes = [np.zeros(1, dtype=np.int64)]

    def add(self, texts: Iterable[str]) -> None:
        """Add documents; their ordinals go on where the last call's ended."""
        for window in windows(texts, len, _TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE):
            if self._table is None:
                self._table = word_table(self._analyzer, sum(map(len, window)))
            numbers, offsets = self._table.add(window)
            self._numbers.append(numbers)
            self._sizes.append(np.diff(offsets))

    def write(self, folder: Path) -> None:
        """Write postings into an existing folder; `lengths.npy` holds each document's length in terms."""
        terms, places = self._terms()
        numbers, offsets = np.concatenate(self._numbers), np.cumsum(np.concatenate(self._sizes))
        starts, ordinals, frequencies, lengths = _count(places[numbers], offsets, len(terms))
        np.save(folder / LENGTHS, lengths)
        values = frequencies.astype(smallest_type(int(frequencies.max(initial=0))))
        write_shard(folder, terms, starts, ordinals, values)

    def _terms(self) -> tuple[pa.LargeBinaryArray, NDArray[np.int32]]:
        """All terms in the vocabulary's order, and for each word its term's place there, -1 for a stop word."""
        words = self._table.words if self._table else []
        # Several words can have one term.
        encoded = pa.array(self._analyzer.terms_of(words), pa.large_binary()).dictionary_encode()
        order = pc.sort_indices(encoded.dictionary)
        ranks = np.empty(len(order) + 1, dtype=np.int32)
        ranks[np.asarray(order)] = np.arange(len(order), dtype=np.int32)
        ranks[-1] = -1
        return encoded.dictionary.take(order), ranks[np.asarray(encoded.indices.fill_null(-1))]


def _count(
    terms: NDArray[np.int32], offsets: NDArray[np.int64], n_terms: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """See the kernel; with it where it is worth loading."""
    if len(terms) < _MANY_TERMS:
        from retrieval.index.kernels.words_reference import count_postings
    else:
        from retrieval.index.kernels.words import count_postings
    return count_postings(terms, offsets, n_terms)

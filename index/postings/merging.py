"""Postings become an index: those of several sources are merged, and every impact is derived anew from all of them.

A build merges its shards; adding, deleting and compacting merge the index that was with what is new. What a posting
adds to a score can depend on all documents, so it is derived again each time, from the value that the posting carries:
no text is read or analysed again. Memory is bounded by the vocabulary and a block of postings.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrieval.index.postings.reader import FREQUENCIES, LENGTHS, ORDER, STEPS, Impacts, StoredPostings, sorted_within
from retrieval.index.postings.runs import RunsWriter
from retrieval.index.postings.vocabulary import write_vocabulary
from retrieval.index.storage.arrays import ArrayAppender

__all__ = ["Merger", "Source", "write_postings"]

# Postings handled at a time; a term with more of them is handled by itself.
_POSTINGS_AT_ONCE = 1 << 18

ImpactsOf = Callable[[int, int, NDArray[np.int32], NDArray[Any]], NDArray[np.float32]]
"""Impacts, above zero, of the postings of terms `first` to before `last`, given their documents and values."""


@dataclass(frozen=True)
class Source:
    """Postings, and where their documents go.

    Attributes:
        postings: of documents 0, 1, ...
        places: (documents,) int32 new ordinals, ascending, -1 for a document that is left out; or the number that is
            added to every ordinal.
    """

    postings: StoredPostings
    places: NDArray[np.int32] | int

    def moved(self, ordinals: NDArray[np.int32]) -> NDArray[np.int32]:
        """The new ordinals of documents; -1 for those left out."""
        return self.places[ordinals] if isinstance(self.places, np.ndarray) else ordinals + np.int32(self.places)


def write_postings(
    merger: "Merger",
    lengths: NDArray[np.int32],
    impacts_of: ImpactsOf,
    out: Path,
    impacts: Impacts = "exact",
    *,
    scale: float | None = None,
    keep_values: bool = True,
    reorder: bool = False,
) -> float:
    """Write one index of all sources' documents into an existing folder; what a stored impact of 1 stands for.

    Args:
        merger: of the sources, in ascending order of their documents' new ordinals.
        lengths: (rows,) every document's length.
        impacts_of: how impacts are derived.
        out: where to.
        impacts: how they are stored, a name of IMPACT_TYPES.
        scale: of those that are stored in steps; None takes the one by which the largest is the last step.
        keep_values: store what impacts were derived from as well, for the next merge.
        reorder: put similar documents side by side; needs all postings in memory.
    """
    write_vocabulary(out, merger.vocabulary)
    np.save(out / "starts.npy", merger.starts)
    np.save(out / LENGTHS, lengths)
    places = _places(merger, out, len(lengths)) if reorder else None
    if impacts not in STEPS:
        scale = 1.0
    elif scale is None:
        blocks = (impacts_of(first, last, *merger.block(first, last)) for first, last in merger.blocks())
        scale = max((float(block.max()) for block in blocks), default=0.0) / STEPS[impacts] or 1.0
    with ExitStack() as stack:
        runs = stack.enter_context(RunsWriter(out, len(lengths), impacts, scale))
        if keep_values:
            values_file = stack.enter_context(ArrayAppender(out / FREQUENCIES, merger.value_type))
        for first, last in merger.blocks():
            ordinals, values = merger.block(first, last)
            stored = impacts_of(first, last, ordinals, values)
            starts = merger.starts[first : last + 1] - merger.starts[first]
            if places is not None:
                by_place = sorted_within(starts, places[ordinals])
                ordinals, values, stored = places[ordinals][by_place], values[by_place], stored[by_place]
            if keep_values:
                values_file.append(values)
            runs.append(starts, ordinals, stored)
    return scale


def _places(merger: "Merger", out: Path, rows: int) -> NDArray[np.int32]:
    """Write the order of the documents, and give each document's place in it, (rows,)."""
    from retrieval.index.postings.reordering import reorder

    blocks = [merger.block(first, last)[0] for first, last in merger.blocks()]
    ordinals = np.concatenate([np.empty(0, dtype=np.int32), *blocks])
    order = reorder(merger.starts, ordinals, rows, threads=os.cpu_count() or 1)
    np.save(out / ORDER, order)
    return np.argsort(order).astype(np.int32)


class Merger:
    """The postings of all sources as one, in blocks of terms."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._starts = [source.postings.starts.all() for source in sources]
        self.value_type = np.result_type(np.uint8, *(source.postings.value_type for source in sources))
        terms, numbers = _union([source.postings.vocabulary.as_arrow() for source in sources])
        df = np.zeros(len(terms), dtype=np.int64)
        for number, own in enumerate(numbers):
            df[own] += self._document_frequencies(number)
        # Terms whose last document is gone are gone as well.
        kept = df > 0
        self.vocabulary = terms.filter(pa.array(kept))
        self.starts = np.concatenate([[0], np.cumsum(df[kept])])
        renumbered = np.cumsum(kept) - 1
        # For each source the new number of each of its terms; of a term that is gone, its successor's.
        self._numbers = [np.where(kept[own], renumbered[own], renumbered[own] + 1) for own in numbers]

    def _document_frequencies(self, number: int) -> NDArray[np.int64]:
        """How many documents that have a place hold each of a source's terms."""
        source, starts = self._sources[number], self._starts[number]
        if isinstance(source.places, int):
            return np.diff(starts)
        counts = np.zeros(len(starts) - 1, dtype=np.int64)
        for first, last in _blocks(starts):
            ordinals, _ = source.postings.block(first, last)
            kept = source.moved(ordinals) >= 0
            counts[first:last] = np.add.reduceat(kept, starts[first:last] - starts[first], dtype=np.int64)
        return counts

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of terms."""
        return _blocks(self.starts)

    def block(self, first: int, last: int) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Documents, ascending within a term, and values of the postings of some terms."""
        size = int(self.starts[last] - self.starts[first])
        ordinals = np.empty(size, dtype=np.int32)
        values = np.empty(size, dtype=self.value_type)
        ends = self.starts[first:last] - self.starts[first]
        for number, source in enumerate(self._sources):
            begin, end = (int(place) for place in np.searchsorted(self._numbers[number], (first, last)))
            starts = self._starts[number][begin : end + 1]
            documents, own = source.postings.block(begin, end)
            moved = source.moved(documents)
            terms = np.repeat(self._numbers[number][begin:end] - first, np.diff(starts))
            if isinstance(source.places, np.ndarray):
                kept = moved >= 0
                moved, terms, own = moved[kept], terms[kept], own[kept]
            counts = np.bincount(terms, minlength=last - first)
            # Behind what earlier sources put there, in the order that they have here.
            to = np.arange(len(moved)) + np.repeat(ends - (np.cumsum(counts) - counts), counts)
            ordinals[to], values[to] = moved, own
            ends = ends + counts
        return ordinals, values


def _union(vocabularies: Sequence[pa.LargeBinaryArray]) -> tuple[pa.LargeBinaryArray, list[NDArray[np.int64]]]:
    """All terms, sorted, and for each vocabulary its terms' places among them."""
    if len(vocabularies) == 1:
        return vocabularies[0], [np.arange(len(vocabularies[0]))]
    if not vocabularies:
        return pa.array([], pa.large_binary()), []
    encoded = pa.chunked_array(vocabularies, pa.large_binary()).combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[np.asarray(order)] = np.arange(len(order))
    ends = np.cumsum([len(own) for own in vocabularies])[:-1]
    return encoded.dictionary.take(order), np.split(ranks[np.asarray(encoded.indices)], ends)


def _blocks(starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of terms, bounded in their postings."""
    first, n_terms = 0, len(starts) - 1
    while first < n_terms:
        last = int(np.searchsorted(starts, starts[first] + _POSTINGS_AT_ONCE, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last

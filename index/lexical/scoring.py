"""Every posting's BM25 score, derived from the statistics of all documents when an index is written."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.index.lexical.bm25 import BM25
from retrieval.index.postings.merging import Merger, Source, write_postings
from retrieval.index.postings.reader import Impacts

__all__ = ["ABSENT", "merge_scored"]

ABSENT = "absent_impacts.npy"


def merge_scored(
    sources: Sequence[Source],
    lengths: NDArray[np.int32],
    live: NDArray[np.bool_],
    bm25: BM25,
    out: Path,
    impacts: Impacts = "exact",
    *,
    reorder: bool = False,
) -> float:
    """Write the lexical index of all sources' documents into a folder; what a stored impact of 1 stands for.

    Args:
        sources: of frequencies, in ascending order of their documents' new ordinals.
        lengths: (rows,) every document's length in terms.
        live: (rows,) which of them are documents; no source has a place for others.
        bm25: how scores are derived.
        out: where to.
        impacts: how scores are stored, a name of IMPACT_TYPES.
        reorder: put similar documents side by side; needs all postings in memory.
    """
    merger = Merger(sources)
    scores = _Scores(merger.starts, lengths, live, bm25)
    if bm25.absent_saturation:
        np.save(out / ABSENT, (scores.weights * bm25.absent_saturation).astype(np.float32))
    return write_postings(merger, lengths, scores.of, out, impacts, reorder=reorder)


class _Scores:
    """What each posting adds to its document's score."""

    def __init__(
        self, starts: NDArray[np.int64], lengths: NDArray[np.int32], live: NDArray[np.bool_], bm25: BM25
    ) -> None:
        n_documents = int(live.sum())
        mean = lengths[live].mean() if n_documents else 0.0
        self._bm25 = bm25
        self._df = np.diff(starts)
        self._norms = bm25.norms(lengths / max(mean, 1e-9))
        self.weights = bm25.idf(self._df, n_documents)

    def of(
        self, first: int, last: int, ordinals: NDArray[np.int32], frequencies: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """Of the postings of terms `first` to before `last`."""
        gain = self._bm25.saturation(frequencies, self._norms[ordinals]) - self._bm25.absent_saturation
        impacts = (np.repeat(self.weights[first:last], self._df[first:last]) * gain).astype(np.float32)
        # A term that most documents hold can weigh nothing; its documents still match, below all others.
        return np.maximum(impacts, np.finfo(np.float32).tiny)

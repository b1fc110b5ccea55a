"""Numbers of words and postings in plain Python and NumPy: what the kernels in `words.py` are held to.

They need no compiler; so a small shard is counted here, sooner than the kernel could be loaded.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["count_postings", "number_words"]


def number_words(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    first: int,
    small: NDArray[np.uint32],
    slots: NDArray[np.int32],
    keys: NDArray[np.uint64],
    pool: NDArray[np.uint8],
    ends: NDArray[np.int64],
    counts: NDArray[np.int64],
    numbers: NDArray[np.int32],
    offsets: NDArray[np.int64],
) -> int:
    """The same as the kernel of this name, but that it keeps no hash table: of `slots` only the length counts."""
    known = {pool[ends[i] : ends[i + 1]].tobytes(): i for i in range(counts[0])}
    for document in range(first, len(starts) - 1):
        written = offsets[document]
        for word in _words(data[starts[document] : starts[document + 1]].tobytes(), small):
            if word not in known:
                if len(known) == len(slots) // 2:
                    counts[2] = offsets[document]
                    return document
                known[word] = len(known)
                pool[counts[1] : counts[1] + len(word)] = np.frombuffer(word, dtype=np.uint8)
                counts[:2] += 1, len(word)
                ends[counts[0]] = counts[1]
            numbers[written] = known[word]
            written += 1
        offsets[document + 1] = counts[2] = written
    return len(starts) - 1


def _words(document: bytes, small: NDArray[np.uint32]) -> list[bytes]:
    text = document.decode("utf-8", "surrogatepass")
    runs = "".join(chr(small[ord(character)]) for character in text).split("\0")
    return [run.encode() for run in runs if len(run) > 1]


def count_postings(
    terms: NDArray[np.int32], offsets: NDArray[np.int64], n_terms: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """The same as the kernel of this name, by sorting."""
    n_documents = len(offsets) - 1
    documents = np.repeat(np.arange(n_documents), np.diff(offsets))[terms >= 0]
    pairs, frequencies = np.unique(terms[terms >= 0] * np.int64(n_documents) + documents, return_counts=True)
    own, ordinals = np.divmod(pairs, max(n_documents, 1))
    starts = np.concatenate([[0], np.cumsum(np.bincount(own, minlength=n_terms))])
    lengths = np.bincount(documents, minlength=n_documents)
    return starts, ordinals.astype(np.int32), frequencies.astype(np.int32), lengths.astype(np.int32)

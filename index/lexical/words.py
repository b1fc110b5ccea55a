"""Words by number: texts in, the numbers of their words out, each distinct word kept once."""

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.index.lexical.analyzer import Analyzer

__all__ = ["CompiledWords", "SplitWords", "WordTable", "small_letters", "word_table"]

# The kernel is loaded in the time in which Python splits a few times as many; a build may have many such shards.
_MANY_CHARACTERS = 1 << 20

# A small table stays in the processor's cache, so it begins small.
_FIRST_SLOTS = 1 << 14
_WIDER = 4


class WordTable(Protocol):
    """Numbers words from 0 in the order in which they are first met."""

    def add(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Words of texts, one text after the other, stop words included; and (texts + 1,) where each text begins."""
        ...

    @property
    def words(self) -> list[str]:
        """All words so far, in the order of their numbers."""
        ...


def word_table(analyzer: Analyzer, characters: int) -> WordTable:
    """The table for texts of some number of characters; all tables give the same numbers."""
    compiled = analyzer.settings.tokenizer == "words" and characters >= _MANY_CHARACTERS
    return CompiledWords(analyzer) if compiled else SplitWords(analyzer)


class SplitWords:
    """Any analyzer's words, by its own tokenizer."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._numbers: dict[str, int] = {}

    def add(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """See `WordTable`."""
        known = self._numbers
        numbers: list[int] = []
        offsets = [0]
        for text in texts:
            numbers += [known.setdefault(word, len(known)) for word in self._analyzer.words(text)]
            offsets.append(len(numbers))
        return np.array(numbers, dtype=np.int32), np.array(offsets, dtype=np.int64)

    @property
    def words(self) -> list[str]:
        """See `WordTable`."""
        return list(self._numbers)


class CompiledWords:
    """The words of an analyzer whose tokenizer is `words`, split by a kernel; to be used by one thread."""

    def __init__(self, analyzer: Analyzer) -> None:
        from retrieval.index.kernels import words  # loads numba

        self._kernels = words
        self._analyzer = analyzer
        self._counts = np.zeros(3, dtype=np.int64)
        self._pool = np.empty(0, dtype=np.uint8)
        self._keys = np.empty(0, dtype=np.uint64)
        self._ends = np.zeros(1, dtype=np.int64)
        self._widen(_FIRST_SLOTS)

    def add(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """See `WordTable`; takes some six bytes for each of the texts'."""
        texts = [*map(self._analyzer.prepared, texts)]
        encoded = [text.encode() if text.isascii() else _encoded(text) for text in texts]
        starts = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(document) for document in encoded], out=starts[1:])
        data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        del encoded
        self._make_room(2 * len(data))
        numbers = np.empty(len(data) // 2, dtype=np.int32)
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        self._counts[2] = document = 0
        while True:
            document = self._kernels.number_words(
                data, starts, document, small_letters(), self._slots, self._keys, self._pool, self._ends,
                self._counts, numbers, offsets,
            )  # fmt: skip
            if document == len(texts):
                return numbers[: offsets[-1]].copy(), offsets
            self._widen(_WIDER * len(self._slots))

    def _make_room(self, n_bytes: int) -> None:
        used = int(self._counts[1])
        if len(self._pool) < used + n_bytes:
            pool = np.empty(max(2 * len(self._pool), used + n_bytes), dtype=np.uint8)
            pool[:used] = self._pool[:used]
            self._pool = pool

    def _widen(self, n_slots: int) -> None:
        n_words = int(self._counts[0])
        keys, ends = np.empty(n_slots // 2, dtype=np.uint64), np.zeros(n_slots // 2 + 1, dtype=np.int64)
        keys[:n_words], ends[: n_words + 1] = self._keys[:n_words], self._ends[: n_words + 1]
        self._keys, self._ends, self._slots = keys, ends, np.full(n_slots, -1, dtype=np.int32)
        self._kernels.rehash(keys, n_words, self._slots)

    @property
    def words(self) -> list[str]:
        """See `WordTable`."""
        ends = self._ends[: self._counts[0] + 1].tolist()
        content = self._pool[: self._counts[1]].tobytes()
        return [content[start:stop].decode() for start, stop in pairwise(ends)]


def _encoded(text: str) -> bytes:
    """A text as the kernel takes it."""
    # Of all letters these alone are in lower case something else than one letter, or depend on what is around.
    if "İ" in text or "Σ" in text:
        text = text.lower()
    return text.encode("utf-8", "surrogatepass")


@cache
def small_letters() -> NDArray[np.uint32]:
    r"""Each code point in lower case, 0 for those that `\w` does not match: (0x110000,), as `re` and `str` have it."""
    points = np.arange(0x110000, dtype="<u4")
    points[0xD800:0xE000] = 0  # surrogates, which a str cannot be made of so
    points[ord("İ")] = 0  # two characters in lower case; texts that hold it do not come here
    lower = points.tobytes().decode("utf-32-le").lower()
    lowered = np.frombuffer(lower.encode("utf-32-le"), dtype="<u4")
    small = np.zeros(len(points), dtype=np.uint32)
    for run in re.finditer(r"\w+", lower):
        small[run.start() : run.end()] = lowered[run.start() : run.end()]
    return small

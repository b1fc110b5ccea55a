"""Near-duplicates: texts that say the same in nearly the same words."""

import re
from collections.abc import Sequence

__all__ = ["Duplicates", "jaccard"]

_WORD = re.compile(r"\w+")

# Words of a shingle.
_SHINGLE = 3


class Duplicates:
    """Says whether a text nearly repeats one of some others.

    Texts are compared by the Jaccard similarity of their sets of trigrams of words, without case and punctuation; where
    one of the two has fewer than three words, of their sets of words.

    Args:
        texts: the others; one without a word is repeated by nothing.
        threshold: the similarity from which a text is a repetition, above 0 and at most 1.
    """

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        self._others = [(words, _shingles(words)) for words in map(_words, texts) if words]
        self._threshold = threshold

    def repeats(self, text: str) -> bool:
        """Whether it does."""
        words = _words(text)
        shingles = _shingles(words)
        return any(self._is_near(words, shingles, *other) for other in self._others)

    def _is_near(
        self, words: list[str], shingles: set[tuple[str, ...]], other: list[str], of_other: set[tuple[str, ...]]
    ) -> bool:
        if min(len(words), len(other)) < _SHINGLE:
            return jaccard({*words}, {*other}) >= self._threshold
        # Two sets cannot be more similar than the smaller is large beside the larger.
        sizes = len(shingles), len(of_other)
        return min(sizes) >= self._threshold * max(sizes) and jaccard(shingles, of_other) >= self._threshold


def jaccard(one: set[str] | set[tuple[str, ...]], other: set[str] | set[tuple[str, ...]]) -> float:
    """Shared elements by all elements of two sets; 0 for two empty ones."""
    shared = len(one & other)
    total = len(one) + len(other) - shared
    return shared / total if total else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _shingles(words: Sequence[str]) -> set[tuple[str, ...]]:
    return {*zip(*(words[start:] for start in range(_SHINGLE)), strict=False)}

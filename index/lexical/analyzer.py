"""From a text to the terms that are indexed: split, lower case, stop words, stems."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Self

from retrieval.errors import InputError

__all__ = ["LANGUAGES", "TOKENIZER_GROUP", "UNSPACED", "Analyzer", "AnalyzerSettings", "Tokenizer"]

Tokenizer = Callable[[str], list[str]]

TOKENIZER_GROUP = "retrieval.tokenizers"
"""The entry-point group under which packages offer tokenizers of their own; an index can name no other code."""

_WORD = re.compile(r"(?u)\b\w\w+\b")

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
)
"""Characters, for a class of a pattern, of scripts without spaces: Thai, Lao, Myanmar, Khmer, kana, Hangul, Han."""

_RUN_OR_WORD = re.compile(rf"([{UNSPACED}]+)|[^\W{UNSPACED}][^\W{UNSPACED}]+")

_WITH_MARKS = ("arabic", "hindi", "nepali", "tamil", "yiddish")

_WITHOUT_SPACES = ("chinese", "japanese", "korean", "thai", "lao", "khmer", "burmese")

# bm25s' constants for the languages it has stop words for.
_STOP_WORDS = {
    "danish": "STOPWORDS_DANISH",
    "dutch": "STOPWORDS_DUTCH",
    "english": "STOPWORDS_EN",
    "french": "STOPWORDS_FRENCH",
    "german": "STOPWORDS_GERMAN",
    "italian": "STOPWORDS_ITALIAN",
    "norwegian": "STOPWORDS_NORWEGIAN",
    "portuguese": "STOPWORDS_PORTUGUESE",
    "russian": "STOPWORDS_RUSSIAN",
    "spanish": "STOPWORDS_SPANISH",
    "swedish": "STOPWORDS_SWEDISH",
    "turkish": "STOPWORDS_TURKISH",
}

# Turkish has two letters i, and the capital of each keeps its dot or its lack of one.
_TURKISH = str.maketrans({"İ": "i", "I": "ı"})

_STEMMERS = (
    *("arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german", "greek"),
    *("hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "portuguese"),
    *("romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish"),
)

LANGUAGES = (*_STEMMERS, *_WITHOUT_SPACES, "none")
"""What `AnalyzerSettings.for_language` knows; `none` splits into words and does nothing else."""


def split_words(text: str) -> list[str]:
    r"""Runs of two or more word characters, scikit-learn's and bm25s' pattern `(?u)\b\w\w+\b`."""
    return _WORD.findall(text)


def split_marked_words(text: str) -> list[str]:
    r"""The same for scripts whose vowels are combining marks, which `\w` does not match."""
    return _marked_word().findall(text)


@cache
def _marked_word() -> re.Pattern[str]:
    marks = "".join(chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M")
    word = rf"[\w{marks}\u200c\u200d]"
    return re.compile(rf"\w{word}+")


def split_bigrams(text: str) -> list[str]:
    """Overlapping character pairs in scripts written without spaces, as Lucene's CJK analyzer; words elsewhere."""
    tokens: list[str] = []
    for match in _RUN_OR_WORD.finditer(text):
        run = match[1]
        if run is None:
            tokens.append(match[0])
        else:
            tokens.extend(run[i : i + 2] for i in range(max(len(run) - 1, 1)))
    return tokens


_TOKENIZERS: dict[str, Tokenizer] = {
    "words": split_words,
    "marked-words": split_marked_words,
    "bigrams": split_bigrams,
}


def _find_tokenizer(name: str) -> Tokenizer:
    if name in _TOKENIZERS:
        return _TOKENIZERS[name]
    installed = {point.name: point for point in entry_points(group=TOKENIZER_GROUP)}
    if name not in installed:
        known = ", ".join(sorted({*_TOKENIZERS, *installed}))
        raise InputError(
            f"tokenizer {name!r} is not installed; known here: {known}",
            hint=f"install the package that offers it under the entry-point group {TOKENIZER_GROUP!r}",
        )
    tokenizer: Tokenizer = installed[name].load()
    return tokenizer


@dataclass(frozen=True, kw_only=True)
class AnalyzerSettings:
    """All that decides which terms a text has; stands in the manifest, so that queries are analysed as documents were.

    Attributes:
        tokenizer: `words`, `marked-words`, `bigrams`, or a name that an installed package offers.
        normal_form: Unicode's form to which texts are brought first, as NFKC; None leaves them as they are.
        stopwords: words that are left out, compared before stemming.
        stemmer: a Snowball language, or None.
    """

    tokenizer: str = "words"
    normal_form: str | None = None
    stopwords: tuple[str, ...] = ()
    stemmer: str | None = None

    @classmethod
    def for_language(
        cls, language: str, *, tokenizer: str | None = None, stopwords: bool = True, stem: bool = True
    ) -> Self:
        """The usual analysis of a language, one of LANGUAGES; stop words and stemming can be turned off."""
        if language not in LANGUAGES:
            raise InputError(f"language must be one of {', '.join(LANGUAGES)}; got {language!r}")
        return cls(
            tokenizer=tokenizer or _default_tokenizer(language),
            # English is analysed just as bm25s does, which does not normalise.
            normal_form=None if language in ("english", "none") else "NFKC",
            stopwords=_stop_words(language) if stopwords else (),
            stemmer=language if stem and language in _STEMMERS else None,
        )


def _default_tokenizer(language: str) -> str:
    if language in _WITHOUT_SPACES:
        return "bigrams"
    return "marked-words" if language in _WITH_MARKS else "words"


@cache
def _stop_words(language: str) -> tuple[str, ...]:
    if language not in _STOP_WORDS:
        return ()
    import bm25s.stopwords  # a third of a second, so only where an index is built

    return tuple(getattr(bm25s.stopwords, _STOP_WORDS[language]))


class Analyzer:
    """Splits texts into words, and words into terms; may be shared by threads, as PyStemmer holds the GIL."""

    def __init__(self, settings: AnalyzerSettings) -> None:
        self.settings = settings
        self._split = _find_tokenizer(settings.tokenizer)
        self._stem = _stem_function(settings.stemmer)
        self._stopwords = frozenset(settings.stopwords)

    def words(self, text: str) -> list[str]:
        """The words of a text in lower case, stop words included."""
        return self._split(self.prepared(text).lower())

    def prepared(self, text: str) -> str:
        """A text in its normal form, with its capitals but for Turkish ones that Python would not lower so."""
        if self.settings.normal_form and not text.isascii():
            text = unicodedata.normalize(self.settings.normal_form, text)  # type: ignore[arg-type]
        return text.translate(_TURKISH) if self.settings.stemmer == "turkish" else text

    def term(self, word: str) -> str | None:
        """What stands in the index for a word; None for a stop word."""
        return None if word in self._stopwords else self._stem(word)

    def terms_of(self, words: Sequence[str]) -> list[str | None]:
        """`term` of each of many distinct words, in a fraction of the time."""
        stems = iter(_stem_many(self.settings.stemmer, [word for word in words if word not in self._stopwords]))
        return [None if word in self._stopwords else next(stems) for word in words]

    def terms(self, text: str) -> list[str]:
        """The terms of a text, in order, repeated as often as they stand there."""
        return [term for word in self.words(text) if (term := self.term(word)) is not None]


def _stem_function(language: str | None) -> Callable[[str], str]:
    if language is None:
        return lambda word: word
    import Stemmer

    try:
        stem: Callable[[str], str] = Stemmer.Stemmer(language).stemWord
    except KeyError as error:
        raise InputError(f"PyStemmer knows no language {language!r}") from error
    return stem


def _stem_many(language: str | None, words: list[str]) -> list[str]:
    if language is None:
        return words
    import Stemmer

    stems: list[str] = Stemmer.Stemmer(language, 0).stemWords(words)  # its cache would only cost: no word comes twice
    return stems

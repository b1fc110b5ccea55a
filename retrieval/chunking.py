"""Long documents become passages: by words, by sentences, or by the headings of Markdown."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from retrieval.errors import InputError
from retrieval.index.lexical.analyzer import UNSPACED
from retrieval.types import Document, Passage

__all__ = [
    "ByHeadings",
    "BySentences",
    "ByWords",
    "Chunking",
    "chunking_from",
    "chunking_settings",
    "parse_chunking",
    "passages_of",
]

# A character of a script without spaces counts as a word.
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s)|[。！？]|\n\s*\n|$")
_HEADING = re.compile(r"(#{1,6})[ \t]+(.*)")
_CLOSING = re.compile(r"[ \t]#+$")
_FENCE = ("```", "~~~")


class Span(NamedTuple):
    """A part of a text, by characters, and the headings it stands under."""

    start: int
    end: int
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chunking(ABC):
    """How a text is taken apart.

    Attributes:
        size: units of a passage, at least 1.
        overlap: units that a passage shares with the one before; less than size.
        titles: whether the document's title and the headings stand in front of each passage, in its title.
    """

    size: int
    overlap: int = 0
    titles: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.size:
            raise InputError(
                f"passages need a size of at least 1 and a smaller overlap; got {self.size} and {self.overlap}"
            )

    @abstractmethod
    def spans(self, text: str) -> list[Span]:
        """The passages of a text, in order; none for a text without a word."""


@dataclass(frozen=True, kw_only=True)
class ByWords(Chunking):
    """A number of words; the last words of one passage are the first of the next."""

    size: int = 200
    overlap: int = 40

    def spans(self, text: str) -> list[Span]:
        """See `Chunking`."""
        return _windows([Span(*match.span()) for match in _WORD.finditer(text)], self.size, self.overlap)


@dataclass(frozen=True, kw_only=True)
class BySentences(Chunking):
    """A number of sentences; an empty line ends one as well."""

    size: int = 5
    overlap: int = 1

    def spans(self, text: str) -> list[Span]:
        """See `Chunking`."""
        return _windows(list(_sentences(text)), self.size, self.overlap)


@dataclass(frozen=True, kw_only=True)
class ByHeadings(Chunking):
    """A section of Markdown, with its `#` heading; one of more words than `size` is taken apart by words."""

    size: int = 400
    overlap: int = 0

    def spans(self, text: str) -> list[Span]:
        """See `Chunking`."""
        by_words = ByWords(size=self.size, overlap=self.overlap)
        spans = []
        for section in _sections(text):
            for number, part in enumerate(by_words.spans(text[section.start : section.end])):
                # The first part begins with the section's own heading; the others have it in front.
                above = section.headings if number else section.headings[:-1]
                spans.append(Span(section.start + part.start, section.start + part.end, above))
        return spans


_KINDS: dict[str, type[Chunking]] = {"words": ByWords, "sentences": BySentences, "headings": ByHeadings}


def parse_chunking(text: str, *, titles: bool = True) -> Chunking:
    """What `KIND[:SIZE[:OVERLAP]]` stands for, such as words:200:40, sentences:5 or headings."""
    kind, *numbers = text.split(":")
    if kind not in _KINDS or len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise InputError(f"chunks are KIND[:SIZE[:OVERLAP]], with a kind of {', '.join(_KINDS)}; got {text!r}")
    sizes = dict(zip(("size", "overlap"), map(int, numbers), strict=False))
    if len(numbers) == 1:
        sizes["overlap"] = 0
    return _KINDS[kind](titles=titles, **sizes)


def chunking_settings(chunking: Chunking | None) -> dict[str, Any] | None:
    """A chunking as an index keeps it; None for whole documents."""
    return {"kind": type(chunking).__name__, **asdict(chunking)} if chunking else None


def chunking_from(settings: Mapping[str, Any] | None) -> Chunking | None:
    """The chunking that an index keeps."""
    if settings is None:
        return None
    kinds = {kind.__name__: kind for kind in _KINDS.values()}
    return kinds[settings["kind"]](**{name: value for name, value in settings.items() if name != "kind"})


def passages_of(documents: Iterable[Document], chunking: Chunking) -> Iterator[Document]:
    """Each document's passages as documents of their own, named ID#0, ID#1, …; an empty one stays one passage."""
    for document in documents:
        for number, span in enumerate(chunking.spans(document.text) or [Span(0, 0)]):
            above = [heading for heading in span.headings if heading != document.title]
            title = " ".join([document.title, *above]).strip() if chunking.titles else ""
            yield replace(
                document,
                id=f"{document.id}#{number}",
                title=title,
                text=document.text[span.start : span.end],
                passage=Passage(document=document.id, start=span.start, end=span.end),
            )


def _windows(units: list[Span], size: int, overlap: int) -> list[Span]:
    """Runs of `size` units, each beginning `overlap` units before the end of the last; none lies within another."""
    starts = range(0, max(len(units) - overlap, min(len(units), 1)), size - overlap)
    return [Span(units[i].start, units[min(i + size, len(units)) - 1].end) for i in starts]


def _sentences(text: str) -> Iterator[Span]:
    start = 0
    for match in _SENTENCE_END.finditer(text):
        sentence = text[start : match.end()]
        if sentence.strip():
            indent = len(sentence) - len(sentence.lstrip())
            yield Span(start + indent, start + len(sentence.rstrip()))
        start = match.end()


def _sections(text: str) -> Iterator[Span]:
    """The text from each heading to the next, with the headings above it and its own, the outermost first."""
    above: list[tuple[int, str]] = []
    start = 0
    for position, level, name in _headings(text):
        yield Span(start, position, tuple(heading for _, heading in above))
        above = [(depth, heading) for depth, heading in above if depth < level] + [(level, name)]
        start = position
    yield Span(start, len(text), tuple(heading for _, heading in above))


def _headings(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each heading begins, its level and its words; a line in a code fence is none."""
    position, fenced = 0, False
    for line in text.splitlines(keepends=True):
        content = line.strip()
        if content.startswith(_FENCE):
            fenced = not fenced
        elif not fenced and (match := _HEADING.fullmatch(content)):
            yield position, len(match[1]), _CLOSING.sub("", match[2]).strip()
        position += len(line)

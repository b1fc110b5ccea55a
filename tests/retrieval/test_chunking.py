from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.chunking import ByHeadings, BySentences, ByWords, Chunking, parse_chunking, passages_of
from retrieval.errors import InputError
from retrieval.types import Document, Passage

MARKDOWN = """Before any heading.

# Winds

Solar wind.

## Fast ones

Faster than others. # not a heading

# Storms
"""

words = st.sampled_from(["wind.", "storm", "天気", "\n\n", "# Sky\n", "light!", "a", " "])
anything = st.one_of(st.lists(words, max_size=30).map(" ".join), st.text(max_size=60))


@st.composite
def chunkings(draw: st.DrawFn) -> Chunking:
    """Any kind, with any size and overlap that are allowed."""
    kind = draw(st.sampled_from([ByWords, BySentences, ByHeadings]))
    size = draw(st.integers(1, 6))
    return kind(size=size, overlap=draw(st.integers(0, size - 1)))


@given(text=anything, chunking=chunkings())
def test_passages_cover_the_text(text: str, chunking: Chunking) -> None:
    """All of it but white space; in order, and none within another."""
    spans = chunking.spans(text)
    covered = {i for span in spans for i in range(span.start, span.end)}
    missing = [character for i, character in enumerate(text) if i not in covered and not character.isspace()]
    assert not missing
    for one, next_ in pairwise(spans):
        assert one.start < next_.start
        assert one.end < next_.end
    for span in spans:
        assert text[span.start : span.end].strip() == text[span.start : span.end] != ""


@pytest.mark.parametrize(
    ("size", "overlap", "expected"),
    [
        (2, 0, ["a b", "c d", "e"]),
        (2, 1, ["a b", "b c", "c d", "d e"]),
        (3, 1, ["a b c", "c d e"]),
        (5, 4, ["a b c d e"]),
        (9, 0, ["a b c d e"]),
    ],
)
def test_words(size: int, overlap: int, expected: list[str]) -> None:
    """The last passage ends with the text, and is not a part of the one before."""
    text = "a b c d e"
    assert [text[start:end] for start, end, _ in ByWords(size=size, overlap=overlap).spans(text)] == expected


def test_a_character_of_a_script_without_spaces_is_a_word() -> None:
    """Else a page of Chinese would be one passage."""
    text = "信息检索 is IR"
    spans = ByWords(size=3, overlap=0).spans(text)
    assert [text[start:end] for start, end, _ in spans] == ["信息检", "索 is IR"]


def test_sentences() -> None:
    """They end with a mark and white space, a mark of Chinese, or an empty line; 3.5 is not an end."""
    text = 'It is 3.5 "high." Really!\n\nA title\n\n天気。雨？ The end'
    spans = BySentences(size=1, overlap=0).spans(text)
    found = [text[start:end] for start, end, _ in spans]
    assert found == ['It is 3.5 "high."', "Really!", "A title", "天気。", "雨？", "The end"]


def test_sections_know_the_headings_above_them() -> None:
    """Each begins with its own; an inner one follows the outer, and ends with the next of its level."""
    spans = ByHeadings().spans(MARKDOWN)
    assert [(MARKDOWN[start:end], headings) for start, end, headings in spans] == [
        ("Before any heading.", ()),
        ("# Winds\n\nSolar wind.", ()),
        ("## Fast ones\n\nFaster than others. # not a heading", ("Winds",)),
        ("# Storms", ()),
    ]


def test_a_part_of_a_long_section_has_its_heading_in_front() -> None:
    """But for the first, which begins with it."""
    text = "# Winds\n## Fast\none two three four"
    found = [(text[start:end], headings) for start, end, headings in ByHeadings(size=4).spans(text)]
    assert found == [("# Winds", ()), ("## Fast\none two", ("Winds",)), ("three four", ("Winds", "Fast"))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# Why C#\nx\n## F# ##\r\ny\r\n### z", ("Why C#", "F#")),
        ("# Setup\n```bash\n# install\n```\n## Next\ny\n### z", ("Setup", "Next")),
        ("#tag is none\n####### nor this\n# a\n## b", ("a",)),
    ],
)
def test_what_is_a_heading(text: str, found: tuple[str, ...]) -> None:
    """Closing marks are left out, marks of a name stay; a comment in a code fence is none."""
    *_, (_, _, headings) = ByHeadings().spans(text)
    assert headings == found


def test_a_passage_is_a_document_that_knows_where_it_stands() -> None:
    """Id, title with the headings above, the text between its characters, the document's metadata."""
    document = Document(id="m", title="Weather", text=MARKDOWN, metadata={"year": 1})
    section = list(passages_of([document], ByHeadings()))[2]
    start = MARKDOWN.index("## Fast")
    end = MARKDOWN.index("\n\n# Storms")
    assert section == Document(
        id="m#2",
        title="Weather Winds",
        text=MARKDOWN[start:end],
        metadata={"year": 1},
        passage=Passage(document="m", start=start, end=end),
    )
    assert {passage.title for passage in passages_of([document], ByHeadings(titles=False))} == {""}


def test_an_empty_document_stays() -> None:
    """As one passage, which nothing finds."""
    (passage,) = passages_of([Document(id="e", text=" \n")], ByWords())
    assert (passage.id, passage.text) == ("e#0", "")


@pytest.mark.parametrize(
    ("text", "chunking"),
    [
        ("words", ByWords(size=200, overlap=40)),
        ("words:100", ByWords(size=100, overlap=0)),
        ("sentences:3:2", BySentences(size=3, overlap=2)),
        ("headings:50", ByHeadings(size=50, overlap=0)),
    ],
)
def test_how_it_is_written(text: str, chunking: Chunking) -> None:
    """Kind, size, overlap."""
    assert parse_chunking(text) == chunking


@pytest.mark.parametrize("text", ["", "pages", "words:0", "words:5:5", "words:-1", "words:1:0:0", "words:x"])
def test_what_cannot_be(text: str) -> None:
    """The message says what can."""
    with pytest.raises(InputError, match=r"chunks are KIND|passages need a size of at least 1"):
        parse_chunking(text)

import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.index.lexical.analyzer import Analyzer, AnalyzerSettings
from retrieval.index.lexical.builder import PostingsBuilder
from retrieval.index.lexical.words import CompiledWords, SplitWords, WordTable, small_letters, word_table

PLAIN = AnalyzerSettings()
TURKISH = AnalyzerSettings(normal_form="NFKC", stemmer="turkish")

SCRIPTS = {
    "latin": "The QUICK brown fox's naïve résumé, e.g. x1 _y__ a b I'm",
    "german": "Straße STRASSE GROẞE Füße",
    "turkish": "İSTANBUL Iğdır ılık İ I iİ Iİ",
    "greek": "ΟΔΥΣΣΕΥΣ ΣΑΣ Σ ΑΣ. ΑΣ\u0301Β Σ\u0301 ὈΔΥΣΣΕΎΣ",
    "cyrillic": "Съешь ЖЕ ещё Ёлка",
    "armenian": "ԳՐՔԵՐ և գիրք",
    "georgian": "ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝ საქართველო",
    "hebrew": "שָׁלוֹם עולם",
    "arabic": "الكِتَاب ٣٤٥ كتاب",
    "hindi": "विद्यालय १२३ किताबें",
    "thai": "ค้นหาข้อมูล ๑๒",
    "han": "信息检索 與 水 𠀀𠀁",
    "kana": "検索エンジン ｶﾀｶﾅ ＢＭ２５",
    "hangul": "정보 검색 각",
    "cherokee": "ᏣᎳᎩ ꮳꮃꭹ",
    "deseret": "𐐔𐐯𐑅𐐨𐑉𐐯𐐻 𐐀",
    "mathematical": "𝐀𝐁 𝟙𝟚 Ⅻ ½¾ ²³ ⓐⓑ",
    "marks": "cafe\u0301 a\u0308\u0304b \u0301\u0301 i\u0307İ",
    "emoji": "a😀b 👩‍👩‍👧 cd👍🏽ef 🇩🇪",
    "widths": "ȺȾ KÅ ẞß ǅǆ ﬁﬂ",
    "controls": "".join(map(chr, range(128))) + "\0ab\0\0cd\x7fef\x85gh\u2028ij\ufeffkl",
    "surrogates": "ab\ud800cd \udfff\udbff e\udc00",
    "long": "x" * 300 + " " + "é" * 300 + " " + "abcdefgh" * 40 + " abcdefgh abcdefghi",
    "empty": "",
}


def numbered(table: WordTable, texts: list[str]) -> list[list[str]]:
    """The words of each text, by way of their numbers."""
    numbers, offsets = table.add(texts)
    assert (numbers.dtype, offsets.dtype) == (np.int32, np.int64)
    words = table.words
    assert len(set(words)) == len(words)
    return [[words[number] for number in numbers[start:stop]] for start, stop in pairwise(offsets)]


def assert_equal_to_the_analyzer(settings: AnalyzerSettings, texts: list[str]) -> None:
    """The kernel's words are the analyzer's."""
    analyzer = Analyzer(settings)
    assert numbered(CompiledWords(analyzer), texts) == [analyzer.words(text) for text in texts]


@pytest.mark.parametrize("settings", [PLAIN, TURKISH])
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_has_the_analyzers_words(script: str, settings: AnalyzerSettings) -> None:
    """As it stands, in capitals, in small letters, and one character at a time."""
    text = SCRIPTS[script]
    assert_equal_to_the_analyzer(settings, [text, text.upper(), text.lower(), text.title(), *text, text[::-1]])


# What lowers to more than one character or by what is around, what changes its width, and what no word holds.
ODD = st.sampled_from("ΣİıIKȺßẞσς\u0301\u0307\u200d\0 _-aAéé字𐐀😀\ud800")


@pytest.mark.parametrize("settings", [PLAIN, TURKISH])
@given(texts=st.lists(st.text(st.characters()) | st.text(ODD), max_size=5))
def test_any_text_has_the_analyzers_words(settings: AnalyzerSettings, texts: list[str]) -> None:
    """Surrogates included, which JSON can smuggle into a text."""
    assert_equal_to_the_analyzer(settings, texts)


def test_letters_are_lowered_and_told_apart_as_python_does() -> None:
    """Over all code points, wherever in a word they stand, but for the two that a text is looked through for."""
    points = [chr(point) for point in range(0x110000) if chr(point) not in "İΣ"]
    lowered = [point.lower() for point in points]
    for before, after in (("a", "b"), ("a", "-")):
        text = "\n".join(before + point + after for point in points)
        assert text.lower() == "\n".join(before + letter + after for letter in lowered)
    small = small_letters()
    is_word = re.compile(r"(?u)\w").match
    expected = [ord(letter) if is_word(letter) else 0 for letter in lowered]
    assert small[[ord(point) for point in points]].tolist() == expected
    assert np.array_equal(small[small], small)  # so that a text may be lowered twice
    before, after = (np.digitize(own, [0x80, 0x800, 0x10000]) + 1 for own in (np.arange(0x110000), small))
    assert np.all(after <= 2 * before)  # bytes: the room that the kernel asks for


@pytest.mark.parametrize("name", ["scifact", "nfcorpus", "cranfield"])
def test_real_collections_have_the_analyzers_words(name: str, shared_data: Path) -> None:
    """Every document."""
    lines = (shared_data / name / "corpus.jsonl").read_text().splitlines()
    documents = [json.loads(line) for line in lines]
    assert_equal_to_the_analyzer(PLAIN, [f"{document.get('title', '')} {document['text']}" for document in documents])


def test_numbers_go_on_from_one_call_to_the_next() -> None:
    """While the table grows, and the same in Python."""
    analyzer = Analyzer(PLAIN)
    batches = [[f"word{i // 3} Word{i} and {'long' * (i % 7)}{i}" for i in range(n)] for n in (0, 3, 9000, 20000)]
    tables: tuple[WordTable, ...] = (CompiledWords(analyzer), SplitWords(analyzer))
    for batch in batches:
        one, other = (table.add(batch) for table in tables)
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert tables[0].words == tables[1].words


def test_the_kernel_is_for_many_texts_and_its_own_tokenizer() -> None:
    """Few texts are split before it could be loaded; other tokenizers are Python's."""
    assert isinstance(word_table(Analyzer(PLAIN), 1 << 24), CompiledWords)
    assert isinstance(word_table(Analyzer(PLAIN), 1000), SplitWords)
    assert isinstance(word_table(Analyzer(AnalyzerSettings(tokenizer="bigrams")), 1 << 24), SplitWords)


@pytest.mark.parametrize("language", ["english", "german", "turkish", "chinese", "hindi", "none"])
def test_either_way_of_splitting_writes_the_same_postings(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the language, byte by byte."""
    settings = AnalyzerSettings.for_language(language)
    texts = [*SCRIPTS.values(), "the THE die ve bir", *SCRIPTS.values()]
    texts = [text.encode(errors="ignore").decode() for text in texts]

    def build(folder: Path, few: int) -> dict[str, bytes]:
        monkeypatch.setattr(sys.modules[word_table.__module__], "_MANY_CHARACTERS", few)
        monkeypatch.setattr(sys.modules[PostingsBuilder.__module__], "_MANY_TERMS", few)
        monkeypatch.setattr(sys.modules[PostingsBuilder.__module__], "_TEXTS_AT_ONCE", 7)
        folder.mkdir()
        builder = PostingsBuilder(settings)
        builder.add(iter(texts[:10]))
        builder.add(texts[10:])
        builder.write(folder)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    compiled, split = build(tmp_path / "compiled", 0), build(tmp_path / "split", 1 << 40)
    assert compiled == split
    terms = [Analyzer(settings).terms(text) for text in texts]
    assert np.load(tmp_path / "compiled" / "lengths.npy").tolist() == [len(own) for own in terms]
    blob = np.load(tmp_path / "compiled" / "term_bytes.npy").tobytes()
    assert blob == b"".join(sorted({term.encode() for own in terms for term in own}))
    assert len(np.load(tmp_path / "compiled" / "ordinals.npy")) == sum(len(set(own)) for own in terms)


def test_a_builder_without_a_word_writes_postings(tmp_path: Path) -> None:
    """Of no document, and of documents without a word."""
    for texts, n in (([], 0), (["", "a - b"], 2)):
        builder = PostingsBuilder(PLAIN)
        builder.add(texts)
        builder.write(tmp_path)
        assert np.load(tmp_path / "lengths.npy").tolist() == [0] * n
        assert np.load(tmp_path / "starts.npy").tolist() == [0]

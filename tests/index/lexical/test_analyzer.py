import sys
from pathlib import Path

import pytest

import retrieval
from retrieval.errors import InputError
from retrieval.index.lexical.analyzer import LANGUAGES, Analyzer, AnalyzerSettings
from retrieval.indexing import Index, LexicalOptions


def terms(language: str, text: str) -> list[str]:
    """The terms of a text under a language's usual settings."""
    return Analyzer(AnalyzerSettings.for_language(language)).terms(text)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("english", "The winds were blowing, and a STORM arose!", ["wind", "were", "blow", "storm", "aros"]),
        ("german", "Die Häuser und das Haus", ["haus", "haus"]),
        ("french", "les chats et le chat", ["chat", "chat"]),
        ("none", "The winds a b", ["the", "winds"]),
        ("chinese", "信息检索 and BM25", ["信息", "息检", "检索", "and", "bm25"]),
        ("japanese", "検索エンジン", ["検索", "索エ", "エン", "ンジ", "ジン"]),
        ("korean", "정보 검색", ["정보", "검색"]),
        ("thai", "ค้น", ["ค้", "้น"]),
        ("chinese", "水", ["水"]),
        ("english", "", []),
    ],
)
def test_languages(language: str, text: str, expected: list[str]) -> None:
    """Lower case, stop words before stems, and character pairs where words have no spaces."""
    assert terms(language, text) == expected


def test_stop_words_and_stems_can_be_turned_off() -> None:
    """Each for itself."""
    settings = AnalyzerSettings.for_language("english", stopwords=False, stem=False)
    assert Analyzer(settings).terms("The winds") == ["the", "winds"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_analyses(language: str) -> None:
    """All that are offered work with the packages that are installed."""
    assert terms(language, "zebra 42 zebra")


def test_an_unknown_language_or_tokenizer_is_refused() -> None:
    """The message lists what there is."""
    with pytest.raises(InputError, match=r"language must be one of arabic, .*, none; got 'klingon'"):
        AnalyzerSettings.for_language("klingon")
    with pytest.raises(InputError, match="tokenizer 'jieba' is not installed; known here: bigrams, words"):
        Analyzer(AnalyzerSettings(tokenizer="jieba"))


def test_an_installed_package_can_offer_a_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point; the index keeps its name, and without the package it says what is missing."""
    site = tmp_path / "site"
    (site / "syllables-1.0.dist-info").mkdir(parents=True)
    (site / "syllables.py").write_text("def split(text):\n    return text.split('-')\n")
    (site / "syllables-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: syllables\nVersion: 1.0\n")
    entry = "[retrieval.tokenizers]\nsyllables = syllables:split\n"
    (site / "syllables-1.0.dist-info" / "entry_points.txt").write_text(entry)
    settings = AnalyzerSettings.for_language("none", tokenizer="syllables")
    with monkeypatch.context() as installed:
        installed.setattr(sys, "path", [*sys.path, str(site)])
        documents = [retrieval.Document(id="a", text="re-trie-val"), retrieval.Document(id="b", text="re-al")]
        index = Index.build(documents, tmp_path / "index", lexical=LexicalOptions(analyzer=settings))
        assert [hit.id for hit in retrieval.Retriever(index).search("trie")] == ["a"]
    with pytest.raises(InputError, match="tokenizer 'syllables' is not installed"):
        Index.open(tmp_path / "index")

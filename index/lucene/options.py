"""How Lucene analyses and scores."""

from dataclasses import dataclass
from typing import Literal

from retrieval.index.lexical.bm25 import BM25, PRESETS

__all__ = ["ANALYZER", "LuceneOptions"]

ANALYZER: Literal["anserini-english"] = "anserini-english"
"""Anserini's DefaultEnglishAnalyzer as it comes: Lucene's tokenizer and English stop words, Porter's stemmer."""


@dataclass(frozen=True, kw_only=True)
class LuceneOptions:
    """Lucene's BM25 over Anserini's analysis of English; the defaults are Anserini's.

    Attributes:
        k1: how fast repeated terms saturate, at least 0.
        b: how much a document's length counts, from 0 to 1.
    """

    k1: float = PRESETS["anserini"][0]
    b: float = PRESETS["anserini"][1]

    def __post_init__(self) -> None:
        BM25(k1=self.k1, b=self.b)  # which checks them

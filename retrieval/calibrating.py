"""By what a reranker in int8 is calibrated: questions to the user's corpus, and the passages that a search finds."""

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from retrieval.chunking import BySentences, ByWords
from retrieval.index.documents.reader import DocumentReader
from retrieval.protocols import CalibratedReranker
from retrieval.types import Document, Hits

__all__ = ["QUESTIONS", "questions", "show_passages"]

QUESTIONS = 24
"""How many questions are asked; the passages that a model wants to see are shared out among them."""

# Words of a question that is made of a document.
_WORDS = 32


def show_passages(
    model: CalibratedReranker,
    given: Sequence[str],
    documents: DocumentReader,
    search: Callable[[list[str], int], Hits],
) -> None:
    """Let a model that wants to see passages of the corpus see what a search finds for questions to it.

    Args:
        model: which may have seen some already, and then wants no more.
        given: see `questions`.
        documents: of the index.
        search: questions, and how many hits of each.
    """
    if wanted := model.sample:
        asked = questions(given, documents)
        hits = search(asked, -(-wanted // max(1, len(asked))))
        found = [[documents[int(ordinal)].contents for ordinal in ordinals] for ordinals, _ in hits.rows()]
        model.calibrate(asked, found)


def questions(given: Sequence[str], documents: DocumentReader) -> list[str]:
    """Some of the queries that are given, or else titles of documents; of one without a title its first sentence.

    They are drawn at random, the same each time; fewer than QUESTIONS where there are no more.

    Args:
        given: queries; those without a word are left out.
        documents: of the index.
    """
    random = np.random.default_rng(0)
    if asked := [query for query in given if query.strip()]:
        return [asked[place] for place in random.permutation(len(asked))[:QUESTIONS]]
    drawn = random.permutation(documents.ordinals)
    return list(islice(filter(None, (_question(documents[int(ordinal)]) for ordinal in drawn)), QUESTIONS))


def _question(document: Document) -> str:
    """Empty for a document without a word."""
    text = document.title.strip() or _first(document.text, BySentences(size=1, overlap=0))
    return _first(text, ByWords(size=_WORDS, overlap=0))


def _first(text: str, by: BySentences | ByWords) -> str:
    spans = by.spans(text)
    return text[spans[0].start : spans[0].end] if spans else ""

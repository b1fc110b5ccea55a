"""How an index is stored changes no hit: reordered, it gives the same; in steps, nearly the same scores."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.building import LexicalOptions
from retrieval.index.lexical.bm25 import BM25
from retrieval.indexing import Index
from retrieval.types import Document, Hits

WORDS = [f"word{i}" for i in range(300)]
QUERIES = ["word1 word2 word3", "word0", "word5 word250 word3 word3", "word299 word298", "nothing", ""]


def documents(n: int, first: int = 0) -> list[Document]:
    """Of three topics, one after the other, so that an order by topic is another than theirs; many of them alike."""
    made = []
    for number in range(first, first + n):
        rng = np.random.default_rng(number // 2)
        chosen = np.minimum(rng.geometric(0.02, size=12) + 100 * (number % 3), 299)
        text = " ".join(WORDS[i] for i in chosen)
        made.append(Document(id=str(number), text=text, metadata={"even": number % 2 == 0}))
    return made


def assert_same(one: Hits, other: Hits) -> None:
    np.testing.assert_array_equal(one.counts, other.counts)
    np.testing.assert_array_equal(one.ordinals, other.ordinals)
    np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("method", ["lucene", "bm25+"])
def test_reordering_changes_no_hit(method: str, tmp_path: Path) -> None:
    """Ids, scores and ties, with and without a filter; nor does it after documents were added, replaced and deleted."""
    plain, other = (
        Index.build(documents(900), tmp_path / name, lexical=LexicalOptions(bm25=BM25(method=method), reorder=reorder))
        for name, reorder in (("plain", False), ("reordered", True))
    )
    assert plain.lexical
    assert other.lexical
    for _ in range(2):
        even = plain.documents.allowed({"even": True})
        for allowed in (None, even):
            for k in (1, 7, 1000):
                assert_same(plain.lexical.search(QUERIES, k, 1, allowed), other.lexical.search(QUERIES, k, 1, allowed))
        assert other.problems() == []
        plain, other = (
            index.add(documents(60, 880), replace=True)
            .delete(filter={"even": True})
            .add(documents(9, 2000), replace=True)
            for index in (plain, other)
        )


def test_a_reordered_index_has_another_order(tmp_path: Path) -> None:
    """Or the test above would show nothing."""
    index = Index.build(documents(900), tmp_path / "index", lexical=LexicalOptions(reorder=True))
    assert index.lexical
    order = index.lexical.postings.order
    assert order is not None
    assert not np.array_equal(order, np.arange(900))


@pytest.mark.parametrize(("impacts", "tolerance"), [("u16", 1e-4), ("u8", 0.05)])
def test_scores_in_steps(impacts: str, tolerance: float, tmp_path: Path) -> None:
    """Every document that matches still does, with a score that is near the exact one."""
    exact = Index.build(documents(300), tmp_path / "exact")
    steps = Index.build(documents(300), tmp_path / "steps", lexical=LexicalOptions(impacts=impacts))  # type: ignore[arg-type]
    assert exact.lexical
    assert steps.lexical
    one, other = exact.lexical.search(QUERIES, 300), steps.lexical.search(QUERIES, 300)
    np.testing.assert_array_equal(one.counts, other.counts)
    for (ordinals, scores), (others, theirs) in zip(one.rows(), other.rows(), strict=True):
        by_document, expected = np.argsort(others), np.argsort(ordinals)
        np.testing.assert_array_equal(others[by_document], ordinals[expected])
        np.testing.assert_allclose(theirs[by_document], scores[expected], atol=tolerance * scores.max(initial=0))
    assert steps.problems() == []


@pytest.mark.parametrize("impacts", ["exact", "u16", "u8"])
@pytest.mark.parametrize("method", ["robertson", "atire"])
def test_where_no_term_weighs_anything(method: str, impacts: str, tmp_path: Path) -> None:
    """Documents that hold what every document holds still match, in the order of their ordinals."""
    texts = ["solar wind", "solar wind", "solar wind"]
    options = LexicalOptions(bm25=BM25(method=method), impacts=impacts)  # type: ignore[arg-type]
    index = Index.build(
        [Document(id=str(i), text=text) for i, text in enumerate(texts)], tmp_path / "index", lexical=options
    )
    assert index.lexical
    assert index.lexical.search(["solar"], 5).row(0)[0].tolist() == [0, 1, 2]
    assert index.problems() == []

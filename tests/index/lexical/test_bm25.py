from collections.abc import Callable
from pathlib import Path

import bm25s
import numpy as np
import pytest
import Stemmer

import retrieval
from retrieval.corpus import read_documents, read_queries
from retrieval.errors import InputError
from retrieval.index.lexical.bm25 import BM25, METHODS
from retrieval.indexing import Index, LexicalOptions


def theirs(texts: list[str], queries: list[str], bm25: BM25, k: int) -> tuple[np.ndarray, np.ndarray]:
    """bm25s' ordinals and scores for the same texts and the same settings."""
    stemmer = Stemmer.Stemmer("english")
    engine = bm25s.BM25(method=bm25.method, k1=bm25.k1, b=bm25.b, delta=bm25.delta)
    tokens = bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
    engine.index(tokens, show_progress=False)
    asked = bm25s.tokenize(queries, stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)
    return engine.retrieve(asked, k=k, show_progress=False)


def assert_equal_to_bm25s(index: Index, texts: list[str], queries: list[str], bm25: BM25, k: int) -> None:
    """The same scores, and the same documents wherever scores are apart by more than the tolerance."""
    assert index.lexical
    hits = index.lexical.search(queries, k)
    ordinals, scores = theirs(texts, queries, bm25, k)
    for query, count in enumerate(hits.counts):
        np.testing.assert_allclose(hits.scores[query, :count], scores[query, :count], atol=1e-5, rtol=1e-6)
        last = scores[query, count - 1] if count else 0
        apart = scores[query, :count] > last + 1e-4
        assert set(hits.ordinals[query, :count][apart]) == set(ordinals[query, :count][apart])


@pytest.mark.parametrize("method", METHODS)
def test_scores_equal_bm25s_on_scifact(method: str, shared_data: Path, tmp_path: Path) -> None:
    """For every method, the first hundred hits of each test query have bm25s' scores."""
    folder = shared_data / "scifact"
    documents = list(read_documents(folder))
    queries = [query.text for query in read_queries(folder / "queries.jsonl")][::10]
    bm25 = BM25(method=method)
    index = Index.build(documents, tmp_path / "index", lexical=LexicalOptions(bm25=bm25))
    assert_equal_to_bm25s(index, [document.contents for document in documents], queries, bm25, k=100)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("k1", "b", "delta"), [(1.5, 0.75, 0.5), (0.9, 0.4, 1.0), (0.01, 0.0, 0.0), (2.0, 1.0, 0.2)])
def test_scores_equal_bm25s_for_other_parameters(
    method: str, k1: float, b: float, delta: float, tmp_path: Path
) -> None:
    """Small texts, parameters at their ends."""
    texts = ["solar wind", "wind wind storm", "magnetic storm sky and a long tail of words", "oxygen", "sky sky sky"]
    bm25 = BM25(method=method, k1=k1, b=b, delta=delta)
    index = Index.build(
        [retrieval.Document(id=str(i), text=text) for i, text in enumerate(texts)],
        tmp_path / "index",
        lexical=LexicalOptions(bm25=bm25),
    )
    assert_equal_to_bm25s(index, texts, ["wind", "storm sky", "sky oxygen wind wind"], bm25, k=len(texts))


def test_a_term_that_every_document_holds_still_matches(tmp_path: Path) -> None:
    """Its weight is 0 in robertson and atire; documents that hold it are found, in order of ordinals."""
    documents = [retrieval.Document(id=name, text="wind") for name in "abc"] + [retrieval.Document(id="d", text="sky")]
    for method in ("robertson", "atire"):
        options = LexicalOptions(bm25=BM25(method=method))
        index = Index.build(documents[:3], tmp_path / method, lexical=options)
        assert index.lexical
        hits = index.lexical.search(["wind"], 10)
        assert hits.ordinals[0].tolist() == [0, 1, 2]
        assert hits.scores[0] == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BM25(method="bm26"), "method must be one of lucene"),
        (lambda: BM25(k1=-1), "k1 must be a number from 0"),
        (lambda: BM25(b=1.1), "b must be a number from 0 to 1"),
        (lambda: BM25(k1=float("nan")), "k1 must be a number"),
        (lambda: BM25(k1=float("inf")), "k1 must be a number"),
        (lambda: BM25.preset("lucene9"), "preset must be one of bm25s, anserini"),
    ],
)
def test_parameters_out_of_range_are_refused(make: Callable[[], BM25], message: str) -> None:
    """The message names the parameter and what it may be."""
    with pytest.raises(InputError, match=message):
        make()


def test_the_anserini_preset() -> None:
    """k1 .9 and b .4, as in Anserini's regressions."""
    assert BM25.preset("anserini") == BM25(method="lucene", k1=0.9, b=0.4)

"""Anserini's published figures, from the same texts."""

from pathlib import Path

import pytest

from retrieval.beir_eval.datasets import load_collection
from retrieval.beir_eval.measures import measure, parse_measures
from retrieval.corpus import read_documents
from retrieval.evaluating import evaluate
from retrieval.index.lucene.options import LuceneOptions
from retrieval.indexing import Index
from retrieval.pipeline import Retriever
from tests.index.lucene.reference import needs_lucene


@needs_lucene
@pytest.mark.parametrize(
    ("name", "published", "by_our_rule"), [("scifact", 0.6789, 0.6789), ("nfcorpus", 0.3218, 0.3206)]
)
def test_anserinis_figures(name: str, published: float, by_our_rule: float, shared_data: Path, tmp_path: Path) -> None:
    """nDCG@10 of BM25 with k1 .9 and b .4, "flat": ties by id ascending, as Anserini has them.

    `retrieval eval` orders ties as trec_eval does, by id descending, and NFCorpus has many queries of one word.
    Source: https://castorini.github.io/pyserini/2cr/beir.html, the row of each collection under BM25 Flat.
    """
    documents = sorted(read_documents(shared_data / name), key=lambda document: document.id)
    retriever = Retriever(Index.build(documents, tmp_path / "index", lexical=LuceneOptions()))
    collection, measures = load_collection(shared_data / name), ["nDCG@10"]
    hits = retriever.search_batch([query.text for query in collection.queries], 1000)
    run = {
        query.id: {id_: -float(rank) for rank, id_ in enumerate(retriever.ids(ordinals))}
        for query, (ordinals, _) in zip(collection.queries, hits.rows(), strict=True)
    }
    assert measure(collection.qrels, run, parse_measures(measures))[0]["nDCG@10"] == pytest.approx(published, abs=5e-5)
    ours = evaluate(collection, [retriever], measures=measures)[0].measures["nDCG@10"]
    assert ours == pytest.approx(by_our_rule, abs=5e-5)

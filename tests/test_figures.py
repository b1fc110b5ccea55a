"""The published figures that the lexical part must give, on the real collections."""

from pathlib import Path

import pytest

from retrieval.beir_eval.datasets import load_collection
from retrieval.beir_eval.evaluation import evaluate_system
from retrieval.beir_eval.measures import parse_measures
from retrieval.indexing import Index
from retrieval.pipeline import Retriever


@pytest.mark.parametrize(("name", "published"), [("scifact", 0.687), ("nfcorpus", 0.321)])
def test_lexical_search_gives_the_published_figure(
    name: str, published: float, shared_data: Path, tmp_path: Path
) -> None:
    """nDCG@10 of bm25s' recipe, within .002."""
    index = Index.build(shared_data / name, tmp_path / "index")
    result = evaluate_system(
        "lexical",
        load_collection(shared_data / name),
        Retriever(index).search_batch,
        index.documents.ids,
        parse_measures(["nDCG@10"]),
        k=100,
        without_own=False,
        settings={},
    )
    assert result.measures["nDCG@10"] == pytest.approx(published, abs=0.002)

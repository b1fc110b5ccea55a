"""Titles make training data: each finds its own document's text, and others that have the search's scores."""

from pathlib import Path

import numpy as np
import pytest
import titles

import retrieval

WORDS = ["sun", "wind", "sky", "rain", "storm", "cloud"]
CORPUS = [
    {
        "id": f"d{n}",
        "title": f"{WORDS[n % 6]} over town {n}",
        "text": f"{WORDS[n % 6]} is seen over town in week {n} " * 5,
    }
    for n in range(24)
]


def test_a_title_asks_for_its_own_text(tmp_path: Path) -> None:
    """Documents of no title, or of hardly a text, ask nothing; a text that two have is no negative of either."""
    twin = {"id": "twin", "title": CORPUS[0]["title"], "text": CORPUS[0]["text"]}
    poor = [{"id": "bare", "text": "sun over town " * 9}, {"id": "short", "title": "sun over town", "text": "sun"}]
    index = retrieval.Index.build([*CORPUS, twin, *poor], tmp_path / "index")
    made = list(titles.lists(index.path, 60, np.random.default_rng(0)))
    assert len(made) == 25
    for one in made:
        assert one["pos"][0] not in one["neg"]
        assert len(one["neg"]) == len(one["neg_scores"])
        assert len(one["pos_scores"]) == 1
        assert "sun" not in one["neg"]


@pytest.mark.parametrize("title", ["rain over a small town", "rain over town"])
def test_half_of_the_queries_are_words_of_a_title_that_stand_together(title: str) -> None:
    """Two to five of them."""
    generator = np.random.default_rng(0)
    made = [titles.query_of(title, generator) for _ in range(200)]
    parts = [query for query in made if query != title]
    assert 40 < len(parts) < 160
    assert all(query in title and 2 <= len(query.split()) <= 5 for query in parts)

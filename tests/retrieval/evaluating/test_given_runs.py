"""A given run is a first stage like any other: a reranker orders its first hits, and reads no document it lacks."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.beir_eval.datasets import Collection
from retrieval.beir_eval.evaluation import SystemResult
from retrieval.beir_eval.measures import parse_measures
from retrieval.beir_eval.runs import Ties
from retrieval.evaluating.given_runs import GivenRun, score_reranked
from retrieval.reranking import Reranking
from retrieval.types import Query

CONTENTS = {"short": "x", "long": "xxx", "middle": "xx"}
RUN = {"q1": {"short": 3.0, "middle": 2.0, "long": 1.0}, "q2": {"middle": 1.0}}
QUERIES = [Query(id="q1", text="one"), Query(id="q2", text="two"), Query(id="q3", text="two")]


class ByLength:
    """Scores a passage by its length; wants to see two of them first."""

    settings = {"kind": "length"}  # noqa: RUF012 - a constant
    sample = 2

    def __init__(self) -> None:
        self.seen: list[Sequence[str]] = []

    def calibrate(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> None:
        """Keep what it is shown."""
        assert len(queries) == len(lists)
        self.seen += lists

    def score_lists(self, queries: Sequence[str], lists: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """(m,) of each list."""
        return [np.array([len(text) for text in passages], dtype=np.float32) for passages in lists]


def test_the_first_hits_are_reranked_and_the_rest_stand_behind() -> None:
    """Of a query that the run does not answer there are none, whoever else has its text."""
    given = GivenRun(RUN, CONTENTS, Reranking(model=ByLength(), depth=2))
    hits = given.search(QUERIES, 10)
    assert [given.ids(ordinals) for ordinals, _ in hits.rows()] == [["middle", "short", "long"], ["middle"], []]


def test_the_runs_own_scores_have_their_weight() -> None:
    """As in any search; a query without hits stays so."""
    given = GivenRun(RUN, CONTENTS, Reranking(model=ByLength(), weight=0.25))
    hits = given.search(QUERIES, 10)
    assert [given.ids(ordinals) for ordinals, _ in hits.rows()] == [["short", "middle", "long"], ["middle"], []]
    assert hits.scores[0].tolist() == [0.75, 0.5, 0.25]


@pytest.mark.parametrize(("ties", "best"), [("descending", "zz"), ("ascending", "aa"), ("listed", "zz")])
def test_what_the_model_ties_stands_by_the_rule_of_the_run(ties: Ties, best: str) -> None:
    """No file lists it, so that it is by id then."""
    run = {"q1": {"aa": 2.0, "zz": 1.0}}
    collection = Collection("set", "test", QUERIES[:1], {"q1": {best: 1}}, [])
    measures = parse_measures(["RR@10"])
    scored = SystemResult(
        name="theirs",
        measures={},
        per_query={},
        cost={},
        settings={"run": {}, "k": 10, "without_own": False, "ties": ties},
        run=run,
    )
    how = Reranking(model=ByLength())
    found = score_reranked(scored, run, {"aa": "x", "zz": "x"}, how, collection, measures)
    assert next(iter(found.run["q1"])) == best


def test_a_model_in_int8_sees_passages_of_the_run() -> None:
    """Of queries that have hits alone, and no more than it wants."""
    model = ByLength()
    GivenRun(RUN, CONTENTS, Reranking(model=model)).calibrate(QUERIES)
    assert sorted(model.seen) == [["x"], ["xx"]]

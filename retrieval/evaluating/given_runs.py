"""Runs that somebody else made, in the order of a reranker."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.beir_eval.datasets import Collection
from retrieval.beir_eval.evaluation import SystemResult, evaluate_system
from retrieval.beir_eval.runs import Run
from retrieval.calibrating import QUESTIONS
from retrieval.corpus import read_documents
from retrieval.indexing import Corpus
from retrieval.protocols import CalibratedReranker
from retrieval.reranking import Reranking, rerank
from retrieval.types import Hits, Query, ScoreKind

__all__ = ["GivenRun", "contents_of", "score_reranked"]


class GivenRun:
    """A run's hits as a first stage, which a reranker puts in another order.

    Args:
        run: query id → document id → score, best first.
        contents: document id → what is read of it, of all that the run holds.
        how: the model, and how many it reads.
    """

    def __init__(self, run: Run, contents: Mapping[str, str], how: Reranking) -> None:
        self._ids = list(contents)
        self._contents = list(contents.values())
        self._how = how
        ordinals = {id_: ordinal for ordinal, id_ in enumerate(self._ids)}
        self._lists = {query: np.array([ordinals[id_] for id_ in hits], np.int64) for query, hits in run.items()}
        self._scores = {query: np.array(list(hits.values()), np.float32) for query, hits in run.items()}

    def search(self, queries: Sequence[Query], k: int) -> Hits:
        """The first k reranked hits of each query, of one without any none; ordinals are places among `contents`."""
        widths = [len(self._lists.get(query.id, ())) for query in queries]
        hits = Hits.empty(len(queries), max(widths, default=0), ScoreKind.SCORE_FUSION)
        for row, (query, count) in enumerate(zip(queries, widths, strict=True)):
            if count:
                hits.ordinals[row, :count] = self._lists[query.id]
                hits.scores[row, :count] = self._scores[query.id]
            hits.counts[row] = count
        return rerank(hits, [query.text for query in queries], self._texts, self._how, stage="run", k=k)

    def calibrate(self, queries: Sequence[Query]) -> None:
        """Let a reranker in int8 see some of the queries with their first hits, if it has seen none."""
        model = self._how.model
        if isinstance(model, CalibratedReranker) and (wanted := model.sample):
            answered = [query for query in queries if len(self._lists.get(query.id, ()))]
            asked = [answered[place] for place in np.random.default_rng(0).permutation(len(answered))[:QUESTIONS]]
            each = -(-wanted // max(1, len(asked)))
            lists = [self._texts(self._lists[query.id][:each]) for query in asked]
            model.calibrate([query.text for query in asked], lists)

    def ids(self, ordinals: NDArray[np.int64]) -> list[str]:
        """The documents' own ids."""
        return [self._ids[ordinal] for ordinal in ordinals]

    def _texts(self, ordinals: NDArray[np.int64]) -> list[str]:
        return [self._contents[ordinal] for ordinal in ordinals]


def contents_of(data: Corpus, runs: Sequence[Run]) -> dict[str, str]:
    """Document id → title and text, of all documents that the runs hold."""
    wanted = {id_ for run in runs for hits in run.values() for id_ in hits}
    return {document.id: document.contents for document in read_documents(data) if document.id in wanted}


def score_reranked(
    scored: SystemResult,
    run: Run,
    contents: Mapping[str, str],
    how: Reranking,
    collection: Collection,
    measures: Sequence[Any],
) -> SystemResult:
    """Measure what a reranker makes of a run, by the rules by which the run itself was scored; listed ties are by id.

    Args:
        scored: the run's own result, whose name it gets with `+rerank` behind it.
        run: as it was read, best first.
        contents: see `contents_of`.
        how: the model, and how many it reads.
        collection: queries and judgements.
        measures: of ir-measures.
    """
    given = GivenRun(run, contents, how)
    given.calibrate(collection.queries)  # of which the model's settings tell
    rules = {name: scored.settings[name] for name in ("k", "without_own", "ties")}
    if rules["ties"] == "listed":
        rules["ties"] = "descending"  # what the model has tied, no file lists
    settings = {"run": scored.settings["run"], "rerank": how.settings}
    name = f"{scored.name}+rerank"
    return evaluate_system(name, collection, given.search, given.ids, measures, settings=settings, **rules)

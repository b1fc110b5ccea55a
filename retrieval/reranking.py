"""The last stage of a search: a model that reads query and passages together puts the first hits in another order."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.fusion import MinMax
from retrieval.protocols import Reranker, SetReranker
from retrieval.types import Hits, ScoreKind, Signals, is_whole

__all__ = ["RERANK", "Reranking", "checked", "rerank"]

RERANK = "rerank"
"""The stage's name among a hit's signals."""

_LOG = logging.getLogger("retrieval")

# Hits of each query that are read where nobody says how many.
_DEPTH = 100
# Passages that are read whatever the time budget is, and those that are read together at most where there is one.
_FIRST, _PASSAGES_AT_ONCE = 4, 16
# Queries that are read together where there is none.
_QUERIES_AT_ONCE = 16
# Seconds that anything takes at least, where the clock says none.
_TICK = 1e-9

TextsOf = Callable[[NDArray[np.int64]], list[str]]


@dataclass(frozen=True, kw_only=True)
class Reranking:
    """How hits are put in another order.

    Attributes:
        model: what scores passages.
        depth: hits of each query that it reads, the first ones; None for 100, or for what a router says.
        weight: above 0, of what it says beside what found the hits, whose scores have the rest up to 1. Both are
            rescaled to 0..1 over the hits that it reads; at 1 it alone decides.
        budget_ms: milliseconds for each query's reranking; as many hits are read as that allows, and the
            first 4 in any case, whatever time they take.
        queries: what is asked, as far as it is known: a model in int8 is calibrated by their hits. Without any, titles
            and first sentences of documents take their place.
    """

    model: Reranker
    depth: int | None = None
    weight: float = 1.0
    budget_ms: float | None = None
    queries: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.model, Reranker):
            raise InputError(
                f"the model of reranking must be loaded, as a PairScorer or a SetScorer; got {self.model!r}",
                hint="Reranking(model=load_reranker(NAME)), of retrieval.rerank.loading",
            )
        if not is_whole(self.reads) or self.reads < 1:
            raise InputError(f"the depth of reranking must be a whole number of at least 1; got {self.depth!r}")
        if not 0 < self.weight <= 1:
            raise InputError(f"the weight of reranking must be above 0 and at most 1; got {self.weight!r}")
        if self.budget_ms is not None and not self.budget_ms > 0:
            raise InputError(f"the budget must be above 0 milliseconds; got {self.budget_ms!r}")

    @property
    def reads(self) -> int:
        """Hits of each query that it reads, at most."""
        return _DEPTH if self.depth is None else self.depth

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the order, as JSON values."""
        return {
            "model": self.model.settings,
            "depth": self.reads,
            "weight": self.weight,
            "budget_ms": self.budget_ms,
        }

    @property
    def kind(self) -> ScoreKind:
        """What the scores mean."""
        return ScoreKind.LOGIT if self.weight == 1 else ScoreKind.SCORE_FUSION

    def together(self, scores: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n,) what orders the hits that were read: the model's scores of them, or with those by which they came."""
        if self.weight == 1 or not len(scores):
            return scores
        rescaled = MinMax().rescale
        return (self.weight * rescaled(scores) + (1 - self.weight) * rescaled(found)).astype(np.float32)


def checked(how: object) -> Reranking | None:
    """The same; an InputError where it does not say how to rerank."""
    if how is None or isinstance(how, Reranking):
        return how
    raise InputError(
        f"rerank is a {type(how).__name__}, and must be a model's name or a Reranking",
        hint="Reranking(model=...), of retrieval.reranking, says how a loaded model reranks",
    )


def rerank(hits: Hits, queries: Sequence[str], texts_of: TextsOf, how: Reranking, *, stage: str, k: int) -> Hits:
    """The k first of hits that a model has put in another order; their signals stay, and it adds its own.

    Hits that it has not read stand behind those that it has, in the order they had; their scores say no more than that.

    Args:
        hits: of n queries, best first.
        queries: their texts.
        texts_of: ordinals to texts.
        how: the model, and how many it reads.
        stage: what found the hits, whose signal is kept where there are none.
        k: hits to keep.
    """
    width = min(k, hits.ordinals.shape[1])
    made = Hits.empty(len(hits), width, how.kind)
    before = hits.signals or {stage: hits.own_signals}
    signals = {name: Signals.empty(len(hits), width) for name in (*before, RERANK)}
    for query, scores in enumerate(_scores(hits, queries, texts_of, how)):
        read = len(scores)
        ordinals, found = hits.row(query)
        together = how.together(scores, found[:read])
        order = np.lexsort((ordinals[:read], -together))
        places = np.concatenate([order, np.arange(read, len(ordinals))])[:width]
        kept, count = min(read, width), len(places)
        made.counts[query] = count
        made.ordinals[query, :count] = ordinals[places]
        made.scores[query, :kept] = together[order][:kept]
        made.scores[query, kept:count] = _behind(together, count - kept)
        for name, signal in before.items():
            signals[name].ranks[query, :count] = signal.ranks[query, places]
            signals[name].scores[query, :count] = signal.scores[query, places]
        signals[RERANK].ranks[query, :kept] = _ranks(ordinals[:read], scores)[order][:kept]
        signals[RERANK].scores[query, :kept] = scores[order][:kept]
    return replace(made, signals=signals)


def _ranks(ordinals: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n,) the place of each by its score, from 1; ties by ordinal."""
    return np.lexsort((ordinals, -scores)).argsort() + 1


def _behind(scores: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Scores below all others, falling."""
    least = float(scores.min()) if len(scores) else 0.0
    return (least - np.arange(1, count + 1)).astype(np.float32)


def _scores(hits: Hits, queries: Sequence[str], texts_of: TextsOf, how: Reranking) -> Iterator[NDArray[np.float32]]:
    """Of each query's first hits: many queries together, or, against the clock, one by one."""
    firsts = [ordinals[: how.reads] for ordinals, _ in hits.rows()]
    if how.budget_ms is not None:
        read, spent = [], []
        for query, ordinals in zip(queries, firsts, strict=True):
            begun = time.perf_counter()
            scores = _in_time(query, ordinals, texts_of, how)
            spent.append(time.perf_counter() - begun)
            read.append(len(scores))
            yield scores
        _tell(read, [len(ordinals) for ordinals in firsts], spent, how)
        return
    for start in range(0, len(firsts), _QUERIES_AT_ONCE):
        some = slice(start, start + _QUERIES_AT_ONCE)
        yield from how.model.score_lists(queries[some], [texts_of(ordinals) for ordinals in firsts[some]])


def _in_time(query: str, ordinals: NDArray[np.int64], texts_of: TextsOf, how: Reranking) -> NDArray[np.float32]:
    """Scores of as many of the first hits as there is time for, by the pace so far; the first ones in any case."""
    assert how.budget_ms is not None
    begun = time.perf_counter()
    end = begun + how.budget_ms / 1000

    def read(start: int, stop: int) -> NDArray[np.float32]:
        return how.model.score_lists([query], [texts_of(ordinals[start:stop])])[0]

    scores = read(0, _FIRST)
    while len(scores) < len(ordinals):
        done, now = len(scores), time.perf_counter()
        room = min(len(ordinals), (end - now) / max(now - begun, _TICK) * done)
        if isinstance(how.model, SetReranker):
            # Those that were read are read again, beside the others: once, so that all scores can be compared.
            return read(0, int(room)) if room > done else scores
        if room < min(_FIRST, len(ordinals) - done):
            return scores
        scores = np.concatenate([scores, read(done, done + min(_PASSAGES_AT_ONCE, int(room)))])
    return scores


def _tell(read: Sequence[int], wanted: Sequence[int], seconds: Sequence[float], how: Reranking) -> None:
    if sum(read) < sum(wanted):
        short = sum(a < b for a, b in zip(read, wanted, strict=True))
        least = min(a for a, b in zip(read, wanted, strict=True) if a < b)
        _LOG.warning(
            "%g ms were too few for %d of %d queries: as few as %d hits were reranked, in up to %.0f ms",
            how.budget_ms,
            short,
            len(read),
            least,
            max(seconds) * 1000,
        )

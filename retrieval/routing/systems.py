"""A router over systems, opened: which mode of search a query gets, by its terms and its first lexical hits.

Whatever is chosen, the lexical part is searched first, for a few hits: all features come from the query's terms and
from those. No other stage runs before the choice, so a query that lexical search serves as well never sees a model.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError, ModelError
from retrieval.index.artifact import Artifact
from retrieval.index.lexical.searcher import LexicalSearcher
from retrieval.index.manifest import LexicalPart, Manifest
from retrieval.reranking import Reranking
from retrieval.routing.manifest import ROUTER, SystemsManifest, damaged
from retrieval.routing.rules import cheapest, margins_of
from retrieval.types import Hits, Route, ScoreKind, Signals

__all__ = [
    "FEATURES",
    "System",
    "SystemRouter",
    "features_of",
    "in_groups",
    "parse_system",
    "parts_of",
]

_LOG = logging.getLogger("retrieval")

FEATURES = ("terms", "unknown", "mean_idf", "largest_idf", "hits", "best", "lead", "fall", "spread")
"""What is known of a query before it is routed.

`terms` is the logarithm of 1 + their number, `unknown` the share that no document holds; the inverse document
frequencies are of those that are known. Of the first lexical hits: their number as a share of those asked for, the best
score, and, as shares of that, how far the second and the last are below it, and the standard deviation.
"""

_HITS = 10
# Of a digest, enough to tell two models apart: `sha256:` and twelve digits.
_DIGITS = 19


@dataclass(frozen=True)
class System:
    """A mode of search, as `parse_using` takes it, and how many hits are reranked; None leaves that as it is."""

    mode: str
    depth: int | None = None

    def reranking(self, how: Reranking | None) -> Reranking | None:
        """How this one's hits are put in another order; None for not at all."""
        if self.depth is None or how is None:
            return how
        return replace(how, depth=self.depth) if self.depth else None


def parse_system(name: str) -> System:
    """The system that `hybrid`, or `hybrid@50`, stands for.

    Raises:
        InputError: what stands behind the @ is no number of at least 0.
    """
    mode, at, depth = name.partition("@")
    if at and not depth.isdecimal():
        raise InputError(f"a system is a mode of search, or one with hits to rerank, as hybrid@50; got {name!r}")
    return System(mode, int(depth) if at else None)


def features_of(
    index: Artifact, queries: Sequence[str], allowed: NDArray[np.bool_] | None = None, threads: int = 1
) -> NDArray[np.float64]:
    """(n, len(FEATURES)) of n queries, by a lexical search among the documents that are allowed.

    Raises:
        InputError: the index has no lexical part of our own.
    """
    if not isinstance(index.lexical, LexicalSearcher):
        raise InputError(
            f"{index.path}: a router over systems looks at BM25 first, by the native engine",
            hint="build the index with a lexical part",
        )
    hits = index.lexical.search(queries, _HITS, threads, allowed)
    found = [
        [*_of_terms(index.lexical.document_frequencies(query), len(index)), *_of_scores(scores.astype(np.float64))]
        for query, (_, scores) in zip(queries, hits.rows(), strict=True)
    ]
    return np.array(found, dtype=np.float64).reshape(len(queries), len(FEATURES))


def _of_terms(frequencies: NDArray[np.int64], documents: int) -> list[float]:
    known = frequencies[frequencies > 0]
    idf = np.log1p((documents - known + 0.5) / (known + 0.5))
    unknown = 1 - len(known) / len(frequencies) if len(frequencies) else 0.0
    return [np.log1p(len(frequencies)), unknown, idf.mean() if len(idf) else 0.0, idf.max(initial=0.0)]


def _of_scores(scores: NDArray[np.float64]) -> list[float]:
    if not len(scores) or scores[0] <= 0:
        return [0.0] * 5
    second = scores[1] if len(scores) > 1 else 0.0
    shares = [(scores[0] - second) / scores[0], (scores[0] - scores[-1]) / scores[0], scores.std() / scores[0]]
    return [len(scores) / _HITS, scores[0], *shares]


def parts_of(manifest: Manifest, stages: Sequence[str]) -> dict[str, Any]:
    """What of an index a router depends on: how its lexical part scores, and the weights of its models."""
    told: dict[str, Any] = {}
    if isinstance(manifest.lexical, LexicalPart):
        told["lexical"] = manifest.lexical.model_dump(mode="json", include={"analyzer", "bm25"})
    if "sparse" in stages and manifest.sparse:
        card = manifest.sparse.encoder
        told["sparse"] = card.document_weights or card.weights if card else manifest.sparse.vectors_from
    if "dense" in stages and manifest.dense:
        card = manifest.dense.query_encoder or manifest.dense.encoder
        told["dense"] = card.weights
    return told


class SystemRouter:
    """Chooses among systems by a linear function of a query's features for each.

    Args:
        folder: for messages.
        manifest: what the function is.

    Raises:
        ArtifactDamagedError: it is one of other features.
    """

    def __init__(self, folder: Path, manifest: SystemsManifest) -> None:
        if tuple(manifest.features) != FEATURES:
            raise damaged(folder / ROUTER, f"features: known are {', '.join(FEATURES)}")
        self.folder, self.manifest = folder, manifest
        self._told = False
        self.systems = {name: parse_system(name) for name in manifest.names}

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides its choices, as JSON values."""
        return self.manifest.model_dump(mode="json")

    def check(self, manifest: Manifest, stages: Sequence[str], reranking: Reranking | None) -> None:
        """An error if an index, or a reranker, is not of the kind that the router was made for.

        An index of documents that it has not learned from is of that kind; the log says so, once.

        Raises:
            InputError: the router says how many hits are reranked, and there is no model that does; or it is to have
                another weight than in training, where it alone decided, or is given a depth.
            ModelError: one of the index' parts is made otherwise, or that model is another one.
        """
        if self.manifest.reranker:
            self._check_reranking(self.manifest.reranker, reranking)
        there = parts_of(manifest, stages)
        for name, part in self.manifest.parts.items():
            if there.get(name) != part:
                raise ModelError(
                    f"{self.folder}: the router was made for an index whose {name} part is built otherwise",
                    hint="train a router for this index: retrieval train system-router",
                )
        if manifest.fingerprint not in self.manifest.fingerprints and not self._told:
            self._told = True
            _LOG.warning("%s: the router has not learned from this index' documents: scores may differ", self.folder)

    def _check_reranking(self, made_with: Mapping[str, Any], reranking: Reranking | None) -> None:
        if reranking is None:
            raise InputError(f"{self.folder}: the router says how deep to rerank, by a model", hint="--rerank MODEL")
        if reranking.weight != 1:
            raise InputError(
                f"{self.folder}: the router learned from hits that a model alone had put in order",
                hint="leave --rerank-weight out",
            )
        if reranking.depth is not None:
            raise InputError(
                f"{self.folder}: the router says how deep to rerank, and not {reranking.depth} hits of every query",
                hint="leave --rerank-depth out",
            )
        given = reranking.model.settings
        if _model_of(given) != _model_of(made_with):
            was, is_now = _named(made_with), _named(given)
            raise ModelError(
                f"{self.folder}: the router was made for another reranker, {was}; this is {is_now}",
                hint="name that one, or train a router for this one: retrieval train system-router",
            )

    def routes(
        self, index: Artifact, queries: Sequence[str], allowed: NDArray[np.bool_] | None, threads: int
    ) -> list[Route]:
        """Which system answers each query, and why."""
        rule, names = self.manifest, self.manifest.names
        scaled = (features_of(index, queries, allowed, threads) - rule.means) / rule.scales
        weights = np.array([system.coefficients for system in rule.systems])
        expected = scaled @ weights.T + np.array([system.intercept for system in rule.systems])
        columns = cheapest(expected, np.array([system.milliseconds for system in rule.systems]), rule.tolerance)
        return [
            Route(choice=names[column], scores=dict(zip(names, row, strict=True)), margin=margin)
            for column, row, margin in zip(columns, expected.tolist(), margins_of(expected).tolist(), strict=True)
        ]


def _model_of(settings: Mapping[str, Any]) -> Any:
    """What tells a reranker from others, wherever it is and in whatever precision it runs."""
    return settings.get("weights", settings)


def _named(settings: Mapping[str, Any]) -> str:
    """What a reader knows a reranker by."""
    name = str(settings.get("model") or f"a reranker of kind {settings.get('kind')}")
    return f"{name} with the weights {settings['weights'][:_DIGITS]}" if "weights" in settings else name


def in_groups(
    queries: Sequence[str],
    choices: Sequence[str],
    answer: Callable[[str, Sequence[str]], Hits],
    names: Sequence[str],
) -> Hits:
    """The hits of n queries, those of one choice answered together; every stage's signals stay.

    Args:
        queries: their texts.
        choices: who answers each.
        answer: a choice and its queries to their hits.
        names: of the stages that may have a say.
    """
    places = {choice: [i for i, one in enumerate(choices) if one == choice] for choice in dict.fromkeys(choices)}
    found = {choice: answer(choice, [queries[i] for i in some]) for choice, some in places.items()}
    n, width = len(choices), max((hits.ordinals.shape[1] for hits in found.values()), default=0)
    made = Hits.empty(n, width, ScoreKind.ROUTED)
    signals = {name: Signals.empty(n, width) for name in names}
    for choice, hits in found.items():
        rows, columns = places[choice], slice(hits.ordinals.shape[1])
        made.counts[rows] = hits.counts
        made.ordinals[rows, columns], made.scores[rows, columns] = hits.ordinals, hits.scores
        for name, signal in hits.signals.items():
            signals[name].ranks[rows, columns], signals[name].scores[rows, columns] = signal.ranks, signal.scores
    return replace(made, signals=signals)

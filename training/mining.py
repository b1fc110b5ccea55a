"""Which of the documents that a search found may stand as negatives of a query: the rules, without any index.

A document that people judged relevant, that nearly repeats one, or that is the query itself, never may; one that they
judged not relevant always may. What nobody judged may be relevant all the same, and two rules keep such documents out:

    margin      s(d) < share * s(d+), or s(d) < s(d+) - difference: Moreira et al., "NV-Retriever" (2024), TopK-PercPos
                and TopK-MarginPos
    denoising   a cross-encoder gives the pair a probability below .1; above .9 the document is a pseudo-positive, and
                between the two it is neither: Qu et al., "RocketQA" (NAACL 2021)

s(d+) is the score of the positive that the source scores highest, whatever it says of the others: a query with many
positives has weak ones, and held to these hardly any document would be far enough away.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError, ModelError
from retrieval.training.duplicates import Duplicates
from retrieval.training.negatives import Mined, MinedLists
from retrieval.types import Query

__all__ = ["Asked", "Candidate", "Found", "Miner", "MiningSettings", "Ranking", "Sample", "Scorer"]

Scorer = Callable[[Sequence[tuple[str, str]]], NDArray[np.float32]]
"""Pairs of a query's and a document's text → logits, (n,), of the document being relevant."""

Sample = Literal["uniform", "top", "simans"]


@dataclass(frozen=True, kw_only=True)
class MiningSettings:
    """Which documents become negatives.

    Attributes:
        first: best rank of a candidate in a source's list, from 1; relevant documents count as ranks.
        last: worst rank.
        count: negatives of each query from each source, at most.
        sample: which of the candidates that are left: `uniform` at random, the `top` ones, or `simans`, at random with
            p ~ exp(-a (s(d) - s(d+) - b)²), near the positive: Zhou et al., "SimANS" (EMNLP 2022).
        relative_margin: the share of s(d+) that a negative's score stays below, above 0 and at most 1; None: any.
        absolute_margin: or how far below s(d+) it is.
        margin_by: whose scores these are: the `search`'s, or the `cross-encoder`'s probabilities.
        near_duplicate: the Jaccard similarity of trigrams of words from which a document repeats a positive.
        below: the cross-encoder's probability below which a document may be a negative.
        above: that above which it is a pseudo-positive.
        simans_a: of `simans`, how near; scores of different sources differ in size.
        simans_b: of `simans`, where, counted from s(d+).
        seed: of what is drawn; each query has draws of its own, whatever queries are mined beside it.
    """

    first: int = 1
    last: int = 100
    count: int = 10
    sample: Sample = "uniform"
    relative_margin: float | None = None
    absolute_margin: float | None = None
    margin_by: Literal["search", "cross-encoder"] = "search"
    near_duplicate: float = 0.8
    below: float = 0.1
    above: float = 0.9
    simans_a: float = 1.0
    simans_b: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise InputError(f"ranks go from first to last, at least 1; {self.first} to {self.last} is an empty range")
        if self.count < 1 or self.seed < 0:
            raise InputError(f"count must be at least 1 and the seed at least 0; got {self.count} and {self.seed}")
        if self.sample not in get_args(Sample):
            raise InputError(f"sample must be one of {', '.join(get_args(Sample))}; got {self.sample!r}")
        if self.relative_margin is not None and self.absolute_margin is not None:
            raise InputError("the margin is a share of the positive's score or a difference to it, not both")
        if self.relative_margin is not None and not 0 < self.relative_margin <= 1:
            raise InputError(f"the relative margin must be above 0 and at most 1; got {self.relative_margin}")
        if self.absolute_margin is not None and not 0 <= self.absolute_margin < np.inf:
            raise InputError(f"the absolute margin must be a number of at least 0; got {self.absolute_margin}")
        if not 0 < self.near_duplicate <= 1:
            raise InputError(f"near_duplicate must be above 0 and at most 1; got {self.near_duplicate}")
        if not 0 <= self.below <= self.above <= 1:
            raise InputError(f"the bands must be 0 <= below <= above <= 1; got {self.below} and {self.above}")
        if not (0 <= self.simans_a < np.inf and np.isfinite(self.simans_b)):
            raise InputError(f"simans takes a >= 0 and a finite b; got {self.simans_a} and {self.simans_b}")

    @property
    def has_margin(self) -> bool:
        """Whether there is one."""
        return self.relative_margin is not None or self.absolute_margin is not None

    def is_far(self, score: float, positive: float) -> bool:
        """Whether a score is so far below the positive's as the margin asks; without one all are."""
        if self.relative_margin is not None:
            return score < self.relative_margin * positive
        return self.absolute_margin is None or score < positive - self.absolute_margin


@dataclass(frozen=True, slots=True)
class Found:
    """A hit: the document's id, its rank from 1, and its score."""

    id: str
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one source says of one query.

    Attributes:
        source: its name, as the result will give it.
        hits: best first. Those below the last rank serve where denoising leaves nothing.
        positives: its scores of the query's positives, as far as they are known; at least of the best one, if any.
    """

    source: str
    hits: Sequence[Found]
    positives: Mapping[str, float]

    @property
    def best(self) -> tuple[str, float] | None:
        """The positive that is scored highest, and its score; None if no score of a positive is known."""
        return max(self.positives.items(), key=lambda pair: pair[1], default=None)


@dataclass(frozen=True, slots=True)
class Asked:
    """One query to mine for: its judgements by document, and what each source says of it."""

    query: Query
    grades: Mapping[str, int]
    rankings: Sequence[Ranking]


@dataclass(slots=True)
class Candidate:
    """A hit in the range of ranks, and what became of it.

    Attributes:
        query: the query's id.
        source: what found it.
        hit: its id, rank and score.
        best: the source's best positive and its score.
        outcome: `kept`, `judged` (kept, as people said that it is not relevant), `fallback` (kept, of ranks below the
            range), `not drawn`, `positive`, `own id`, `near-duplicate`, `margin`, `denoised`, `pseudo-positive`.
        probability: the cross-encoder's, where it was asked.
    """

    query: str
    source: str
    hit: Found
    best: tuple[str, float] | None
    outcome: str = ""
    probability: float | None = None

    @property
    def relative(self) -> float | None:
        """Its score by the positive's: 1 where they are equal, and for a positive above 0 their ratio."""
        if self.best is None or self.best[1] == 0:
            return None
        return 1 + (self.hit.score - self.best[1]) / abs(self.best[1])


class Miner:
    """Picks negatives for queries, a batch at a time.

    Attributes:
        outcomes: how many candidates had which outcome.
        queries: how many queries were `mined`, had no positive (`without positive`, and are left out), no `candidate`
            in the range (`without candidates`), no score of a positive from some source (`without positive score`,
            where that source's margin lets all pass), nothing left (`without negatives`), or only what denoising's
            `fallback` found.
    """

    def __init__(self, settings: MiningSettings, scorer: Scorer | None = None) -> None:
        if settings.margin_by == "cross-encoder" and scorer is None:
            raise InputError("a margin by the cross-encoder's scores needs one", hint="name it: --denoise MODEL")
        self._settings = settings
        self._scorer = scorer
        self.outcomes: Counter[str] = Counter()
        self.queries: Counter[str] = Counter()

    def mine(self, batch: Sequence[Asked], texts: Mapping[str, str]) -> list[tuple[Asked, MinedLists, list[Candidate]]]:
        """Negatives and pseudo-positives of each query that has a positive, and what became of every candidate.

        Negatives stand by rank, judged ones first; each document stands there once, from the first source that drew
        it, and what one source's margin drops none may keep.

        Args:
            batch: queries; the cross-encoder reads all their pairs in one call.
            texts: contents of every positive and candidate; positives that are not there count as not known.

        Raises:
            InputError: a candidate without a text, a score that is not finite, or a negative score of a positive with
                a relative margin.
            ModelError: the cross-encoder's scores are not finite, or not one for each pair.
        """
        mining = []
        for asked in batch:
            if not any(grade > 0 and document in texts for document, grade in asked.grades.items()):
                self.queries["without positive"] += 1
                continue
            mining.append(_Mining(asked, texts, self._settings))
        if self._scorer is not None:
            self._score(self._scorer, mining)
        return [self._finished(one) for one in mining]

    def _score(self, scorer: Scorer, mining: Sequence["_Mining"]) -> None:
        pairs = [pair for one in mining for pair in one.pairs()]
        logits = np.asarray(scorer([text for _, text in pairs]) if pairs else [], dtype=np.float64)
        if logits.shape != (len(pairs),):
            raise ModelError(f"the cross-encoder gave scores of shape {logits.shape} for {len(pairs)} pairs")
        if not np.isfinite(logits).all():
            document = pairs[int(np.flatnonzero(~np.isfinite(logits))[0])][0]
            raise ModelError(f"the cross-encoder's score of document {document} is not a number")
        # 1 / (1 + exp(-x)), which overflows for no x in this form.
        values = iter((0.5 * (1 + np.tanh(0.5 * logits))).tolist())
        for one in mining:
            one.denoise({document: next(values) for document, _ in one.pairs()})

    def _finished(self, one: "_Mining") -> tuple[Asked, MinedLists, list[Candidate]]:
        one.draw()
        kept = [candidate for candidate in one.candidates if candidate.outcome in ("kept", "judged")]
        if not kept and self._scorer is not None:
            kept = one.fall_back()
            self.queries["fallback"] += bool(kept)
        self.queries["mined"] += 1
        self.queries["without candidates"] += not one.candidates
        self.queries["without positive score"] += any(r.hits and r.best is None for r in one.asked.rankings)
        self.queries["without negatives"] += not kept
        self.outcomes.update(candidate.outcome for candidate in one.candidates)
        return one.asked, MinedLists(_negatives(kept), _positives(one.candidates)), one.candidates


class _Mining:
    """One query's candidates on their way."""

    def __init__(self, asked: Asked, texts: Mapping[str, str], settings: MiningSettings) -> None:
        self.asked = asked
        self._texts = texts
        self._settings = settings
        self._positives = [d for d, grade in asked.grades.items() if grade > 0 and d in texts]
        self._duplicates = Duplicates([texts[document] for document in self._positives], settings.near_duplicate)
        self._by_model = settings.margin_by == "cross-encoder"
        for ranking in asked.rankings:
            self._check(ranking)
        self.candidates = [*self._looked_at(settings.first, settings.last)]
        self._drop_for_all("margin")

    def _check(self, ranking: Ranking) -> None:
        where = f"{ranking.source}: query {self.asked.query.id}"
        if not np.isfinite([*(hit.score for hit in ranking.hits), *ranking.positives.values()]).all():
            raise InputError(f"{where} has a score that is not a number")
        margin = self._settings.relative_margin
        if margin is not None and not self._by_model and ranking.best is not None and ranking.best[1] < 0:
            raise InputError(
                f"{where}: its best positive has the score {ranking.best[1]:.4g}, and a share of a score below 0 says "
                "nothing of how near another is",
                hint="give the margin as a difference: --margin-absolute",
            )

    def _looked_at(self, first: int, last: float) -> Iterator[Candidate]:
        """The candidates of some ranks, with the outcomes that need no cross-encoder."""
        for ranking in self.asked.rankings:
            for hit in ranking.hits:
                if first <= hit.rank <= last:
                    candidate = Candidate(self.asked.query.id, ranking.source, hit, ranking.best)
                    candidate.outcome = self._outcome(candidate)
                    yield candidate

    def _outcome(self, candidate: Candidate) -> str:
        hit, best = candidate.hit, candidate.best
        grade = self.asked.grades.get(hit.id)
        if grade is not None:
            return "positive" if grade > 0 else "judged"
        if hit.id == self.asked.query.id:
            return "own id"
        if hit.id not in self._texts:
            raise InputError(f"{candidate.source}: query {self.asked.query.id}: document {hit.id} has no text")
        if self._duplicates.repeats(self._texts[hit.id]):
            return "near-duplicate"
        near = not self._by_model and best is not None and not self._settings.is_far(hit.score, best[1])
        return "margin" if near else ""

    def _drop_for_all(self, outcome: str) -> None:
        """What has this outcome by one source has it by all."""
        dropped = {candidate.hit.id for candidate in self.candidates if candidate.outcome == outcome}
        for candidate in self.candidates:
            if not candidate.outcome and candidate.hit.id in dropped:
                candidate.outcome = outcome

    def pairs(self) -> list[tuple[str, tuple[str, str]]]:
        """What the cross-encoder is asked: documents, once each, and the texts of query and document."""
        wanted = dict.fromkeys(candidate.hit.id for candidate in self.candidates if not candidate.outcome)
        if wanted and self._by_model and self._settings.has_margin:
            wanted.update(dict.fromkeys(self._positives))
        return [(document, (self.asked.query.text, self._texts[document])) for document in wanted]

    def denoise(self, probabilities: Mapping[str, float]) -> None:
        """Sort the candidates that are left by the cross-encoder's probabilities."""
        best = max((probabilities[p] for p in self._positives if p in probabilities), default=None)
        for candidate in self.candidates:
            if not candidate.outcome:
                candidate.probability = probability = probabilities[candidate.hit.id]
                if probability > self._settings.above:
                    candidate.outcome = "pseudo-positive"
                elif best is not None and not self._settings.is_far(probability, best):
                    candidate.outcome = "margin"
                elif probability >= self._settings.below:
                    candidate.outcome = "denoised"

    def draw(self) -> None:
        """Pick from what each source has left, those judged first."""
        taken: set[str] = set()
        for number, ranking in enumerate(self.asked.rankings):
            left = [c for c in self.candidates if c.source == ranking.source and c.outcome in ("", "judged")]
            fresh = [candidate for candidate in left if candidate.hit.id not in taken]
            judged = [candidate for candidate in fresh if candidate.outcome][: self._settings.count]
            others = [candidate for candidate in fresh if not candidate.outcome]
            drawn = self._drawn(others, self._settings.count - len(judged), number)
            taken.update(candidate.hit.id for candidate in (*judged, *drawn))
            for candidate in left:
                candidate.outcome = "not drawn"
            for candidate in judged:
                candidate.outcome = "judged"
            for candidate in drawn:
                candidate.outcome = "kept"

    def _drawn(self, candidates: Sequence[Candidate], count: int, number: int) -> list[Candidate]:
        """At most `count` of them by the settings' way of drawing; `number` is the source's."""
        if self._settings.sample == "top":
            return [*candidates[:count]]
        digest = int.from_bytes(blake2b(self.asked.query.id.encode(), digest_size=8).digest())
        # The largest of log p + Gumbel noise are a draw without replacement by p, and no p is too small for it.
        keys = np.random.default_rng([self._settings.seed, digest, number]).gumbel(size=len(candidates))
        if self._settings.sample == "simans" and candidates and candidates[0].best is not None:
            scores = np.array([candidate.hit.score for candidate in candidates])
            keys -= self._settings.simans_a * (scores - candidates[0].best[1] - self._settings.simans_b) ** 2
        return [candidates[i] for i in np.argsort(-keys, kind="stable")[:count]]

    def fall_back(self) -> list[Candidate]:
        """Random ones of the ranks below the range, which no cross-encoder has read."""
        refused = {candidate.hit.id for candidate in self.candidates}
        beyond = (c for c in self._looked_at(self._settings.last + 1, np.inf) if c.hit.id not in refused)
        once = {candidate.hit.id: candidate for candidate in beyond if not candidate.outcome}
        drawn = self._drawn([*once.values()], self._settings.count, len(self.asked.rankings))
        for candidate in drawn:
            candidate.outcome = "fallback"
        self.candidates += drawn
        return drawn


def _negatives(kept: Sequence[Candidate]) -> list[Mined]:
    """As the file has them: those judged first, then by rank; of one rank in the order of the sources."""
    ranked = sorted(kept, key=lambda candidate: (candidate.outcome != "judged", candidate.hit.rank))
    return [
        Mined(c.hit.id, 1.0, "judged" if c.outcome == "judged" else c.source, c.hit.rank, c.hit.score) for c in ranked
    ]


def _positives(candidates: Sequence[Candidate]) -> list[Mined]:
    found: dict[str, Mined] = {}
    for candidate in candidates:
        if candidate.outcome == "pseudo-positive":
            found.setdefault(candidate.hit.id, Mined(candidate.hit.id, 1.0, candidate.source, 0, candidate.probability))
    return sorted(found.values(), key=lambda mined: -(mined.score or 0.0))

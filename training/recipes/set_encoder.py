"""A set-encoder from judgements and hard negatives, with the duplicate-aware task, or from a teacher's ranking.

L = softmax + duplicate + rank-net + margin-mse + kl + novelty, each with a weight, over the positive of a query and its
own negatives, which are scored as one set.
Source: Schlatt et al., "Set-Encoder: permutation-invariant inter-passage attention for listwise passage re-ranking with
cross-encoders" (ECIR 2025).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrieval.encoders.runtimes.pipeline import Batching
from retrieval.errors import InputError
from retrieval.protocols import Progress, silent
from retrieval.rerank.neural.interaction import States
from retrieval.rerank.neural.set_encoder import Member, SetEncoder
from retrieval.rerank.set_encoder import score_sets, set_blocks
from retrieval.training.batches import Batch, Draw, draw
from retrieval.training.data import Example, TrainingData
from retrieval.training.gathering import gathered, processes, shares
from retrieval.training.losses.contrastive import contrastive
from retrieval.training.losses.novelty import alike_loss, duplicate_loss, novelty_targets
from retrieval.training.losses.pairwise import rank_net
from retrieval.training.pairs import batching, in_order, list_pairs
from retrieval.training.ranker_settings import SetEncoderSettings
from retrieval.training.recipes.base import StepLoss
from retrieval.training.recipes.cross_encoder import CrossEncoderRecipe
from retrieval.training.settling import settle
from retrieval.training.subtopics import Subtopics

__all__ = ["SetEncoderRecipe", "score_lists"]

_LOG = logging.getLogger("retrieval")

# What the random numbers of a step are for, beside those of `batches`.
_TWICE = 2
_NOVELTY = "novelty"
_WIDE = 64  # passages of a list on which [INT] settles: more than in training, as there are in use


@dataclass(frozen=True)
class SetBatch(Batch):
    """A batch, and which document of each query's list, (b,), is given twice."""

    twice: Sequence[int]


class SetEncoderRecipe(CrossEncoderRecipe):
    """Training of a set-encoder on data.

    The copy of a passage is told by its head alone; it takes no part in the other losses. So is what says the same told
    by the novelty head alone: all other losses are of the scores before it, though the encoder learns from it as well.

    Args:
        model: what learns; it gets a head for duplicates if it has none.
        data: what it learns from.
        settings: the method's.
        subtopics: teaches the novelty head; without one it makes RankNet novelty-aware.
        progress: told of what comes before the first step.

    Raises:
        InputError: a loss needs a teacher's scores, and the data has none; sub-topics without a novelty head and
            without RankNet, a novelty head without sub-topics, or these are of none of the data's queries, or tell no
            two documents of a query apart from the rest.
        ModelError: see `SetEncoder.add_novelty_head`.
    """

    model: SetEncoder  # type: ignore[assignment] # which is called otherwise, and here alone
    _settings: SetEncoderSettings

    def __init__(
        self,
        model: SetEncoder,
        data: TrainingData,
        settings: SetEncoderSettings,
        subtopics: Subtopics | None = None,
        *,
        progress: Progress = silent,
    ) -> None:
        _check_subtopics(data, settings, subtopics)
        if model.novelty is not None and not settings.novelty:
            _LOG.warning("%s has a novelty head, which stays as it is while the encoder learns: --novelty", model.name)
        if settings.duplicate:
            model.add_duplicate_head(settings.seed)
        if settings.novelty:
            model.add_novelty_head(settings.seed)
        super().__init__(model, data, settings)  # type: ignore[arg-type]
        self._subtopics, self._progress = subtopics or {}, progress
        self._is_ranked = any(example.scores for example in data.examples)
        if subtopics is not None:
            self._origin["subtopics"] = _digest(subtopics)

    def part(self, name: str) -> str:
        """The novelty head, which is new to the model, learns at a rate of its own."""
        return _NOVELTY if name.startswith(f"{_NOVELTY}.") else super().part(name)

    def lr(self, part: str, step: int, lr: float) -> float:
        """Each part's own."""
        return self._settings.novelty_lr if part == _NOVELTY else super().lr(part, step, lr)

    def begin(self) -> None:
        """Let a new [INT] settle, on wider lists of the same data."""
        s = self._settings
        if not (s.settle and self.model.is_unsettled):
            return
        wide = Draw(queries=1, negatives=_WIDE - 1, seed=s.seed)
        lists = [list_pairs(draw(self._data, wide, number), self._data.texts) for number in range(s.settle)]
        settle(self.model, lists, max_length=s.pair_length, progress=self._progress)

    def batch(self, step: int, rank: int, world: int) -> SetBatch:
        """Queries with a positive and negatives each, one of which is given twice: of all processes."""
        found = super().batch(step, rank, world)
        generator = np.random.default_rng((self._settings.seed, _TWICE, step))
        twice = generator.integers(1 + self._settings.negatives_per_query, size=len(found.examples))
        return SetBatch(**vars(found), twice=twice.tolist())

    def loss(self, batch: SetBatch, step: int) -> StepLoss:  # type: ignore[override]
        """All terms of a batch; the log also says how often the positive comes first, and a duplicate."""
        s = self._settings
        b = len(batch.examples)
        states = self._states(batch)
        own = 1 + s.negatives_per_query
        scores = self.model.scores(states.first[:, :own].flatten(0, 1)).view(b, -1)
        known = batch.own(batch.known).to(scores.device)
        teacher = batch.teacher.to(scores.device)
        parts: dict[str, Tensor] = {}
        if s.softmax:
            first = torch.zeros(b, dtype=torch.int64, device=scores.device)
            parts["softmax"] = contrastive(scores, first, known, temperature=s.temperature)
        if s.rank_net:
            parts["rank_net"] = rank_net(scores, self._targets(batch, scores, teacher))
        if s.is_taught:
            parts |= self._taught(scores, teacher, known)
        figures = {"positive_first": (scores.argmax(dim=1) == 0).float().mean().item()}
        if s.duplicate:
            logits = self.model.duplicates(states.first.flatten(0, 1)).view(b, -1)
            told = _twice(batch).to(logits.device)
            parts["duplicate"] = duplicate_loss(logits, told)
            figures["duplicate_first"] = told.gather(1, logits.argmax(dim=1)[:, None]).float().mean().item()
        if s.novelty and self.model.novelty is not None:
            parts[_NOVELTY] = alike_loss(self.model.novelty.alike(states.seen[:, :own]), self._alike(batch))
        total = torch.stack([getattr(s, name) * part for name, part in parts.items()]).sum()
        return StepLoss(total, {name: part.item() for name, part in parts.items()}, figures)

    def _states(self, batch: SetBatch) -> States:
        """(b, n, H) each, of each query's list and, for the duplicate task, its copy; this process reads a share."""
        s, (rank, world) = self._settings, processes()
        size = 1 + s.negatives_per_query
        pairs, mine = list_pairs(batch, self._data.texts), shares(len(batch.twice), rank, world)
        members: list[Member] = []
        for number, place in enumerate(mine):
            own = [(number, query, passage) for query, passage in pairs[place * size : (place + 1) * size]]
            members += [*own, own[batch.twice[place]]] if s.duplicate else own
        places, blocks = set_blocks(self.model, members, batching(self.model), s.pair_length)
        found = [in_order([states], places) for states in self.model.states(*blocks)]
        lists = [states.view(len(mine), -1, states.shape[1]) for states in found]
        return States(*(gathered(states, len(batch.twice), rank, world) for states in lists))

    def _targets(self, batch: SetBatch, scores: Tensor, teacher: Tensor) -> Tensor:
        """(b, n) RankNet's: the teacher's scores, or the judgements; of sub-topics without a head only the best."""
        wanted = teacher if self._is_ranked else _judged(batch).to(scores.device)
        if not self._subtopics or self.model.novelty is not None:
            return wanted
        return novelty_targets(scores, wanted, self._members(batch).to(scores.device))

    def _alike(self, batch: SetBatch) -> Tensor:
        """(b, n, n) bool: which documents are of a sub-topic in common, or the same, as in a list that is filled up."""
        members, rows = self._members(batch).float(), _rows(batch)
        return (members @ members.transpose(1, 2) > 0) | (rows[:, :, None] == rows[:, None])

    def _members(self, batch: SetBatch) -> Tensor:
        """(b, n, t) bool: which of its query's sub-topics a document is of."""
        rows = _rows(batch).tolist()
        about = [
            [self._subtopics.get(example.id, {}).get(self._data.ids[row], frozenset()) for row in own]
            for example, own in zip(batch.examples, rows, strict=True)
        ]
        names = [sorted(frozenset().union(*own)) for own in about]
        members = torch.zeros((len(about), len(rows[0]), max(1, *map(len, names))), dtype=torch.bool)
        for place, (own, known) in enumerate(zip(about, names, strict=True)):
            for column, subtopics in enumerate(own):
                members[place, column, [known.index(subtopic) for subtopic in subtopics]] = True
        return members


def score_lists(
    model: SetEncoder,
    pairs: Sequence[tuple[str, str]],
    batching: Batching,
    *,
    max_length: int | None = None,
) -> NDArray[np.float32]:
    """(n,) the scores of pairs of query and passage, each run of pairs of one query being a set.

    What `rerank_dev` and `evaluator` take as `score` for a set-encoder.
    """
    sets = [(query, [passage for _, passage in own]) for query, own in groupby(pairs, key=lambda pair: pair[0])]
    queries, lists = [query for query, _ in sets], [passages for _, passages in sets]
    found = score_sets(model, queries, lists, batching, max_length=max_length)
    return np.concatenate([np.zeros(0, dtype=np.float32), *found])


def _judged(batch: Batch) -> Tensor:
    """(b, 1 + k) float32: 1 for a positive, 0 for a negative, NaN for what may be either."""
    unknown = float("nan")
    return torch.tensor(
        [
            [unknown if row in example.neither else float(row in example.positives) for row in own]
            for example, own in zip(batch.examples, _rows(batch).tolist(), strict=True)
        ]
    )


def _check_subtopics(data: TrainingData, settings: SetEncoderSettings, subtopics: Subtopics | None) -> None:
    """Sub-topics and what learns from them go together, and there is something to learn."""
    if subtopics is None:
        if settings.novelty:
            raise InputError("the novelty head learns from sub-topics", hint="give them: --subtopics FILE")
        return
    if not (settings.novelty or settings.rank_net):
        raise InputError("nothing learns from the sub-topics", hint="give a weight: --novelty 1, or --rank-net 1")
    if not any(example.id in subtopics for example in data.examples):
        raise InputError("the sub-topics are of none of the training queries")
    if not any(_has_two(example, data.ids, subtopics) for example in data.examples):
        raise InputError(
            "no two documents of a training query are of one sub-topic, so there is nothing to learn from them",
            hint="its positives and negatives are its documents: give more with --negatives",
        )


def _has_two(example: Example, ids: Sequence[str], subtopics: Subtopics) -> bool:
    """Whether two of an example's documents are of one sub-topic."""
    about = subtopics.get(example.id, {})
    found = [one for row in (*example.positives, *example.negatives) for one in about.get(ids[row], ())]
    return len(set(found)) < len(found)


def _twice(batch: SetBatch) -> Tensor:
    """(b, n) bool: which documents stand in their list more than once, the copy at its end among them.

    A short list is filled up at random, so that a document may have come twice before it was copied.
    """
    rows = _rows(batch)
    rows = torch.cat([rows, rows.gather(1, torch.tensor(batch.twice)[:, None])], dim=1)
    return (rows[:, :, None] == rows[:, None]).sum(dim=2) > 1


def _rows(batch: Batch) -> Tensor:
    """(b, 1 + k) of each query's positive and negatives."""
    return batch.own(torch.tensor(batch.rows).expand(len(batch.examples), -1))


def _digest(subtopics: Subtopics) -> Any:
    """As JSON values, which tell other sub-topics apart."""
    return {
        query: {document: sorted(own) for document, own in sorted(about.items())}
        for query, about in sorted(subtopics.items())
    }

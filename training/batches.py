"""Batches that depend on the seed and the step alone, so that a run can go on at any step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retrieval.training.data import Example, TrainingData

__all__ = ["Batch", "Draw", "draw", "of_lists"]

# What the random numbers of a step, or of an epoch, are for.
_ORDER, _DOCUMENTS = 0, 1


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How batches are drawn.

    Attributes:
        queries: of a batch, over all processes.
        negatives: hard ones, for each query.
        seed: of everything drawn.
    """

    queries: int
    negatives: int
    seed: int


@dataclass(frozen=True)
class Batch:
    """The queries of one step, of one process, and their documents.

    Attributes:
        places: b, where its examples stand among the data's.
        examples: these.
        rows: b positives, one of each query, then the k negatives of the first query, of the second, ...
        known: (b, b + b * k) bool, which of the rows are relevant for which query, or may be: no negatives of it.
        teacher: (b, 1 + k) float32, the teacher's scores of the positive and the negatives of each query; NaN in the
            whole row of a query whose positive it does not know.
        weights: (b, b + b * k) float32, how much each of the rows counts as a negative of each query.
    """

    places: Sequence[int]
    examples: Sequence[Example]
    rows: Sequence[int]
    known: Tensor
    teacher: Tensor
    weights: Tensor

    @property
    def targets(self) -> Tensor:
        """(b,) int64, the column of each query's positive."""
        return torch.arange(len(self.examples))

    def own(self, scores: Tensor) -> Tensor:
        """(b, 1 + k): of scores (b, b + b * k), those of each query's own positive and negatives."""
        b = len(self.examples)
        here = torch.arange(b, device=scores.device)
        return torch.cat([scores[here, here, None], scores[:, b:].view(b, b, -1)[here, here]], dim=1)


def draw(data: TrainingData, settings: Draw, step: int, *, rank: int = 0, world: int = 1) -> Batch:
    """The batch of a step, counted from 0, and the part of it that one of `world` processes has.

    Every epoch sees each query once, in an order of its own, and batches run on over its end. A query's positive and
    its negatives are drawn evenly among its own; where it has too few negatives, documents at random take their place.
    """
    places = np.arange(step * settings.queries, (step + 1) * settings.queries)[rank::world]
    n = len(data.examples)
    orders = {epoch: _order(n, settings.seed, int(epoch)) for epoch in np.unique(places // n)}
    chosen = [int(orders[place // n][place % n]) for place in places]
    drawn = [
        _documents(
            data.examples[one], len(data.texts), settings, np.random.default_rng((settings.seed, _DOCUMENTS, place))
        )
        for one, place in zip(chosen, places.tolist(), strict=True)
    ]
    return of_lists(data, chosen, drawn)


def of_lists(data: TrainingData, places: Sequence[int], lists: Sequence[Sequence[int]]) -> Batch:
    """The batch of some of the data's examples with a list of rows each, of one length: a positive, then negatives."""
    examples = [data.examples[place] for place in places]
    rows = [own[0] for own in lists] + [row for own in lists for row in own[1:]]
    return Batch(places, examples, rows, _known(examples, rows), _teacher(examples, lists), _weights(examples, rows))


def _order(n: int, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(n)


def _documents(example: Example, n: int, settings: Draw, generator: np.random.Generator) -> list[int]:
    """A positive, then the negatives."""
    positive = example.positives[generator.integers(len(example.positives))]
    count = min(settings.negatives, len(example.negatives))
    chosen = generator.choice(len(example.negatives), count, replace=False).tolist() if count else []
    negatives = [example.negatives[place] for place in chosen]
    # A row that is drawn twice, or a positive drawn by chance, is rare, and the mask sees to the positive.
    negatives += generator.integers(n, size=settings.negatives - count).tolist()
    return [positive, *negatives]


def _known(examples: Sequence[Example], rows: Sequence[int]) -> Tensor:
    sets = [frozenset((*example.positives, *example.neither)) for example in examples]
    return torch.tensor([[row in known for row in rows] for known in sets], dtype=torch.bool)


def _weights(examples: Sequence[Example], rows: Sequence[int]) -> Tensor:
    return torch.tensor([[example.weights.get(row, 1.0) for row in rows] for example in examples])


def _teacher(examples: Sequence[Example], drawn: Sequence[Sequence[int]]) -> Tensor:
    """A negative that no list of the teacher holds scores 0, the least that a rescaled list gives.

    A positive that none holds would score as low, which is wrong: then the teacher has nothing to say of the query.
    """
    unknown = float("nan")
    return torch.tensor(
        [
            [example.scores.get(row, 0.0) if own[0] in example.scores else unknown for row in own]
            for example, own in zip(examples, drawn, strict=True)
        ],
        dtype=torch.float32,
    )

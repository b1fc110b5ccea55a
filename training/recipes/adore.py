"""ADORE: the query side alone, against the negatives that the frozen index gives at this very step.

Source: Zhan et al., "Optimizing dense retrieval model training with hard negatives" (SIGIR 2021), section 4.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrieval.training.data import Example
from retrieval.training.gathering import gathered, shares
from retrieval.training.losses.pairwise import lambda_rank
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dual import Step
from retrieval.training.recipes.query_side import QuerySideRecipe
from retrieval.training.settings import AdoreSettings

__all__ = ["AdoreRecipe"]


class AdoreRecipe(QuerySideRecipe[AdoreSettings]):
    """Trains the query side on what a real search finds."""

    def loss(self, batch: Step, step: int) -> StepLoss:
        """LambdaRank over what each query finds now; a positive that it does not find stands behind all of it."""
        examples = batch.batch.examples
        queries = self.encode([([example.query for example in examples], "query")], batch)[0]
        own = queries.detach()[shares(len(examples), batch.rank, batch.world)]
        searched = torch.from_numpy(self._index.search(own.cpu().numpy(), self._settings.depth))
        found = gathered(searched, len(examples), batch.rank, batch.world).numpy()
        rows, relevant = _with_positives(_judgeable(found, examples), [example.positives for example in examples])
        vectors = torch.zeros(*rows.shape, queries.shape[1])
        vectors[torch.from_numpy(rows >= 0)] = torch.from_numpy(self._index.vectors(rows[rows >= 0]))
        with torch.autocast(queries.device.type, enabled=False):
            scores = torch.einsum("bd,bnd->bn", queries, vectors.to(queries.device)) / self.temperature
            there = torch.from_numpy(rows >= 0).to(scores.device)
            total = lambda_rank(scores, relevant.to(scores.device), metric_cut=self._settings.metric_cut, present=there)
        return StepLoss(total, {"lambda_rank": total.item()}, _figures(relevant[:, : found.shape[1]], examples))


def _judgeable(found: NDArray[np.int64], examples: Sequence[Example]) -> NDArray[np.int64]:
    """What was found, with -1 for what is neither a positive nor a negative."""
    lists = zip(found, examples, strict=True)
    return np.stack([np.where(np.isin(hits, example.neither), -1, hits) for hits, example in lists])


def _with_positives(found: NDArray[np.int64], positives: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], Tensor]:
    """Rows (b, m) of what was found and, behind that, the positives that were not; and which are relevant."""
    missing = [
        [row for row in own if row not in set(hits)] for own, hits in zip(positives, found.tolist(), strict=True)
    ]
    rows = np.full((len(found), found.shape[1] + max(map(len, missing))), -1, dtype=np.int64)
    rows[:, : found.shape[1]] = found
    for place, own in enumerate(missing):
        rows[place, found.shape[1] : found.shape[1] + len(own)] = own
    relevant = [np.isin(one, own) for one, own in zip(rows, positives, strict=True)]
    return rows, torch.from_numpy(np.stack(relevant))


def _figures(relevant: Tensor, examples: Sequence[Example]) -> Mapping[str, float]:
    """How well the training queries search now."""
    first = torch.where(relevant.any(dim=1), 1 / (1 + relevant.int().argmax(dim=1)), 0.0)
    all_ = sum(len(example.positives) for example in examples)
    return {"RR": first.mean().item(), "recall": relevant.sum().item() / all_}

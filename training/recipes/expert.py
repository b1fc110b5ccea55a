"""A router's expert: low-rank adapters of the query side, for the queries of one domain.

Source: Lee et al., "RouterRetriever" (2024); in-batch negatives as in Karpukhin et al., "Dense passage retrieval".
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from retrieval.encoders.experts import ADAPTERS
from retrieval.encoders.neural.adapters import write_adapters
from retrieval.training.expert_settings import ExpertSettings
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dual import Step
from retrieval.training.recipes.query_side import QuerySideRecipe

__all__ = ["ExpertRecipe"]


class ExpertRecipe(QuerySideRecipe[ExpertSettings]):
    """Holds each query against the vectors that the index has of the batch's documents."""

    def loss(self, batch: Step, step: int) -> StepLoss:
        """InfoNCE; a document that the index has no vector of is no negative."""
        found = batch.batch
        queries = self.encode([([example.query for example in found.examples], "query")], batch)[0]
        rows = np.array(found.rows)
        there = torch.from_numpy(self._there[rows])
        vectors = torch.zeros(len(rows), queries.shape[1])
        vectors[there] = torch.from_numpy(self._index.vectors(rows[self._there[rows]]))
        counted = replace(found, weights=found.weights * there)
        with torch.autocast(queries.device.type, enabled=False):
            return self.of_vectors(queries, vectors.to(queries.device), counted, step)

    def save(self, folder: Path) -> None:
        """The adapters alone."""
        write_adapters(self.encoder.side("query"), folder / ADAPTERS)

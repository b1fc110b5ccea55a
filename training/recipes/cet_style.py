"""CET-style training: models of relevance and of selection correct each other's bias. A RECONSTRUCTION.

The idea is that of Cai et al., "Hard negatives or false negatives: correcting pooling bias in training neural ranking
models" (CIKM 2022). Losses, schedule and the selection model are this project's own, see
`retrieval.training.losses.coupled`; it does not reproduce the paper. The selection model says how likely a pool of
lexical search would have held a document, from features of the texts alone. Both models learn at every step, each from
weights by the other as it then is, which carry no gradient. A dual encoder has the batch's other documents in its
softmax as well, uncorrected: from lists of hard negatives alone it unlearns how to tell all others apart.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retrieval.encoders.neural.dual import DualEncoder
from retrieval.files import write_whole
from retrieval.protocols import Progress, silent
from retrieval.rerank.neural.cross_encoder import CrossEncoder
from retrieval.training.batches import Batch
from retrieval.training.data import TrainingData
from retrieval.training.losses.coupled import (
    cet_style_loss,
    cet_style_negative_weights,
    cet_style_probability,
    cet_style_propensity,
)
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dual import Step
from retrieval.training.recipes.ranked import RankedRecipe, first
from retrieval.training.settings import CetSettings

__all__ = ["CetStyleRecipe", "PoolFeatures", "Selection"]

SELECTION = "selection"
_WORD = re.compile(r"\w+")
_K1, _HIDDEN, _AUDITED = 1.2, 8, 100


class Selection(nn.Module):
    """A score of how likely a pool held a document: a small network over `PoolFeatures`."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(PoolFeatures.WIDTH, _HIDDEN), nn.Tanh(), nn.Linear(_HIDDEN, 1))
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.layers.parameters():
            nn.init.normal_(parameter, std=0.1, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """(...) scores of features (..., WIDTH)."""
        scores: Tensor = self.layers(features)[..., 0]
        return scores


class PoolFeatures:
    """What a pool of lexical search would have gone by.

    Of a query and a document: the share of the query's words, by idf, that the document has; the same with their
    frequency, as BM25 sees it; and the logarithm of the document's length.

    Args:
        texts: of the documents.
    """

    WIDTH = 3

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        frequencies = Counter(word for text in texts for word in set(_words(text)))
        n = len(texts)
        self._idf = {word: float(np.log1p((n - df + 0.5) / (df + 0.5))) for word, df in frequencies.items()}
        self._unseen = float(np.log1p(2 * n + 1))
        self._counts = lru_cache(maxsize=4096)(self._count)

    def _count(self, row: int) -> Counter[str]:
        return Counter(_words(self._texts[row]))

    def of(self, query: str, rows: Sequence[int]) -> Tensor:
        """(n, WIDTH) float32."""
        weights = {word: self._idf.get(word, self._unseen) for word in set(_words(query))}
        total = sum(weights.values()) or 1.0
        found = []
        for row in rows:
            counts = self._counts(row)
            there = [(weight, counts[word]) for word, weight in weights.items() if word in counts]
            overlap = sum(weight for weight, _ in there) / total
            saturated = sum(weight * count / (count + _K1) for weight, count in there) / total
            found.append((overlap, saturated, np.log1p(counts.total()) / 10))
        return torch.tensor(found, dtype=torch.float32)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


class CetStyleRecipe(RankedRecipe[CetSettings]):
    """A dual encoder, or a cross-encoder, that learns relevance beside a model of selection."""

    def __init__(
        self,
        model: DualEncoder,
        data: TrainingData,
        settings: CetSettings,
        *,
        ranker: CrossEncoder | None = None,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        super().__init__(model, data, settings, ranker=ranker, folder=folder, progress=progress)
        if ranker is not None:
            self.encoder.requires_grad_(False)
        self.model.selection = self._selection = Selection(settings.seed).to(self.encoder.device)
        self._features = PoolFeatures(data.texts)
        self._lowest: dict[tuple[int, int], float] = {}

    def part(self, name: str) -> str:
        """The selection model learns at a rate of its own, as a ranker does."""
        return SELECTION if name.startswith("selection.") else super().part(name)

    def lr(self, part: str, step: int, lr: float) -> float:
        """Each part's own."""
        return self._settings.selection_lr if part == SELECTION else super().lr(part, step, lr)

    def state(self) -> Mapping[str, Any]:
        """The negatives, and what weighed least."""
        return {**super().state(), "lowest": [[*key, weight] for key, weight in self._lowest.items()]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on with them."""
        super().load_state(state)
        self._lowest = {(example, row): weight for example, row, weight in state["lowest"]}

    def save(self, folder: Path) -> None:
        """The model, and, beside the log, the negatives that weighed least."""
        super().save(folder)
        if self._folder:
            self._write_audit(self._folder / "downweighted.tsv")

    def loss(self, batch: Step, step: int) -> StepLoss:
        """Of relevance, corrected by selection, and of selection, corrected by relevance."""
        s, found = self._settings, batch.batch
        is_cross = s.relevance == "cross"
        by_retriever, by_ranker = self.scored(batch, retriever=not is_cross, ranker=is_cross, beside=True)
        scores = by_ranker if is_cross else by_retriever
        rows = found.own(torch.tensor(found.rows).expand(len(found.examples), -1))
        relevance = scores[:, : rows.shape[1]]
        features = [self._features.of(e.query, own) for e, own in zip(found.examples, rows.tolist(), strict=True)]
        selection: Tensor = self._selection(torch.stack(features).to(relevance.device))
        absent = relevance == -torch.inf
        selection = selection.masked_fill(absent, -torch.inf)
        ones = torch.ones_like(relevance)
        weights, of_relevance, of_selection = ones, ones[:, 0], ones[:, 0]
        if step >= s.uncorrected:
            reference, clip = self._reference(found, rows).to(relevance.device), (s.clip_least, s.clip_most)
            chances = cet_style_probability(relevance), cet_style_probability(selection)
            weights = cet_style_negative_weights(*chances, floor=s.floor)
            of_relevance = cet_style_propensity(selection, reference, clip=clip)
            of_selection = cet_style_propensity(relevance, reference, clip=clip)
            self._keep_lowest(found, rows, weights.masked_fill(absent, 1.0))
        parts = {
            "relevance": cet_style_loss(scores, of_relevance, _extended(weights, scores)),
            "selection": cet_style_loss(selection, of_selection),
        }
        figures = {"first": first(relevance), "weight": weights[:, 1:].mean().item(), **_histogram(weights[:, 1:])}
        return StepLoss(parts["relevance"] + parts["selection"], {k: v.item() for k, v in parts.items()}, figures)

    def _reference(self, batch: Batch, rows: Tensor) -> Tensor:
        """(b,) the column of the negative that was found first."""
        found = []
        for example, own in zip(batch.examples, rows.tolist(), strict=True):
            ranks = {row: rank for rank, row in enumerate(example.negatives)}
            found.append(1 + int(np.argmin([ranks.get(row, len(ranks)) for row in own[1:]])))
        return torch.tensor(found)

    def _keep_lowest(self, batch: Batch, rows: Tensor, weights: Tensor) -> None:
        for place, own, some in zip(batch.places, rows.tolist(), weights.tolist(), strict=True):
            self._lowest |= {(place, row): w for row, w in zip(own[1:], some[1:], strict=True)}
        self._lowest = dict(sorted(self._lowest.items(), key=lambda each: each[1])[:_AUDITED])

    def _write_audit(self, path: Path) -> None:
        """What a person should look at: likely relevant, and not judged."""
        lines = ["weight\tquery_id\tquery\tdocument_id\tdocument"]
        for (number, row), weight in self._lowest.items():
            example, text = self.data.examples[number], " ".join(self.data.texts[row].split())
            query = " ".join(example.query.split())
            lines.append(f"{weight:.4f}\t{example.id}\t{query}\t{self.data.ids[row]}\t{text[:300]}")
        write_whole(path, ("\n".join(lines) + "\n").encode())


def _extended(weights: Tensor, scores: Tensor) -> Tensor:
    """(b, n) of (b, 1 + k): what stands beside the lists counts whole, as no retriever thought that it was relevant."""
    return torch.cat([weights, torch.ones_like(scores[:, weights.shape[1] :])], dim=1)


def _histogram(weights: Tensor) -> dict[str, float]:
    """Shares of weights below quarters."""
    return {f"weight<{bound}": (weights < bound).float().mean().item() for bound in (0.25, 0.5, 0.75)}

"""TAS-Balanced: batches of one topic, pairs of balanced margins, and two teachers.

Source: Hofstätter et al., "Efficiently teaching an effective dense retriever with balanced topic aware sampling" (SIGIR
2021). There the teacher of pairs is an ensemble of cross-encoders and that of batches ColBERT; here a cross-encoder, or
whatever the data brings scores of, and a dual encoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from retrieval.encoders.models import weights_digest
from retrieval.encoders.neural.dual import DualEncoder
from retrieval.errors import InputError
from retrieval.protocols import Progress, silent
from retrieval.rerank.cross_encoder import score_pairs
from retrieval.rerank.neural.cross_encoder import CrossEncoder
from retrieval.training.batches import Batch, of_lists
from retrieval.training.data import Example, TrainingData
from retrieval.training.exact import encode_all
from retrieval.training.losses.distillation import in_batch_margin_mse, margin_mse
from retrieval.training.pairs import batching
from retrieval.training.recipes import StepLoss
from retrieval.training.recipes.dense import DenseRecipe
from retrieval.training.recipes.dual import Step
from retrieval.training.settings import TasBalancedSettings

__all__ = ["TasBalancedRecipe", "balanced_pair", "clusters_of"]

_TOPIC, _PAIR = 3, 4  # what the random numbers of a step are for


class TasBalancedRecipe(DenseRecipe[TasBalancedSettings]):
    """MarginMSE to a teacher of pairs, and to one of whole batches that are of one topic.

    Raises:
        InputError: there is no ranker, and the data has no teacher's scores.
    """

    def __init__(
        self,
        model: DualEncoder,
        data: TrainingData,
        settings: TasBalancedSettings,
        *,
        ranker: CrossEncoder | None = None,
        batch_teacher: DualEncoder | None = None,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        if ranker is None and not any(example.scores for example in data.examples):
            raise InputError(
                "TAS-Balanced needs a teacher's scores", hint="name a cross-encoder, --ranker, or give --teacher-run"
            )
        super().__init__(model, data, settings, folder=folder, progress=progress)
        self.origin["ranker_model"] = weights_digest(ranker) if ranker else None
        self.origin["teacher_model"] = weights_digest(batch_teacher) if batch_teacher else None
        self._ranker, self._batch_teacher = ranker, batch_teacher
        self._topics: list[list[int]] = []
        self._kept: list[int] = []

    def begin(self) -> None:
        """Find negatives, have them scored, and tell the topics of queries apart."""
        super().begin()
        if self._ranker:
            self.data = self._taught(self._ranker)
        self._keep_taught()
        asked = [example.query for example in self.data.examples]
        vectors = encode_all(
            self.encoder, asked, "query", max_length=self._settings.query_length, progress=self._progress
        )
        self._topics = clusters_of(vectors.numpy(), self._settings.clusters, seed=self._settings.seed)

    def state(self) -> Mapping[str, Any]:
        """Negatives, topics and scores."""
        scores = [sorted(example.scores.items()) for example in self.data.examples]
        return {**super().state(), "topics": self._topics, "scores": scores, "kept": self._kept}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on with them."""
        super().load_state(state)
        self._topics, self._kept = state["topics"], state["kept"]
        examples = [
            replace(self.data.examples[place], scores=dict(scores))
            for place, scores in zip(self._kept, state["scores"], strict=True)
        ]
        self.data = replace(self.data, examples=examples)

    def _taught(self, ranker: CrossEncoder) -> TrainingData:
        """The data with what the ranker makes of each query's positives and first negatives."""
        lists = [[*e.positives, *e.negatives[: self._settings.ranked]] for e in self.data.examples]
        pairs = [
            (example.query, self.data.texts[row])
            for example, rows in zip(self.data.examples, lists, strict=True)
            for row in rows
        ]
        done = 0

        def tell(more: int) -> None:
            nonlocal done
            done += more
            self._progress("teacher's scores", done, len(pairs))

        scores = score_pairs(ranker, pairs, batching(ranker), tell, max_length=self._settings.pair_length).tolist()
        ends = np.cumsum([0, *map(len, lists)])
        examples = [
            replace(example, scores=dict(zip(rows, scores[start:end], strict=True)))
            for example, rows, start, end in zip(self.data.examples, lists, ends, ends[1:], strict=False)
        ]
        return replace(self.data, examples=examples)

    def _keep_taught(self) -> None:
        """A query without two pairs to choose among is left out."""
        examples = self.data.examples
        self._kept = [place for place, example in enumerate(examples) if len(_pairs(example)[0]) > 1]
        if not self._kept:
            raise InputError("no query has two pairs that the teacher knows", hint="more --mined hits, or deeper runs")
        self.data = replace(self.data, examples=[examples[place] for place in self._kept])

    def batch(self, step: int, rank: int, world: int) -> Step:
        """Queries of one topic; where it has too few, of the next one drawn."""
        s = self._settings
        generator = np.random.default_rng((s.seed, _TOPIC, step))
        order = generator.permutation(len(self._topics))
        places = [int(place) for topic in order for place in generator.permutation(self._topics[topic])]
        chosen = places[: s.batch]
        lists = [
            balanced_pair(self.data.examples[place], s.bins, np.random.default_rng((s.seed, _PAIR, step, number)))
            for number, place in enumerate(chosen)
        ]
        return Step(of_lists(self.data, chosen, lists), rank, world)

    def of_vectors(self, queries: Tensor, documents: Tensor, batch: Batch, step: int) -> StepLoss:
        """MarginMSE of each query's own pair, and of its positive with all other documents."""
        scores = queries @ documents.T / self.temperature
        own, wanted = batch.own(scores), batch.teacher.to(scores.device)
        parts = {"pairs": margin_mse(own[:, 0], own[:, 1:], wanted[:, 0], wanted[:, 1:])}
        total = parts["pairs"]
        if self._batch_teacher:
            parts["batch"] = in_batch_margin_mse(scores, self._of_teacher(batch).to(scores.device))
            total = total + self._settings.batch_weight * parts["batch"]
        return StepLoss(total, {name: part.item() for name, part in parts.items()}, {})

    def _of_teacher(self, batch: Batch) -> Tensor:
        assert self._batch_teacher
        teacher, s = self._batch_teacher, self._settings
        asked = [example.query for example in batch.examples]
        queries = encode_all(teacher, asked, "query", max_length=s.query_length)
        documents = encode_all(
            teacher, [self.data.texts[row] for row in batch.rows], "document", max_length=s.document_length
        )
        return queries @ documents.T / (self.temperature if teacher.similarity == "cosine" else 1.0)


def clusters_of(vectors: NDArray[np.float32], count: int, *, seed: int = 0) -> list[list[int]]:
    """Rows of the vectors by k-means, at most `count` clusters, none of them empty."""
    from sklearn.cluster import KMeans

    found = KMeans(min(count, len(vectors)), random_state=seed, n_init=3).fit_predict(vectors)
    return [np.flatnonzero(found == number).tolist() for number in np.unique(found)]


def _pairs(example: Example) -> tuple[list[tuple[int, int]], NDArray[np.float64]]:
    """Positives and negatives that the teacher knows, and its margins."""
    positives = [row for row in example.positives if row in example.scores]
    negatives = [row for row in example.negatives if row in example.scores]
    pairs = [(positive, negative) for positive in positives for negative in negatives]
    return pairs, np.array([example.scores[p] - example.scores[n] for p, n in pairs])


def balanced_pair(example: Example, bins: int, generator: np.random.Generator) -> Sequence[int]:
    """A pair of a positive and a negative from one of the bins of equal width of the teacher's margins.

    The bin is drawn first, among those that hold a pair, so that rare margins come as often as common ones.
    """
    pairs, margins = _pairs(example)
    width = (margins.max() - margins.min()) / bins or 1.0
    of = np.minimum(((margins - margins.min()) / width).astype(int), bins - 1)
    chosen = generator.choice(np.unique(of))
    return pairs[int(generator.choice(np.flatnonzero(of == chosen)))]

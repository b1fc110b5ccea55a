"""What query sides are judged by, and what a stage of training is told of its step."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from retrieval.encoders.neural.dual import DualEncoder  # noqa: E402
from retrieval.learning.dense import read_data  # noqa: E402
from retrieval.training.data import TrainingData  # noqa: E402
from retrieval.training.dev import DevSet  # noqa: E402
from retrieval.training.recipes.pair import PairRecipe  # noqa: E402
from retrieval.training.recipes.query_side import frozen_evaluator  # noqa: E402
from retrieval.training.settings import DataSettings, PairSettings  # noqa: E402
from retrieval.types import Query  # noqa: E402


class Found:
    """An index that finds the same rows for every query, and nothing else."""

    fingerprint, dimensions, encoder_digest = "found", 32, None

    def __init__(self, rows: Sequence[int]) -> None:
        self._rows = np.array(rows)

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Those."""
        return np.tile(self._rows, (len(queries), 1))

    def has(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """All."""
        return np.ones(len(rows), dtype=bool)

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Zeros."""
        return np.zeros((len(rows), self.dimensions), dtype=np.float32)


@pytest.mark.parametrize("sample", [("a", "b", "c"), ("b", "c")])
def test_documents_of_one_text_are_all_found(dense: Path, sample: tuple[str, ...]) -> None:
    """Training data has one row for them; the dev set, or its sample, has each, and the one that is judged counts."""
    texts = {"a": "d0x1", "b": "d0x1", "c": "d1x1"}
    data = TrainingData(texts=["d0x1", "d1x1"], examples=[], ids=["a", "c"])
    dev = DevSet("dev", [Query("q", "q0x1")], {"q": {"b": 1}}, {id_: texts[id_] for id_ in sample})
    evaluate = frozen_evaluator(DualEncoder.load(str(dense), device="cpu"), data, Found([-1, 1, 0]), [dev])
    place = 1 + len(sample)  # behind c, and behind a where it is there
    assert evaluate() == pytest.approx(1 / np.log2(place), abs=1e-6)


def test_a_stage_is_that_of_the_step_not_of_the_batch_drawn_last(collection: Path, dense: Path) -> None:
    """Batches may be drawn ahead."""
    data, _ = read_data([collection], DataSettings(), 0)
    recipe = PairRecipe(DualEncoder.load(str(dense), device="cpu"), data, PairSettings(batch=4, first_stage=3))
    early, late = recipe.batch(2, 0, 1), recipe.batch(3, 0, 1)
    assert recipe.loss(early, 2).figures["alpha"] == PairSettings().alpha
    assert recipe.loss(late, 3).figures["alpha"] == 0

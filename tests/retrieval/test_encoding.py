from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.errors import UnfinishedBuildError
from retrieval.index.manifest import DensePart
from retrieval.indexing import Index
from retrieval.types import Document
from tests.index.changing import ToyEncoder


class Calibrating(ToyEncoder):
    """A toy that wants to see three texts first, and makes a digest of `salt` and what it saw."""

    def __init__(self, salt: str, on_batch: Callable[[Sequence[str]], None] = lambda texts: None) -> None:
        super().__init__(on_batch)
        self.salt = salt
        self.seen: list[str] = []
        self.sample = 3

    def calibrate(self, texts: Sequence[str]) -> None:
        """Remember them."""
        self.seen, self.sample = list(texts), 0
        self.card = replace(self.card, quantised=f"{self.salt} {' '.join(sorted(self.seen))}")


CORPUS = [Document(id=f"d{i}", text=f"storm {i}" if i % 2 else "") for i in range(40)]


def test_an_encoder_sees_texts_of_the_corpus_first(tmp_path: Path) -> None:
    """None that is empty; the same corpus gives the same ones, and the index says what came of them."""
    one, other = Calibrating("x"), Calibrating("x")
    index = Index.build(CORPUS, tmp_path / "one", dense=one, lexical=False)
    Index.build(CORPUS, tmp_path / "other", dense=other, lexical=False)
    assert one.seen == other.seen
    assert len(set(one.seen)) == 3
    assert all(text.startswith("storm") for text in one.seen)
    assert index.manifest.dense
    assert index.manifest.dense.encoder.quantised == one.card.quantised


def test_a_card_of_an_older_index_can_be_read() -> None:
    """It says nothing of what ran the model: that was torch, in what it calls its precision."""
    older = {"model": "m", "dimensions": 2, "similarity": "cosine", "precision": "float32"}
    kept = {"similarity": "cosine", "vectors": 1, "dimensions": 2, "largest_norm": 1.0, "encoder": older}
    card = DensePart.model_validate(kept).encoder
    assert (card.precision, card.runtime, card.quantised) == ("float32", "torch", None)


def interrupt(texts: Sequence[str]) -> None:
    """As Ctrl-C does."""
    raise KeyboardInterrupt


def test_a_build_goes_on_with_the_same_calibration(tmp_path: Path) -> None:
    """Another one is refused, as its vectors would not go with those that are there."""
    with pytest.raises(KeyboardInterrupt):
        Index.build(CORPUS, tmp_path / "index", dense=Calibrating("x", interrupt), lexical=False)
    with pytest.raises(UnfinishedBuildError, match="with another int8 model than y"):
        Index.build(CORPUS, tmp_path / "index", dense=Calibrating("y"), lexical=False)
    assert len(Index.build(CORPUS, tmp_path / "index", dense=Calibrating("x"), lexical=False)) == 40

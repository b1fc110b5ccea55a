"""What all methods for dense encoders share: data, negatives that the model finds, batches, and texts made vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from retrieval.encoders.neural.dual import DualEncoder
from retrieval.encoders.runtimes.batching import longest_first
from retrieval.protocols import Progress, silent
from retrieval.training.batches import Batch, Draw, draw
from retrieval.training.data import TrainingData
from retrieval.training.gathering import gathered, processes, shares
from retrieval.training.recipes import Recipe
from retrieval.training.selfmining import found_by, with_lists, write_lists
from retrieval.training.settings import DenseSettings

__all__ = ["DualRecipe", "Part", "Step", "collected"]

S = TypeVar("S", bound=DenseSettings)

Part = tuple[Sequence[str], str]
"""Some texts, and their side."""

# What cosines are divided by where nothing is said: they are too close together for a softmax.
_COSINE_TEMPERATURE = 0.05


@dataclass(frozen=True)
class Step:
    """A batch, and which process this is of how many."""

    batch: Batch
    rank: int
    world: int


class DualRecipe(Recipe, Generic[S]):
    """Training of a dual encoder; a method says what the loss is.

    Args:
        model: changed in place.
        data: what to learn from.
        settings: the method's.
        folder: where negatives that the model finds are written.
        progress: told of texts that are searched for them.
    """

    model: nn.Module

    def __init__(
        self,
        model: DualEncoder,
        data: TrainingData,
        settings: S,
        *,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        self.origin: dict[str, Any] = {
            "model": model.digest("query"),
            "document_model": model.digest(),
            "data": data.fingerprint(),
        }
        self.encoder = self.model = _adapted(model, settings) if settings.lora else model
        self.data = data
        self._settings, self._folder, self._progress = settings, folder, progress
        self._mined: Tensor | None = None
        default = _COSINE_TEMPERATURE if model.similarity == "cosine" else 1.0
        self.temperature = settings.temperature or default

    def settings(self) -> Mapping[str, Any]:
        """The method's, the model it begins with, and the data."""
        return {"method": type(self).__name__, **asdict(self._settings), **self.origin}

    def begin(self) -> None:
        """Search for negatives, if that is wanted."""
        if self._settings.mined:
            self._mine(0)

    def before_step(self, step: int) -> None:
        """Search for negatives anew, where it is time."""
        if self._settings.refresh and step and step % self._settings.refresh == 0:
            self._mine(step)

    def state(self) -> Mapping[str, Any]:
        """The negatives that were found."""
        return {} if self._mined is None else {"mined": self._mined}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on with them."""
        if "mined" in state:
            self._mined = state["mined"]
            self.data = with_lists(self.data, state["mined"])

    def _mine(self, step: int) -> None:
        s = self._settings
        lengths = {"query_length": s.query_length, "document_length": s.document_length}
        lists = found_by(self.encoder, self.data, s.mined, **lengths, progress=self._progress)
        self._mined = lists.rows
        self.data = with_lists(self.data, lists.rows)
        if self._folder and processes()[0] == 0:
            write_lists(self._folder / f"negatives-{step:08d}.jsonl", self.data, lists)

    def batch(self, step: int, rank: int, world: int) -> Step:
        """Queries with a positive and negatives each: of all processes, each of which encodes a share of the texts."""
        s = self._settings
        return Step(
            draw(self.data, Draw(queries=s.batch, negatives=s.negatives_per_query, seed=s.seed), step), rank, world
        )

    def save(self, folder: Path) -> None:
        """A folder that `retrieval` and sentence-transformers load."""
        self.encoder.save(folder)

    def chunked(self, parts: Sequence[Part], step: Step) -> tuple[list[Any], list[tuple[int, list[int]]]]:
        """What goes through the model together: features and sides, and of which texts of which part they are."""
        s = self._settings
        lengths = {"query": s.query_length, "document": s.document_length}
        chunks, places = [], []
        for number, (texts, side) in enumerate(parts):
            own = [texts[place] for place in shares(len(texts), step.rank, step.world)]
            order = longest_first(own, len)
            size = s.at_once or len(order)
            for start in range(0, len(order), size):
                some = order[start : start + size]
                features = self.encoder.tokenize([own[place] for place in some], side, lengths[side])
                chunks.append((features, side))
                places.append((number, some))
        return chunks, places


def _adapted(model: DualEncoder, settings: DenseSettings) -> DualEncoder:
    """The model with adapters, which are drawn as the seed has it."""
    assert settings.lora
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return model.with_lora(settings.lora, **settings.adapters)


def collected(
    parts: Sequence[Part], places: Sequence[tuple[int, list[int]]], made: Sequence[Tensor], step: Step
) -> list[Tensor]:
    """The vectors (n, d) of each part, in the order of its texts, of all processes."""
    found = []
    for number, (texts, _) in enumerate(parts):
        mine = [(some, vectors) for (part, some), vectors in zip(places, made, strict=True) if part == number]
        together = torch.cat([vectors for _, vectors in mine])
        back = torch.tensor([place for some, _ in mine for place in some], device=together.device).argsort()
        found.append(gathered(together[back], len(texts), step.rank, step.world))
    return found

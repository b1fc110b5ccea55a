"""A router over experts, opened: an encoder that asks itself for each query which of its experts is to encode it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.experts import ADAPTERS, ExpertEncoder
from retrieval.errors import InputError, ModelError
from retrieval.files import sha256_of
from retrieval.routing.manifest import ExpertsManifest, PilotsFile, damaged, read_router
from retrieval.routing.rules import BASE, Aggregate, Choices, Pilots, check_margin, choose, similarities
from retrieval.types import EncoderCard, ModelUse, Route

__all__ = ["BASE_NAME", "ExpertRouter", "adapters_of", "check_base", "read_pilots"]

BASE_NAME = "base"
"""What routes call the base model, when no expert is chosen."""


def adapters_of(folder: Path, name: str) -> Path:
    """Where an expert's adapters are."""
    return folder / "experts" / name / "model" / ADAPTERS


def read_pilots(folder: Path, entry: PilotsFile) -> Pilots:
    """A router's pilots.

    Raises:
        ArtifactDamagedError: they are not as they were written.
    """
    file = folder / entry.file
    _check(file, entry.sha256)
    numbers = [np.array(values, dtype=np.int64) for values in (entry.experts, entry.domains, entry.counts)]
    vectors = np.load(file, allow_pickle=False)
    if len(vectors) != len(entry.counts):
        raise damaged(file, f"holds {len(vectors)} pilots, of which router.json knows {len(entry.counts)}")
    return Pilots(vectors, *numbers)


def _check(file: Path, sha256: str) -> None:
    if not file.is_file() or sha256_of(file) != sha256:
        raise damaged(file, "is missing" if not file.is_file() else "is not as it was written")


def check_base(folder: Path, manifest: ExpertsManifest, card: EncoderCard) -> None:
    """An error if a base model is not the one that a router's experts adapt."""
    if card.weights != manifest.base.weights:
        raise ModelError(
            f"{folder}: its experts adapt {manifest.base.model!r}, and {card.model!r} has other weights",
            hint="put the model back as it was, or train the router again",
        )


class ExpertRouter:
    """Encodes each query by the expert whose pilots it is most like, or by the base: two forward passes at most.

    Everything is computed in float32, so that a query's route does not depend on the machine's precision.

    Args:
        encoder: the base and the experts.
        manifest: the router's.
        pilots: of its experts.
    """

    def __init__(self, encoder: ExpertEncoder, manifest: ExpertsManifest, pilots: Pilots) -> None:
        self.encoder, self.manifest, self._pilots = encoder, manifest, pilots

    @classmethod
    def open(cls, folder: str | Path, *, device: str | None = None, model: str | None = None) -> "ExpertRouter":
        """Read a router's folder, and load its base model.

        Args:
            folder: of `retrieval train router`.
            device: torch's name of a device; None takes the best there is.
            model: where the base model is now, where that is not the place or name it had.

        Raises:
            InputError: it is a router over systems, which none is without an index.
            ArtifactMissingError, ArtifactDamagedError, ArtifactVersionError: there is none, or it cannot be read.
            ModelError: the base model cannot be had, or is another one now.
        """
        folder = Path(folder)
        manifest = read_router(folder)
        if not isinstance(manifest, ExpertsManifest):
            raise InputError(f"{folder} is a router over systems, and not over experts")
        pilots = read_pilots(folder, manifest.pilots)
        adapters = {expert.name: adapters_of(folder, expert.name) for expert in manifest.experts}
        for expert in manifest.experts:
            _check(adapters[expert.name], expert.sha256)
        encoder = ExpertEncoder(model or manifest.base.model, adapters, device=device)
        check_base(folder, manifest, encoder.card)
        return cls(encoder, manifest, pilots)

    def with_rule(self, aggregate: Aggregate | None = None, margin: float | None = None) -> "ExpertRouter":
        """The same experts, chosen by another rule where one is given; an InputError for a margin that is no number."""
        check_margin(margin or 0.0)
        given = {"aggregate": aggregate, "margin": margin}
        changed = {name: value for name, value in given.items() if value is not None}
        return ExpertRouter(self.encoder, self.manifest.model_copy(update=changed), self._pilots)

    @property
    def names(self) -> list[str]:
        """The experts', in order."""
        return self.manifest.names

    @property
    def card(self) -> EncoderCard:
        """The base's, which encodes documents."""
        return self.encoder.card

    @property
    def use(self) -> ModelUse:
        """How large the base is with its experts, and where it runs."""
        return self.encoder.use

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides its choices, as JSON values."""
        return self.manifest.model_dump(mode="json")

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> NDArray[np.float32]:
        """(n, d) vectors by the base."""
        return self.encoder.encode_documents(texts, on_batch)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) vectors, each by the expert that is chosen for it; those of one expert are encoded together."""
        vectors = self.encoder.encode_queries(texts)
        _, choices = self._choices(vectors)
        for expert in np.unique(choices.columns[choices.columns != BASE]).tolist():
            rows = np.flatnonzero(choices.columns == expert)
            vectors[rows] = self.encoder.encode_queries([texts[row] for row in rows.tolist()], self.names[expert])
        return vectors

    def routes(self, texts: Sequence[str]) -> list[Route]:
        """Who answers each of n queries, and why."""
        scores, choices = self._choices(self.encoder.encode_queries(texts))
        return [
            Route(
                choice=BASE_NAME if column == BASE else self.names[column],
                scores=dict(zip(self.names, row, strict=True)),
                margin=margin,
                fallback=column == BASE,
            )
            for row, column, margin in zip(
                scores.tolist(), choices.columns.tolist(), choices.margins.tolist(), strict=True
            )
        ]

    def _choices(self, base: NDArray[np.float32]) -> tuple[NDArray[np.float64], Choices]:
        rule = self.manifest
        scores = similarities(base, self._pilots, len(self.names), rule.aggregate)
        return scores, choose(scores, rule.margin)

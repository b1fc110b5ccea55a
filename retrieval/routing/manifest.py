"""What a router's folder says of it: `router.json`, one form for each kind of router."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from retrieval.errors import ArtifactDamagedError, ArtifactMissingError, ArtifactVersionError
from retrieval.files import write_whole
from retrieval.routing.rules import Aggregate
from retrieval.types import EncoderCard

__all__ = [
    "FORMAT",
    "NAME",
    "ROUTER",
    "Expert",
    "ExpertsManifest",
    "PilotsFile",
    "RouterManifest",
    "System",
    "SystemsManifest",
    "damaged",
    "read_router",
    "write_router",
]

FORMAT = 1
"""Raised when an older version could not read what this one writes."""

ROUTER = "router.json"

NAME = r"^\w[\w.+-]*$"
"""What an expert may be called, which is a folder's name, too."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Expert(_Model):
    """An expert, and the domain whose queries it was trained on.

    Attributes:
        name: of both.
        data: the folder, in BEIR's layout.
        split: whose judgements.
        index: of its documents.
        queries: that it was trained on, and pilots were made of.
        sha256: of its adapters.
    """

    name: str = Field(pattern=NAME)
    data: str
    split: str
    index: str
    queries: int
    sha256: str


class PilotsFile(_Model):
    """A matrix of pilots, (p, d) float32; of each the expert, the domain, and of how many queries it is the mean."""

    file: str = Field(pattern=r"^pilots-\w+\.npy$")
    sha256: str
    experts: list[int]
    domains: list[int]
    counts: list[int]

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        _require(len(self.experts) == len(self.domains) == len(self.counts), "not each pilot has all its numbers")
        return self


class ExpertsManifest(_Model):
    """A router over experts: adapters of one base model, whose documents' vectors all indexes hold."""

    format: int = FORMAT
    kind: Literal["experts"] = "experts"
    base: EncoderCard
    aggregate: Aggregate = "mean"
    margin: float = 0.0
    experts: list[Expert] = Field(min_length=1)
    pilots: PilotsFile

    @model_validator(mode="after")
    def _pilots_are_theirs(self) -> Self:
        _require(len(set(self.names)) == len(self.names), "two experts have one name")
        places = {*self.pilots.experts, *self.pilots.domains}
        _require(places <= set(range(len(self.experts))), "a pilot is of an expert that is not there")
        return self

    @property
    def names(self) -> list[str]:
        """The experts', in order."""
        return [expert.name for expert in self.experts]


class System(_Model):
    """A way to answer a query: a mode of search, perhaps `@N` for N hits reranked; what it costs, and what is expected.

    Attributes:
        name: `hybrid`, or `hybrid@50`.
        milliseconds: for a query, on the machine that the router was made on.
        intercept, coefficients: of the linear function of scaled features that gives its score.
    """

    name: str
    milliseconds: float
    intercept: float
    coefficients: list[float]


class SystemsManifest(_Model):
    """A router over systems of one index.

    Attributes:
        systems: at least two.
        base: the best of them on all training queries.
        features: in the order of the coefficients.
        means, scales: a feature is scaled by taking its mean away and dividing by its scale.
        tolerance: how much lower than the best's the expected score of a cheaper system may be.
        parts: how the parts of the index are made that the systems search.
        reranker: the settings of the model that reranks, if one does.
        queries: how many of each data set it learned from.
        fingerprints: of the indexes that were searched.
    """

    format: int = FORMAT
    kind: Literal["systems"] = "systems"
    systems: list[System] = Field(min_length=2)
    base: str
    features: list[str]
    means: list[float]
    scales: list[float]
    tolerance: float = 0.0
    parts: dict[str, Any]
    reranker: dict[str, Any] | None = None
    queries: dict[str, int]
    fingerprints: list[str]

    @model_validator(mode="after")
    def _functions_are_whole(self) -> Self:
        rows = [self.means, self.scales, *(system.coefficients for system in self.systems)]
        _require({len(row) for row in rows} == {len(self.features)}, "not each feature has all its numbers")
        _require(all(self.scales), "a feature is scaled by 0")
        _require(len(set(self.names)) == len(self.names), "two systems have one name")
        _require(self.base in self.names, "its base is none of its systems")
        return self

    @property
    def names(self) -> list[str]:
        """The systems', in order."""
        return [system.name for system in self.systems]


RouterManifest = ExpertsManifest | SystemsManifest

_FORMS: TypeAdapter[RouterManifest] = TypeAdapter(Annotated[RouterManifest, Field(discriminator="kind")])


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def damaged(file: Path, reason: str) -> ArtifactDamagedError:
    """The error for a file of a router that is not as it was written."""
    return ArtifactDamagedError(f"{file}: {reason}", hint="put the router's folder back as it was, or train it again")


def read_router(folder: Path) -> RouterManifest:
    """What a router is.

    Raises:
        ArtifactMissingError: there is none.
        ArtifactVersionError: a newer version wrote it.
        ArtifactDamagedError: its file cannot be read.
    """
    file = folder / ROUTER
    if not file.is_file():
        raise ArtifactMissingError(f"no router at {folder}", hint="train one: retrieval train router DATA --out DIR")
    try:
        content = orjson.loads(file.read_bytes())
        if content.get("format", FORMAT) > FORMAT:
            raise ArtifactVersionError(
                f"{file}: written in format {content['format']}, this version reads format {FORMAT}",
                hint="pip install --upgrade retrieval-engine",
            )
        return _FORMS.validate_python(content)
    except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise damaged(file, f"not a router ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise damaged(file, f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def write_router(folder: Path, manifest: RouterManifest) -> None:
    """Make this what the folder's router is, in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    content = orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2)
    write_whole(folder / ROUTER, content + b"\n")

"""Suites: which systems are measured on which test collections.

A suite is a TOML file:

    measures = ["nDCG@10", "R@100"]

    [[dataset]]
    name = "scifact"
    folder = "scifact"                     # in BEIR's layout, below --data

    [[dataset]]
    name = "cqadupstack-android"
    id = "beir/cqadupstack/android"        # or of ir_datasets
    group = "cqadupstack"                  # those of a group count as one set, by the mean of their means

    [[system]]
    name = "hybrid-rrf"
    using = "lexical+dense"
    dense = "minilm"
    fusion = "rrf"

    [[system]]
    name = "theirs"
    run = "runs/{dataset}.trec"            # a TREC run that somebody else made
    datasets = ["scifact"]
"""

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from retrieval.beir_eval.measures import DEFAULT_MEASURES, parse_measures
from retrieval.beir_eval.runs import Ties
from retrieval.errors import InputError

__all__ = ["MODELS", "DatasetEntry", "Suite", "SystemEntry", "read_suite"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+@-]*$")]
"""Of a folder and a file, and a word of a TREC run."""


MODELS = "{models}"
"""What stands for the folder of models in a suite's paths."""

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]

# What changes nothing without another setting.
_NEEDS = {
    "query_encoder": "dense",
    "dimensions": "dense",
    "rerank_depth": "rerank",
    "rerank_weight": "rerank",
    "rerank_precision": "rerank",
}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class DatasetEntry(_Entry):
    """A test collection.

    Attributes:
        name: what results call it.
        folder: in BEIR's layout, relative to the suite's data; or
        id: of ir_datasets, with queries, judgements and documents.
        split: of a folder's judgements: qrels/SPLIT.tsv.
        keep_self: keep a document whose id is the query's.
        group: of collections that count as one set together.
    """

    name: Name
    folder: str | None = None
    id: str | None = None
    split: str = "test"
    keep_self: bool = False
    group: Name | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.folder is None) == (self.id is None):
            raise ValueError("a dataset has a folder or an id of ir_datasets, and not both")
        return self


class SystemEntry(_Entry):
    """One way to answer queries, named as the options of `eval run` are; or the answers.

    Attributes:
        name: what results call it.
        using: its mode of search.
        bm25, language, lexical_engine: of the lexical part.
        dense, dimensions: model of the dense part.
        query_encoder: a model that encodes queries alone, for the vectors that the dense one gives documents.
        sparse: model of the sparse part; or
        sparse_vectors, query_vectors: files of its vectors.
        precision, runtime, batch_tokens: how models encode documents.
        fusion, weights, depth: how several lists become one.
        rerank, rerank_depth, rerank_weight, rerank_precision: a model that orders the first hits anew.
        router: of routed search, its folder.
        run: or, instead of all that, a TREC run.
        datasets: names of those it runs on; None stands for all.

    In a path or a model's name, `{dataset}` stands for a data set's name and `{models}` for a folder that whoever runs
    the suite says.
    """

    name: Name
    using: str | None = None
    bm25: str | None = None
    language: str = "english"
    lexical_engine: Literal["native", "lucene"] = "native"
    dense: str | None = None
    dimensions: int | None = None
    query_encoder: str | None = None
    sparse: str | None = None
    sparse_vectors: str | None = None
    query_vectors: str | None = None
    precision: Precision | None = None
    runtime: Literal["auto", "torch", "openvino", "onnx"] | None = None
    batch_tokens: int | None = Field(default=None, ge=1)
    fusion: Literal["minmax", "rrf", "zscore"] = "minmax"
    weights: dict[str, float] = Field(default_factory=dict)
    depth: int = Field(default=1000, ge=1)
    rerank: str | None = None
    rerank_depth: int = Field(default=100, ge=1)
    rerank_weight: float = Field(default=1.0, gt=0, le=1)
    rerank_precision: Precision | None = None
    router: str | None = None
    run: str | None = None
    datasets: list[str] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.using is None) == (self.run is None):
            raise ValueError("a system has a mode of search (using) or a run, and not both")
        if self.run and (others := self.model_fields_set - {"name", "run", "datasets"}):
            raise ValueError(f"a run is measured as it is: {', '.join(sorted(others))} would change nothing")
        if self.sparse and self.sparse_vectors:
            raise ValueError("sparse vectors come from a model or from a file, not from both")
        if (self.using == "routed") != (self.router is not None):
            raise ValueError("routed search and a router go together")
        for name, needed in _NEEDS.items():
            if name in self.model_fields_set and getattr(self, needed) is None:
                raise ValueError(f"{name} is for a system with {needed}")
        return self

    @property
    def needs_models(self) -> bool:
        """Whether something of it is in the folder that `{models}` stands for."""
        return any(MODELS in value for value in vars(self).values() if isinstance(value, str))


class Suite(_Entry):
    """Systems × data sets.

    Attributes:
        measures: ir-measures' names; the first is what tables are sorted by.
        k: hits per query.
        ties: the order of documents with equal scores; None takes what suits each system.
        datasets, systems: each name once.
    """

    measures: list[str] = Field(default=list(DEFAULT_MEASURES), min_length=1)
    k: int = Field(default=1000, ge=1)
    ties: Ties | None = None
    datasets: list[DatasetEntry] = Field(alias="dataset", min_length=1)
    systems: list[SystemEntry] = Field(alias="system", min_length=1)

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for kind, entries in (("dataset", self.datasets), ("system", self.systems)):
            names = [entry.name for entry in entries]
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"two entries of {kind} are called {twice[0]!r}")
        known = {dataset.name for dataset in self.datasets}
        for system in self.systems:
            if unknown := set(system.datasets or ()) - known:
                raise ValueError(f"system {system.name!r} names the dataset {min(unknown)!r}, which is not here")
        return self

    def cells(self) -> list[tuple[DatasetEntry, SystemEntry]]:
        """Every system on every data set that it runs on, one data set after the other."""
        return [
            (dataset, system)
            for dataset in self.datasets
            for system in self.systems
            if system.datasets is None or dataset.name in system.datasets
        ]


def read_suite(path: Path) -> Suite:
    """Read a suite.

    Raises:
        InputError: the file cannot be read, or a name or value in it is none that a suite has; it names file and place.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a suite ({error})") from error
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place, hint = _place(first["loc"], content), None
        if first["type"] == "extra_forbidden":
            near = get_close_matches(str(first["loc"][-1]), _names(first["loc"]), 1)
            hint = f"did you mean {near[0]}?" if near else None
            raise InputError(f"{path}: {place}: no such setting", hint=hint) from error
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {place}: {reason}" if place else f"{path}: {reason}") from error
    parse_measures(suite.measures)
    return suite


def _place(loc: Sequence[int | str], content: Mapping[str, Any]) -> str:
    """Where in the file something is wrong: `system 2 ('bm25'), fusion`."""
    if len(loc) < 2 or not isinstance(loc[1], int):
        return ", ".join(map(str, loc))
    entry = content[str(loc[0])][loc[1]]
    name = f" ({entry['name']!r})" if isinstance(entry, dict) and "name" in entry else ""
    return ", ".join([f"{loc[0]} {loc[1] + 1}{name}", *map(str, loc[2:])])


def _names(loc: Sequence[int | str]) -> list[str]:
    """The names that can stand where an unknown one does."""
    if len(loc) == 1:
        return ["measures", "k", "ties", "dataset", "system"]
    return [*(DatasetEntry if loc[0] == "dataset" else SystemEntry).model_fields]

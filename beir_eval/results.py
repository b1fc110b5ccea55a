"""Reads what an evaluation wrote: `results.json`, with the runs beside it."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retrieval.errors import CollectionError

__all__ = ["RESULTS", "Results", "StoredSystem", "read_results"]

RESULTS = "results.json"


class StoredSystem(BaseModel):
    """One system's entry: means, values by query and measure, what it cost, and how it was set."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    name: str
    measures: dict[str, float]
    per_query: dict[str, dict[str, float]]
    cost: dict[str, Any]
    settings: dict[str, Any]


class Results(BaseModel):
    """The content of `results.json`; `per_query` and `queries` (texts) are empty where means were imported."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    split: str
    queries: dict[str, str] = Field(default_factory=dict)
    systems: list[StoredSystem]
    environment: dict[str, Any]


def read_results(folder: Path) -> Results:
    """The results that a folder holds.

    Raises:
        CollectionError: there are none, or the file is not of that form.
    """
    path = folder / RESULTS
    try:
        return Results.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CollectionError(
            f"{folder}: no {RESULTS} here", hint="measure something first: retrieval eval run DATA --out DIR"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CollectionError(
            f"{path}: not the results of an evaluation: {place or 'the file'}: {first['msg']}"
        ) from error

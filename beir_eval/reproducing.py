"""Expected figures, each with the command that gives it, and whether it did: after Pyserini's two-click reproductions.

A file of them is YAML:

    data: ../data                # {data} in the commands; relative to this file, or absolute
    exact: 0.00005               # OK up to this difference: figures of four digits
    close: 0.002                 # close up to this one, else FAIL
    conditions:
      - name: lexical-scifact
        command: run {data}/scifact --using lexical
        expected:
          lexical: {nDCG@10: 0.6863}

A command is one of `retrieval eval`, `run` or `score`, without --out and --measures, which are filled in; `*` in a path
stands for whatever is there. A condition may have an `exact` and a `close` of its own.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from retrieval.beir_eval.measures import parse_measures
from retrieval.beir_eval.results import Results
from retrieval.errors import CollectionError, InputError

__all__ = ["Cell", "Condition", "Conditions", "Verdict", "choose", "judge", "read_conditions", "without_results"]

Verdict = Literal["OK", "close", "FAIL", "skipped"]


Finite = Annotated[float, Field(allow_inf_nan=False)]
Tolerance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Model):
    """A command, and the values that are expected: system → measure → value; its name is that of a folder."""

    name: str = Field(pattern=r"^[^/]*[^/.][^/]*$")
    command: str
    expected: dict[str, Annotated[dict[str, Finite], Field(min_length=1)]] = Field(min_length=1)
    exact: Tolerance | None = None
    close: Tolerance | None = None

    @field_validator("command")
    @classmethod
    def _of_words(cls, command: str) -> str:
        shlex.split(command)  # a quotation without its end is a ValueError
        return command

    def arguments(self, data: Path, out: Path) -> list[str]:
        """The command's words, with paths filled in, and where its results go."""
        words = [word.replace("{data}", str(data)) for word in shlex.split(self.command)]
        measures = dict.fromkeys(name for values in self.expected.values() for name in values)
        return [*_globbed(words), "--out", str(out), "--measures", ",".join(measures)]

    def missing(self, data: Path) -> Path | None:
        """A path below `data` that the command needs and that is not there; None where all are."""
        words = (word.replace("{data}", str(data)) for word in shlex.split(self.command) if "{data}" in word)
        return next((path for path in map(Path, words) if not _matches(path)), None)


class Conditions(_Model):
    """What a file holds, with `data` made absolute."""

    conditions: list[Condition] = Field(min_length=1)
    data: Path = Path()
    exact: Tolerance = 0.00005
    close: Tolerance = 0.002


@dataclass(frozen=True, slots=True)
class Cell:
    """One expected value, and what came; None where there is none, for the reason that is told."""

    condition: str
    system: str
    measure: str
    expected: float
    found: float | None
    verdict: Verdict
    reason: str = ""


def read_conditions(path: Path) -> Conditions:
    """The conditions of a YAML file.

    Raises:
        CollectionError: it cannot be read, is not of that form, or has two conditions of one name.
    """
    import yaml

    try:
        read = Conditions.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CollectionError(f"{path}: cannot be read as YAML ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise CollectionError(f"{path}: {place}: {first['msg']}") from error
    names = [condition.name for condition in read.conditions]
    if twice := [name for name in names if names.count(name) > 1]:
        raise CollectionError(f"{path}: two conditions are called {twice[0]!r}")
    return read.model_copy(update={"data": (path.parent / read.data).resolve()})


def choose(conditions: Sequence[Condition], patterns: Sequence[str]) -> list[Condition]:
    """Those whose names one of the patterns fits, as lexical-*; all without patterns.

    Raises:
        InputError: a pattern fits none.
    """
    names = [condition.name for condition in conditions]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise InputError(f"no condition is called {pattern!r}", hint=f"there are: {', '.join(names)}")
    return [
        condition
        for condition in conditions
        if not patterns or any(fnmatch(condition.name, pattern) for pattern in patterns)
    ]


def judge(condition: Condition, results: Results, tolerances: Conditions) -> list[Cell]:
    """A cell for each expected value: OK, close or FAIL by the difference, FAIL where the value is not there.

    Args:
        condition: what is expected.
        results: what came.
        tolerances: of the file, for a condition without its own.
    """
    exact = tolerances.exact if condition.exact is None else condition.exact
    close = tolerances.close if condition.close is None else condition.close
    found = {(system.name, name): value for system in results.systems for name, value in system.measures.items()}
    return [
        Cell(condition.name, system, name, value, *_verdict(value, found.get((system, _named(name))), exact, close))
        for system, name, value in _expected(condition)
    ]


def _named(measure: str) -> str:
    """A measure as results call it, however it is written."""
    return str(parse_measures([measure])[0])


def without_results(condition: Condition, verdict: Verdict, reason: str) -> list[Cell]:
    """A cell for each expected value of a condition that was not run, or failed."""
    return [Cell(condition.name, *expected, None, verdict, reason) for expected in _expected(condition)]


def _expected(condition: Condition) -> Iterator[tuple[str, str, float]]:
    for system, values in condition.expected.items():
        for name, value in values.items():
            yield system, name, value


def _verdict(expected: float, found: float | None, exact: float, close: float) -> tuple[float | None, Verdict, str]:
    if found is None:
        return None, "FAIL", "the results hold no such system or measure"
    # A difference that is the tolerance but for rounding is within it.
    difference = abs(found - expected) - 1e-12
    return found, "OK" if difference <= exact else "close" if difference <= close else "FAIL", ""


def _globbed(words: Sequence[str]) -> list[str]:
    return [found for word in words for found in (_matches(Path(word)) if "*" in word else [word])]


def _matches(path: Path) -> list[str]:
    """What is there of that name, which may be a pattern."""
    return sorted(str(found) for found in path.parent.glob(path.name))

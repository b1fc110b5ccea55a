"""Jobs of several rounds: each trains the model of the one before, in one folder that holds all of them.

A job is a TOML file. What stands above the rounds holds for all of them, as far as their methods know it:

    model = "minilm"
    data = ["scifact"]
    hold_out = 0.1

    [[round]]
    method = "dense"
    epochs = 2

    [[round]]
    method = "star"
    lr = 3e-5

    [[round]]
    method = "adore"
    model = "@2"                # of round 2; without it, of the round before
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from retrieval.errors import InputError, TrainingError
from retrieval.files import make_folder, write_whole
from retrieval.learning.dense import METHODS, learn, read_data, steps_of
from retrieval.protocols import Progress, silent
from retrieval.training.settings import (
    DataSettings,
    DenseSettings,
    TrainerSettings,
    check_epochs,
    check_least,
    check_negatives,
)

if TYPE_CHECKING:
    from retrieval.training.trainer import Outcome

__all__ = ["Job", "Round", "read_job", "run_job"]

_JOB = "job.json"
_OF_A_ROUND = {"method", "model", "epochs", "steps", "index"}
# Values that may stand for what an earlier round made.
_MODELS = ("model", "ranker", "batch_teacher")


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of a job.

    Attributes:
        method: one of METHODS.
        model: what to begin with; `@N` is what round N made, `@N/ranker` its cross-encoder.
        data: folders and files to learn from.
        given: which of it, and what chooses the model.
        settings: the method's.
        optimising: the trainer's, but for steps.
        epochs: times that each query is seen.
        steps: or batches to learn from.
        index: for ADORE, an index to search.
    """

    method: str
    model: str
    data: tuple[Path, ...]
    given: DataSettings
    settings: DenseSettings
    optimising: TrainerSettings
    epochs: float = 1.0
    steps: int | None = None
    index: Path | None = None

    def __post_init__(self) -> None:
        check_epochs(self.epochs)
        if self.steps is not None:
            check_least(self, 0, "steps")


@dataclass(frozen=True)
class Job:
    """Rounds, in order."""

    rounds: tuple[Round, ...]

    def settings(self) -> list[dict[str, Any]]:
        """All of it, as JSON values; a folder belongs to one job."""
        found: list[dict[str, Any]] = orjson.loads(orjson.dumps([asdict(each) for each in self.rounds], default=str))
        return found


def read_job(path: Path, **changes: Any) -> Job:
    """Read a job; `changes` take the place of what stands above its rounds, but for None.

    Raises:
        InputError: the file cannot be read, or a name or value in it is none that a round can have.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a job ({error})") from error
    rounds = content.pop("round", None)
    if not isinstance(rounds, list) or not rounds or not all(isinstance(each, dict) for each in rounds):
        raise InputError(f"{path}: has no rounds", hint='begin each with [[round]] and a method, as method = "star"')
    content |= {name: value for name, value in changes.items() if value is not None}
    _check_common(content, path)
    return Job(tuple(_round(content, each, number, path) for number, each in enumerate(rounds, 1)))


def _check_common(common: Mapping[str, Any], path: Path) -> None:
    groups = [DataSettings, TrainerSettings, *METHODS.values()]
    known = {field.name for group in groups for field in fields(group)} | _OF_A_ROUND | {"data"}
    _check_names(common, known - {"method"}, f"{path}")
    data = common.get("data")
    if not isinstance(data, list) or not data or not all(isinstance(each, str) for each in data):
        raise InputError(f"{path}: names no list of data", hint='as data = ["scifact"]')


def _round(common: Mapping[str, Any], own: Mapping[str, Any], number: int, path: Path) -> Round:
    place = f"{path}, round {number}"
    method = own.get("method")
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"{place}: no method {method!r}", hint=f"name one of {', '.join(METHODS)}")
    groups = {"settings": METHODS[method], "optimising": TrainerSettings, "given": DataSettings}
    known = {field.name for group in groups.values() for field in fields(group)} | _OF_A_ROUND
    _check_names(own, known, place)
    values = {name: value for name, value in common.items() if name in known} | dict(own)
    before = f"@{number - 1}" if number > 1 else None
    model = own.get("model") or before or common.get("model")
    if not isinstance(model, str):
        raise InputError(f"{place}: names no model", hint='as model = "minilm", above the rounds')
    made = {name: _made(group, values, place) for name, group in groups.items()}
    check_negatives(made["settings"], made["given"])
    single = {name: _value(Round, name, values[name], place) for name in ("epochs", "steps", "index") if name in values}
    try:
        return Round(method=method, model=model, data=tuple(map(Path, common["data"])), **made, **single)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _made(group: type, values: Mapping[str, Any], place: str) -> Any:
    """Settings of a group from what names them; steps are found later."""
    names = [field.name for field in fields(group) if field.name in values and field.name != "steps"]
    try:
        return group(**{name: _value(group, name, values[name], place) for name in names})
    except InputError as error:
        raise InputError(f"{place}: {error}", hint=error.hint) from error


def _value(group: type, name: str, value: Any, place: str) -> Any:
    kind = TypeAdapter(get_type_hints(group)[name], config=ConfigDict(strict=False))
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise InputError(f"{place}: {name} = {value!r}: {error.errors()[0]['msg'].lower()}") from error


def _check_names(values: Mapping[str, Any], known: set[str], place: str) -> None:
    for name in values:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise InputError(f"{place}: no setting {name!r}", hint=f"did you mean {near[0]}?" if near else None)


Told = Callable[[int, Round, "Outcome"], None]


def run_job(
    job: Job, out: Path, *, restart: bool = False, progress: Progress = silent, on_round: Told | None = None
) -> list["Outcome"]:
    """Run the rounds that are not finished; `out/N-METHOD` is the folder of each.

    Args:
        job: what to do.
        out: where; a job that was interrupted goes on there, and another one is refused.
        restart: begin anew with the round that was interrupted.
        progress: told of documents and steps.
        on_round: told of each round when it is done.

    Raises:
        TrainingError: `out` holds another job, or see `learn`.
        InputError: a round asks for what no earlier one made.
    """
    from retrieval.training.gathering import first_alone

    with first_alone(job.rounds[0].optimising.device):
        _claim(job, out)
    outcomes: list[Outcome] = []
    for number, each in enumerate(job.rounds, 1):
        outcome = _finished(_folder(out, number, each)) or _run(job, number, each, out, restart, progress)
        outcomes.append(outcome)
        if on_round:
            on_round(number, each, outcome)
    return outcomes


def _folder(out: Path, number: int, each: Round) -> Path:
    return out / f"{number}-{each.method}"


def _claim(job: Job, out: Path) -> None:
    """Note whose folder it is."""
    path, settings = out / _JOB, job.settings()
    if not path.exists():
        make_folder(out)
        write_whole(path, orjson.dumps(settings, option=orjson.OPT_INDENT_2))
        return
    before = orjson.loads(path.read_bytes())
    if before != settings:
        told = [number for number, (a, b) in enumerate(zip(before, settings, strict=False), 1) if a != b]
        where = f"round {told[0]} differs" if told else f"{len(before)} rounds, not {len(settings)}"
        raise TrainingError(
            f"{out}: holds another job: {where}; see {path.name}", hint="go on with that one, or name a new folder"
        )


def _run(job: Job, number: int, each: Round, out: Path, restart: bool, progress: Progress) -> "Outcome":
    others: dict[str, Any] = _resolved(each.settings, job, number, out)
    each = replace(each, model=_made_by(each.model, job, number, out), settings=replace(each.settings, **others))
    training, sets = read_data(each.data, each.given, each.settings.seed)
    steps = steps_of(each.epochs, training, each.settings.batch) if each.steps is None else each.steps
    corpus = each.data[0] if len(each.data) == 1 and each.data[0].is_dir() else None
    return learn(
        each.method,
        each.model,
        training,
        sets,
        each.settings,
        replace(each.optimising, steps=steps),
        _folder(out, number, each),
        corpus=corpus,
        index=each.index,
        restart=restart,
        progress=progress,
    )


def _resolved(settings: DenseSettings, job: Job, number: int, out: Path) -> dict[str, str]:
    given = {name: getattr(settings, name, None) for name in _MODELS}
    return {name: _made_by(value, job, number, out) for name, value in given.items() if value}


def _made_by(model: str, job: Job, number: int, out: Path) -> str:
    """The folder that `@N` or `@N/ranker` stands for; any other name is itself."""
    if not model.startswith("@"):
        return model
    of, _, part = model[1:].partition("/")
    if not of.isdigit() or not 1 <= int(of) < number or part not in ("", "ranker"):
        raise InputError(f"round {number}: {model!r} is no model of an earlier round", hint="as @1, or @1/ranker")
    return str(_folder(out, int(of), job.rounds[int(of) - 1]) / "model" / part)


def _finished(folder: Path) -> "Outcome | None":
    """What a finished round came to."""
    from retrieval.training.checkpoints import Checkpoints
    from retrieval.training.trainer import Outcome

    if not (folder / "model").exists():
        return None
    return Outcome(folder / "model", *Checkpoints.last(folder / "checkpoints"))

"""How one expert of a router is trained: its domain, its data and its index meet the trainer."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from re import fullmatch
from typing import TYPE_CHECKING, Any

import orjson

from retrieval.errors import InputError, TrainingError
from retrieval.files import make_folder, sha256_of, write_whole
from retrieval.learning.dense import each_epoch, read_data, steps_of
from retrieval.learning.indexed import IndexedDocuments, index_of
from retrieval.learning.routers.pilots import note_queries
from retrieval.protocols import Progress, silent
from retrieval.routing.experts import BASE_NAME, adapters_of
from retrieval.routing.manifest import NAME, Expert
from retrieval.training.expert_settings import ExpertSettings
from retrieval.training.settings import DataSettings, TrainerSettings

if TYPE_CHECKING:
    from retrieval.training.data import TrainingData
    from retrieval.training.dev import DevSet
    from retrieval.training.trainer import Outcome

__all__ = ["Domain", "Making", "Told", "domains_of", "trained_expert"]

_EXPERT = "expert.json"

Told = Callable[[str, "Outcome"], None]
"""Hears of an expert, by its name, when it has been trained."""


@dataclass(frozen=True)
class Domain:
    """What an expert is trained on: a folder in BEIR's layout, files of its hard negatives, and perhaps its index."""

    folder: Path
    negatives: tuple[Path, ...] = ()
    index: Path | None = None

    @property
    def name(self) -> str:
        """What the expert is called."""
        return self.folder.resolve().name


@dataclass(frozen=True, kw_only=True)
class Making:
    """How experts are trained.

    Attributes:
        settings: the method's.
        optimising: the trainer's, but for steps.
        given: which data, and what chooses the model.
        epochs: times that each query is seen.
        steps: or batches to learn from.
    """

    settings: ExpertSettings = field(default_factory=ExpertSettings)
    optimising: TrainerSettings = field(default_factory=lambda: TrainerSettings(lr=1e-4))
    given: DataSettings = field(default_factory=DataSettings)
    epochs: float = 1.0
    steps: int | None = None


def domains_of(folders: Sequence[Path], negatives: Sequence[Path] = (), indexes: Sequence[Path] = ()) -> list[Domain]:
    """Folders, with a file of negatives each or none, and with an index each, one for all, or none.

    Raises:
        InputError: there is no folder, one is none, two have one name, or the numbers do not go together.
    """
    if not folders:
        raise InputError("a router needs experts", hint="name the folders of their domains")
    if len(negatives) not in (0, len(folders)):
        raise InputError(f"{len(folders)} folders, and {len(negatives)} files of negatives", hint="give one for each")
    if len(indexes) not in (0, 1, len(folders)):
        raise InputError(f"{len(folders)} folders, and {len(indexes)} indexes", hint="give one for all, or for each")
    own = [None] * len(folders) if not indexes else [*indexes] * (len(folders) // len(indexes))
    made = [Domain(folder, tuple(negatives[place : place + 1]), own[place]) for place, folder in enumerate(folders)]
    names = [domain.name for domain in made]
    for domain in made:
        _check(domain, names)
    return made


def _check(domain: Domain, names: Sequence[str]) -> None:
    if not domain.folder.is_dir():
        raise InputError(f"{domain.folder}: no folder, which a domain must be, in BEIR's layout")
    if names.count(domain.name) > 1:
        raise InputError(f"two experts would be called {domain.name!r}", hint="rename one of the folders")
    if domain.name == BASE_NAME or not fullmatch(NAME, domain.name):
        raise InputError(f"no expert can be called {domain.name!r}", hint="rename the folder: letters, digits, . + -")


def trained_expert(
    domain: Domain,
    model: str,
    making: Making,
    out: Path,
    *,
    progress: Progress = silent,
    on_expert: Told | None = None,
) -> Expert:
    """An expert of a router's folder, trained now or by an earlier run, which goes on where it was.

    Raises:
        TrainingError: one was begun there with other settings; see also `retrieval.training.trainer.train`.
        CollectionError, CorpusError: the domain's data cannot be read.
        InputError, ModelError: see `retrieval.learning.dense.learn`.
    """
    data, sets = read_data([domain.folder], replace(making.given, negatives=[*domain.negatives]), making.settings.seed)
    _claim(out / "experts" / domain.name, _about(domain, model, making, data.fingerprint()))
    if not adapters_of(out, domain.name).exists():
        outcome = _train(domain, model, data, sets, making, out, progress)
        if on_expert:
            on_expert(domain.name, outcome)
    note_queries(out, domain.name, [example.id for example in data.examples])
    return Expert(
        name=domain.name,
        data=str(domain.folder.resolve()),
        split=making.given.split,
        index=str(domain.index.resolve()) if domain.index else f"indexes/{domain.name}",
        queries=len(data.examples),
        sha256=sha256_of(adapters_of(out, domain.name)),
    )


def _about(domain: Domain, model: str, making: Making, data: str) -> dict[str, Any]:
    """All that decides an expert, as JSON values; `data` is a digest of what it learns from."""
    places = {
        "folder": domain.folder.resolve(),
        "negatives": [path.resolve() for path in domain.negatives],
        "index": domain.index and domain.index.resolve(),
    }
    decided = {**asdict(making), "optimising": making.optimising.deciding(), "model": model, "data": data}
    values = {**decided, **places}
    found: dict[str, Any] = orjson.loads(orjson.dumps(values, default=str))
    return found


def _claim(folder: Path, about: dict[str, Any]) -> None:
    """Note how the expert is trained; one that was begun otherwise is an error."""
    file = folder / _EXPERT
    if not file.exists():
        make_folder(folder)
        write_whole(file, orjson.dumps(about, option=orjson.OPT_INDENT_2))
        return
    before = orjson.loads(file.read_bytes())
    if differing := [name for name in about if before.get(name) != about[name]]:
        told = "; ".join(f"{name} was {before.get(name)!r} and is {about[name]!r}" for name in differing)
        raise TrainingError(
            f"{folder}: holds an expert with other settings: {told}",
            hint="give the same options to go on with it, or delete that folder to begin the expert anew",
        )


def _train(
    domain: Domain,
    model: str,
    data: "TrainingData",
    sets: Sequence["DevSet"],
    making: Making,
    out: Path,
    progress: Progress,
) -> "Outcome":
    from retrieval.encoders.neural.dual import DualEncoder
    from retrieval.training.recipes.expert import ExpertRecipe
    from retrieval.training.recipes.query_side import frozen_evaluator
    from retrieval.training.trainer import train

    folder, device = out / "experts" / domain.name, making.optimising.device
    encoder = DualEncoder.load(model, device=device)
    opened = index_of(encoder, out / "indexes" / domain.name, domain.folder, domain.index, progress)
    documents = IndexedDocuments(opened, data.ids)
    recipe = ExpertRecipe(encoder, data, making.settings, index=documents, folder=folder, progress=progress)
    steps = steps_of(making.epochs, data, making.settings.batch)
    optimising = replace(making.optimising, steps=steps if making.steps is None else making.steps)
    if not sets:
        return train(recipe, optimising, folder, progress=progress)
    recipe.origin["dev"] = [dev.fingerprint() for dev in sets]
    evaluate = frozen_evaluator(encoder, data, documents, sets)
    return train(
        recipe, each_epoch(optimising, data, making.settings.batch), folder, evaluate=evaluate, progress=progress
    )

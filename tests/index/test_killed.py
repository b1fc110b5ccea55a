"""A change that is killed has not happened or has happened, and can be gone on with."""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from retrieval.errors import ArtifactMissingError
from retrieval.indexing import Index
from retrieval.types import Document
from tests.index.changing import ADDED, BUILT, answers, document, quick_folder
from tests.index.killing import BLOCK, CORPUS, Done, Killer

CHANGES = ("overwrite", "add", "replace", "delete", "compact")
JOBS = ("build", "restart", *CHANGES)


def filled(documents: list[Document]) -> int:
    """How many documents an encoder sees."""
    return sum(1 for one in documents if one.contents)


@dataclass(frozen=True)
class Case:
    """A job on what stands at a path.

    Attributes:
        job: its name.
        start: a copy of what stands there before; None where nothing does.
        before: answers of the index that stands there; None where none does.
        after: answers of the index that an undisturbed job makes of it.
        generation: of that index.
        done: how the undisturbed job went.
    """

    job: str
    start: Path | None
    before: dict[str, Any] | None
    after: dict[str, Any]
    generation: int
    done: Done


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where all of it happens."""
    with quick_folder() as path:
        yield path


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """Does jobs and kills them."""
    with Killer() as one:
        yield one


@pytest.fixture(scope="module")
def starts(folder: Path, killer: Killer) -> dict[str, Path]:
    """An index of two segments, some documents deleted; and what a build leaves that was killed at work."""
    index = Index.build(CORPUS, folder / "index", **BUILT)
    index = index.add([document(number) for number in range(100, 105)], **ADDED)
    index = index.delete(["d1", "d2", "d102"])
    assert len(index.manifest.segments) == 2
    steps = killer.run("build", folder / "steps").steps
    assert killer.run("build", folder / "interrupted", at=steps // 2).killed
    assert (folder / "interrupted" / "building" / "journal.json").is_file()
    return {"restart": folder / "interrupted", **dict.fromkeys(CHANGES, folder / "index")}


@pytest.fixture(scope="module")
def cases(folder: Path, killer: Killer, starts: dict[str, Path]) -> Callable[[str], Case]:
    """What each job does undisturbed."""
    made: dict[str, Case] = {}

    def case(job: str) -> Case:
        if job not in made:
            start = starts.get(job)
            path = place(folder / "undisturbed" / job, start)
            before = answers(Index.open(path)) if (path / "manifest.json").exists() else None
            done = killer.run(job, path)
            assert done.error is None
            index = Index.open(path)
            assert index.problems() == []
            made[job] = Case(job, start, before, answers(index), index.manifest.generation, done)
        return made[job]

    return case


def place(path: Path, start: Path | None) -> Path:
    """Put a copy of what stood there at a path, without what a job made of it."""
    shutil.rmtree(path, ignore_errors=True)
    if start:
        shutil.copytree(start, path)
    return path


def check_killed(case: Case, path: Path) -> bool:
    """Nothing is there that is not whole; whether the change has happened."""
    try:
        index = Index.open(path)
    except ArtifactMissingError:
        assert case.before is None
        return False
    assert index.problems() == []
    happened = index.manifest.generation == case.generation
    assert answers(index) == (case.after if happened else case.before)
    return happened


def check_finished(case: Case, path: Path) -> None:
    """It is what the undisturbed job makes, and nothing else is left."""
    index = Index.open(path)
    assert index.problems() == []
    assert answers(index) == case.after
    folders = {index.manifest.folder, *(segment.name for segment in index.manifest.segments)}
    assert {inside.name for inside in path.iterdir()} == {".lock", "manifest.json", *folders}


def kill_and_go_on(
    case: Case, path: Path, killer: Killer, *, after: float | None = None, at: int | None = None
) -> Done:
    """Kill a job, check what it left, do it again, and check what that made; says how the killed one went."""
    place(path, case.start)
    killed = killer.run(case.job, path, after=after, at=at)
    if not killed.killed:
        return killed
    if check_killed(case, path):
        Index.open(path).compact()  # as any writer does, it removes what the killed one left
    else:
        # To say it twice that work is to be discarded would discard what the killed one did.
        again = killer.run("build" if case.job == "restart" else case.job, path)
        assert again.error is None
        assert killed.encoded + again.encoded <= case.done.encoded + BLOCK
        assert killed.shards + again.shards <= case.done.shards + 1
    check_finished(case, path)
    return killed


def some_moments(seed: str) -> Iterator[float]:
    """Shares of a duration, at random, one in each tenth before one is in the same tenth again."""
    rng = random.Random(seed)
    for _ in range(10):
        yield from ((tenth + rng.random()) / 10 for tenth in rng.sample(range(10), 10))


@pytest.mark.parametrize(("job", "kills"), [("build", 20), *((job, 5) for job in CHANGES)])
def test_killed_at_any_moment(job: str, kills: int, folder: Path, killer: Killer, cases: Callable[[str], Case]) -> None:
    """There is no index, the old or the new; done again, the job goes on and makes what it would have made."""
    case = cases(job)
    for share in some_moments(job):
        kills -= kill_and_go_on(case, folder / job, killer, after=share * case.done.seconds).killed
        if not kills:
            return
    pytest.fail("the job was done sooner than it was killed")


@pytest.mark.parametrize("job", JOBS)
def test_killed_before_any_step(job: str, folder: Path, killer: Killer, cases: Callable[[str], Case]) -> None:
    """The same, right before a file or folder is made, renamed or removed, from the first to the last."""
    case = cases(job)
    rng, kills = random.Random(job), 12
    for number in range(kills):
        at = 1 + int((number + rng.random()) / kills * case.done.steps)
        kill_and_go_on(case, folder / job, killer, at=at)


@pytest.mark.parametrize("job", ["build", "add"])
def test_killed_again_and_again(job: str, folder: Path, killer: Killer, cases: Callable[[str], Case]) -> None:
    """Each time it comes further, and no more is done twice than one shard or block for each kill."""
    case = cases(job)
    path = place(folder / "again", case.start)
    runs: list[Done] = []
    while not (runs and check_killed(case, path)):
        runs.append(killer.run(job, path, at=case.done.steps // 4 + 5 * len(runs)))
        assert runs[-1].error is None
    assert len(runs) > 2
    assert sum(run.encoded for run in runs) <= case.done.encoded + BLOCK * len(runs)
    assert sum(run.shards for run in runs) <= case.done.shards + len(runs)
    Index.open(path).compact()  # as any writer does, it removes what the last one left if it was killed
    check_finished(case, path)

"""Suites are run: every index and every cell that is not finished, some at a time, each in a process of its own."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from typing import Any

import orjson

from retrieval.beir_eval.results import RESULTS, read_results
from retrieval.beir_eval.suites import Suite
from retrieval.building import differences
from retrieval.errors import ArtifactExistsError, CollectionError, RetrievalError
from retrieval.evaluating.cells import Cell, IndexJob, Recipe, recipe_of
from retrieval.evaluating.inputs import changes
from retrieval.evaluating.places import Place
from retrieval.index.storage.lock import WriterLock
from retrieval.protocols import Progress, silent

__all__ = ["cells_of", "run_suite"]

# Seconds between two words of a process about the same work.
_BETWEEN = 0.2

Job = IndexJob | Cell


def cells_of(suite: Suite, place: Place) -> list[Cell]:
    """The cells of a suite; systems of a data set share an index wherever one serves them."""
    indexes: dict[str, list[Recipe]] = {}
    pairs = suite.cells()
    wanted = [recipe_of(system, dataset, place) for dataset, system in pairs]
    # Those of most parts first: what asks for one of them then finds it there, and none is made twice.
    needed = [(dataset.name, recipe) for (dataset, _), recipe in zip(pairs, wanted, strict=True) if recipe]
    for name, one in sorted(needed, key=lambda need: -need[1].parts):
        indexes[name] = _shared(indexes.get(name, []), one)
    cells = []
    for (dataset, system), recipe in zip(pairs, wanted, strict=True):
        index = None
        if recipe:
            serving = next(each for each in indexes[dataset.name] if each.with_other(recipe) == each)
            index = IndexJob(dataset=dataset, recipe=serving, place=place)
        measures = tuple(suite.measures)
        cells.append(
            Cell(
                dataset=dataset, system=system, place=place, measures=measures, k=suite.k, ties=suite.ties, index=index
            )
        )
    return cells


def _shared(recipes: list[Recipe], recipe: Recipe) -> list[Recipe]:
    """The recipes, of which the first that can has come to serve one more; or with that behind them."""
    for place, each in enumerate(recipes):
        if both := each.with_other(recipe):
            return [*recipes[:place], both, *recipes[place + 1 :]]
    return [*recipes, recipe]


def run_suite(
    cells: list[Cell],
    *,
    jobs: int = 1,
    progress: Progress = silent,
    on_cell: Callable[[Cell, bool], None] = lambda cell, is_new: None,
) -> None:
    """Run the cells that are not finished; a cell that fails does not keep the others from running.

    An index that cannot be built fails the cells that share it.

    Args:
        cells: of one suite.
        jobs: how many processes work side by side. Times are those of a machine that is busy with all of them.
        progress: told of cells that are done, and of what each process is at.
        on_cell: told of each cell that is done, and whether it was run now.

    Raises:
        ArtifactExistsError: results of other settings, data or models are there, and `overwrite` is not set.
        ArtifactLockedError: another process runs a suite into the same folder.
        RetrievalError: what the first cell that failed came upon, once all others are done.
    """
    out = cells[0].place.out
    out.mkdir(parents=True, exist_ok=True)
    with WriterLock(out):
        finished = [cell for cell in cells if is_finished(cell)]
        for cell in finished:
            on_cell(cell, False)
        _run([cell for cell in cells if cell not in finished], len(finished), jobs, progress, on_cell)


def _run(cells: list[Cell], done: int, jobs: int, progress: Progress, on_cell: Callable[[Cell, bool], None]) -> None:
    """Run cells, of which there are `done` more."""
    total, schedule = done + len(cells), _Schedule.of(cells)
    progress("cells", done, total)
    with _listening(progress) as tell, ThreadPoolExecutor(jobs) as hands:
        running: dict[Future[None], Job] = {}
        while schedule.ready or running:
            while schedule.ready and len(running) < jobs:
                job = schedule.ready.pop(0)
                running[hands.submit(_apart, job, tell)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                schedule.note(job, future.exception())
                if isinstance(job, Cell) and future.exception() is None:
                    done += 1
                    on_cell(job, True)
                    progress("cells", done, total)
    schedule.report()


def is_finished(cell: Cell) -> bool:
    """Whether a cell's results are there; an error if they are of other settings, data or models than these now.

    With `overwrite` they are not finished, nor are results that cannot be read.
    """
    if not (cell.folder / RESULTS).is_file():
        return False
    try:
        environment = read_results(cell.folder).environment
    except CollectionError as error:
        if cell.place.overwrite:
            return False
        raise CollectionError(str(error), hint="name another --out, or replace them: --overwrite") from error
    asked = orjson.loads(orjson.dumps(cell.asked))
    if told := "; ".join(differences(environment.get("suite"), asked, "suite")):
        other = f"results of other settings: {told}"
    elif changed := changes(environment.get("inputs", {}), cell.inputs):
        other = f"measured before these changed: {', '.join(changed)}"
    else:
        return True
    if cell.place.overwrite:
        return False
    raise ArtifactExistsError(f"{cell.folder}: {other}", hint="name another --out, or replace them: --overwrite")


@dataclass
class _Schedule:
    """Jobs that can be done now, cells that wait for their index, and what went wrong."""

    ready: list[Job]
    waiting: list[Cell]
    failed: list[tuple[str, BaseException]] = field(default_factory=list)

    @classmethod
    def of(cls, cells: list[Cell]) -> "_Schedule":
        indexes: list[Job] = list(dict.fromkeys(cell.index for cell in cells if cell.index))
        return cls([*(cell for cell in cells if cell.index is None), *indexes], [cell for cell in cells if cell.index])

    def note(self, job: Job, error: BaseException | None) -> None:
        """A job is done: cells that waited for it come first, so that a data set is finished before the next."""
        freed = [cell for cell in self.waiting if cell.index == job]
        self.waiting = [cell for cell in self.waiting if cell.index != job]
        if error is None:
            self.ready[:0] = freed
        else:
            names = [cell.name for cell in freed] or [job.name if isinstance(job, Cell) else job.dataset.name]
            self.failed += [(name, error) for name in names]

    def report(self) -> None:
        """An error if there was one."""
        if not self.failed:
            return
        name, error = self.failed[0]
        if not isinstance(error, RetrievalError):
            raise error
        others = f"; {len(self.failed) - 1} more failed" if len(self.failed) > 1 else ""
        raise RetrievalError(f"{name}: {error}{others}", hint=error.hint) from error


def _apart(job: Job, tell: Any) -> None:
    """Do a job in a new process."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    try:
        with ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(tell,)) as process:
            process.submit(_do, job).result()
    except BrokenProcessPool as error:
        raise RetrievalError(
            "its process was killed, as happens where memory ends", hint="run it again, with fewer --jobs"
        ) from error


_tell: Any = None


def _begin(tell: Any) -> None:
    """What a new process does first."""
    global _tell
    _tell = tell
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process whose parent was killed would hold the locks of what the next run is to go on with."""
    parent = parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _do(job: Job) -> None:
    last: dict[str, float] = {}

    def told(stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if done == total or now - last.get(stage, 0.0) >= _BETWEEN:
            last[stage] = now
            _tell.put((f"{job.dataset.name}: {stage}", done, total))

    job.run(told)


@contextmanager
def _listening(progress: Progress) -> Iterator[Any]:
    """A queue on which processes tell of their work, while someone passes it on."""
    queue: Any = get_context("forkserver").SimpleQueue()

    def listen() -> None:
        while (word := queue.get()) is not None:
            progress(*word)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield queue
    finally:
        queue.put(None)
        listener.join()

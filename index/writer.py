"""Changes to an artifact: one writer at a time, and nothing of its work is visible before one rename."""

import re
import shutil
from contextlib import ExitStack
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

from retrieval.errors import ArtifactDamagedError, ArtifactExistsError, ArtifactMissingError, ArtifactVersionError
from retrieval.files import sync_folder, sync_tree
from retrieval.index.artifact import Artifact
from retrieval.index.journal import JOURNAL, WORK, Journal
from retrieval.index.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from retrieval.index.storage.lock import LOCK, WriterLock

__all__ = ["ArtifactWriter", "Place"]

_FOLDERS = re.compile(rf"(segment|generation)-(\d+)|{WORK}")


class Place(Enum):
    """What a writer expects at its path."""

    NEW = auto()
    NEW_OR_INDEX = auto()
    INDEX = auto()


class ArtifactWriter:
    """Holds the lock of an artifact while a change is prepared and committed.

    Use as a context manager: leaving it removes what was prepared and not committed, but for work that a journal keeps.

    Attributes:
        path: of the artifact.
        base: what is there, for a change of it.
    """

    def __init__(self, path: Path, place: Place) -> None:
        self.path = path
        self._place = place

    def __enter__(self) -> Self:
        self._check_place()
        self._created = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(WriterLock(self.path))
            self._check_place()  # again: another writer may have committed before the lock was free
            self.sweep()
            self.base: Artifact | None = Artifact.open(self.path) if self._place is Place.INDEX else None
            self.generation = 1 + max(self._numbers("generation"), default=0)
            self._held = stack.pop_all()
        return self

    def _check_place(self) -> None:
        there = (self.path / MANIFEST).is_file()
        if self._place is Place.INDEX:
            read_manifest(self.path)
        elif there and self._place is Place.NEW:
            raise ArtifactExistsError(f"{self.path} already holds an index", hint="replace it with --overwrite")
        elif self.path.exists() and (others := _others(self.path)):
            raise ArtifactExistsError(
                f"{self.path} is there and is not just an index: it holds {', '.join(others[:3])}",
                hint="name a new or an empty folder",
            )
        if (self.path / WORK).is_file():
            raise ArtifactExistsError(f"{self.path / WORK} is no folder", hint="name a new or an empty folder")

    def _numbers(self, kind: str) -> list[int]:
        found = (_FOLDERS.fullmatch(inside.name) for inside in self.path.iterdir())
        return [int(match[2]) for match in found if match and match[1] == kind]

    @property
    def work(self) -> Path:
        """The folder of a build's journal, and of what is needed until its commit."""
        return self.path / WORK

    def new_work_folder(self, name: str) -> Path:
        """Make a folder that is needed until the commit, empty if it was there."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def new_segment(self) -> str:
        """Make a folder for a segment."""
        name = f"segment-{1 + max(self._numbers('segment'), default=0)}"
        (self.path / name).mkdir()
        return name

    def new_generation(self) -> Path:
        """Make the folder of the generation that will be committed."""
        folder = self.path / f"generation-{self.generation}"
        folder.mkdir()
        return folder

    def commit(self, manifest: Manifest) -> None:
        """Make what the manifest names the content of the artifact, and remove the rest."""
        before = {segment.name for segment in self.base.manifest.segments} if self.base else set()
        for name in {manifest.folder, *(segment.name for segment in manifest.segments)} - before:
            sync_tree(self.path / name)
        sync_folder(self.path)
        write_manifest(self.path, manifest)
        self.sweep()

    def discard(self) -> None:
        """Give up the work that a journal keeps."""
        # The journal goes first: without it, a half-removed rest means nothing.
        (self.work / JOURNAL).unlink(missing_ok=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the folders that belong neither to the committed artifact nor to work that a journal keeps."""
        try:
            manifest = read_manifest(self.path)
        except ArtifactMissingError:
            manifest = None
        except (ArtifactDamagedError, ArtifactVersionError):
            return  # what cannot be read is kept until something is committed in its place
        journal = Journal.read(self.path)
        named = {manifest.folder, *(segment.name for segment in manifest.segments)} if manifest else set()
        if journal and not (manifest and manifest.work == journal.work):
            named |= {WORK, journal.segment}
        else:
            self.discard()
        for inside in self.path.iterdir():
            if inside.is_dir() and _FOLDERS.fullmatch(inside.name) and inside.name not in named:
                shutil.rmtree(inside)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.base = None
        with self._held:
            if error is None:
                return
            try:
                self.sweep()
                if self._created and [inside.name for inside in self.path.iterdir()] == [LOCK]:
                    shutil.rmtree(self.path)
            except OSError:
                pass  # what goes wrong here must not hide the error that led here; the next writer sweeps again


def _others(path: Path) -> list[str]:
    """What stands at a path beside an index or a part of one."""
    if not path.is_dir():
        return [path.name]
    names = sorted(inside.name for inside in path.iterdir())
    ours = {MANIFEST, LOCK, f".{MANIFEST}.new"}
    # Folders of these names may be anybody's; a writer leaves its lock beside them first, and a copy has a manifest.
    if LOCK not in names and not _is_index(path):
        return names
    return [name for name in names if name not in ours and not _FOLDERS.fullmatch(name)]


def _is_index(path: Path) -> bool:
    try:
        read_manifest(path)
    except (ArtifactMissingError, ArtifactDamagedError, ArtifactVersionError):
        return False
    return True

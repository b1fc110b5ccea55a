"""One index on disk: written beside, committed by one rename, opened as memory maps.

DIR/manifest.json        what is there; replacing it is the commit
DIR/generation-N/        documents.arrow, lexical/, dense/: never changed once committed
"""

import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from pydantic import ValidationError

from retrieval.errors import ArtifactDamagedError, ArtifactExistsError, ArtifactMissingError, ArtifactVersionError
from retrieval.files import sha256_of, sync_folder, sync_tree, write_whole
from retrieval.index.arrays import damaged
from retrieval.index.dense.searcher import DenseSearcher
from retrieval.index.documents import DocumentReader
from retrieval.index.lexical.searcher import LexicalSearcher
from retrieval.index.lock import LOCK, WriterLock
from retrieval.index.manifest import FORMAT, FileEntry, Manifest

__all__ = ["Artifact", "ArtifactWriter", "read_manifest"]

_MANIFEST = "manifest.json"
_FOLDER = "generation-"


def read_manifest(path: Path) -> Manifest:
    """The manifest of the artifact at `path`; an error if there is none, or none that this version can read."""
    file = path / _MANIFEST
    if not file.is_file():
        raise ArtifactMissingError(f"no index at {path}", hint="build one: retrieval index build CORPUS --out DIR")
    try:
        content = orjson.loads(file.read_bytes())
        written = content["format"]
        if isinstance(written, int) and written > FORMAT:
            raise ArtifactVersionError(
                f"{file}: written in format {written}, this version reads up to {FORMAT}",
                hint="pip install --upgrade retrieval-engine",
            )
        return Manifest.model_validate(content)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise damaged(file, f"not a manifest ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise damaged(file, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _is_ours(path: Path) -> bool:
    """Whether a folder is empty or holds an index, or a part of one, and nothing else."""
    names = {inside.name for inside in path.iterdir()} if path.is_dir() else {path.name}
    others = names - {_MANIFEST, LOCK, f".{_MANIFEST}.new"}
    # Folders and manifests of these names may be anybody's; a writer leaves its lock beside them first.
    return not names or (LOCK in names and all(re.fullmatch(rf"{_FOLDER}\d+", name) for name in others))


class ArtifactWriter:
    """Gathers the files of a new generation; nothing of it is visible before `commit`, or after a failure.

    Use as a context manager: leaving it without a commit removes what was gathered.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self._path = path
        self._overwrite = overwrite
        self._committed = False

    def __enter__(self) -> Self:
        self._check_place()
        self._created = not self._path.exists()
        self._path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(WriterLock(self._path))
            self._check_place()  # again: another writer may have committed before the lock was free
            # Folders that the commit replaces: of the index that was, or of a build that was interrupted.
            self._old = [folder for folder in self._path.iterdir() if folder.is_dir()]
            self._generation = 1 + max((int(folder.name.removeprefix(_FOLDER)) for folder in self._old), default=0)
            self.folder = self._path / f"{_FOLDER}{self._generation}"
            self.folder.mkdir()
            self._held = stack.pop_all()
        return self

    def _check_place(self) -> None:
        """Nothing may be at the path but an index that may be replaced, or what a killed build left."""
        if (self._path / _MANIFEST).is_file() and not self._overwrite:
            raise ArtifactExistsError(f"{self._path} already holds an index", hint="replace it with --overwrite")
        if self._path.exists() and not _is_ours(self._path):
            raise ArtifactExistsError(
                f"{self._path} is there and is not just an index", hint="name a new or an empty folder"
            )

    def commit(self, **fields: Any) -> Manifest:
        """Make the gathered files the artifact's content; `fields` are the manifest's, but for those of this class."""
        files = {
            str(file.relative_to(self.folder)): FileEntry(bytes=file.stat().st_size, sha256=sha256_of(file))
            for file in sorted(self.folder.rglob("*"))
            if file.is_file()
        }
        manifest = Manifest(generation=self._generation, folder=self.folder.name, files=files, **fields)
        sync_tree(self.folder)
        sync_folder(self._path)
        content = orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2)
        write_whole(self._path / _MANIFEST, content + b"\n")
        self._committed = True
        for folder in self._old:
            shutil.rmtree(folder)
        return manifest

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            if not self._committed:
                # Whatever goes wrong here must not hide the error that led here, nor touch what is another's.
                shutil.rmtree(self.folder, ignore_errors=True)
                if self._created and [inside.name for inside in self._path.iterdir()] == [LOCK]:
                    shutil.rmtree(self._path, ignore_errors=True)


def _check_sizes(path: Path, manifest: Manifest) -> None:
    for name, entry in manifest.files.items():
        file = path / manifest.folder / name
        try:
            size = file.stat().st_size
        except OSError as error:
            raise damaged(file, "is missing") from error
        if size != entry.bytes:
            raise damaged(file, f"has {size} bytes, expected {entry.bytes}")


def _reopen(kind: type["Artifact"], path: Path, generation: int) -> "Artifact":
    artifact = kind.open(path)
    if artifact.manifest.generation != generation:
        raise ArtifactMissingError(f"{path} has been replaced since", hint="open it again where it is needed")
    return artifact


class Artifact:
    """An index opened for reading: `documents`, and whichever of `lexical` and `dense` it was built with."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        folder = path / manifest.folder
        self.documents = DocumentReader(folder)
        self.lexical: LexicalSearcher | None = None
        self.dense: DenseSearcher | None = None
        if part := manifest.lexical:
            self.lexical = LexicalSearcher(folder / "lexical", part.analyzer, manifest.documents)
        if dense := manifest.dense:
            self.dense = DenseSearcher(folder / "dense", dense.similarity, dense.largest_norm, manifest.documents)
        self._check_counts()

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the artifact at `path`, checking its version and the size of every file, but not their checksums.

        What was opened stays as it is, whatever a writer commits later.
        """
        path = Path(path)
        manifest = read_manifest(path)
        while True:
            try:
                _check_sizes(path, manifest)
                return cls(path, manifest)
            except ArtifactDamagedError:
                newer = read_manifest(path)
                if newer.generation == manifest.generation:
                    raise
                manifest = newer  # a writer replaced the files between the manifest and them

    def _check_counts(self) -> None:
        folder = self.path / self.manifest.folder
        if len(self.documents) != self.manifest.documents:
            reason = f"holds {len(self.documents)} documents, expected {self.manifest.documents}"
            raise damaged(folder / "documents.arrow", reason)
        dense = self.manifest.dense
        if dense and self.dense and (self.dense.n_vectors, self.dense.dimensions) != (dense.vectors, dense.dimensions):
            raise damaged(folder / "dense" / "vectors.npy", f"is not {dense.vectors} × {dense.dimensions}")

    def __len__(self) -> int:
        return self.manifest.documents

    def __reduce__(self) -> tuple[object, ...]:
        # Another process opens the files for itself, and shares their pages.
        return _reopen, (type(self), self.path.resolve(), self.manifest.generation)

    @property
    def parts(self) -> list[str]:
        """The kinds of index it holds."""
        return [name for name in ("lexical", "dense") if getattr(self.manifest, name)]

    @property
    def bytes(self) -> int:
        """Size of its files on disk."""
        return sum(entry.bytes for entry in self.manifest.files.values())

    def problems(self) -> list[str]:
        """Read every file, and name what is not as it was written, or does not fit the rest.

        Checksums are compared first; only what has the right one is looked into.
        """
        folder = self.path / self.manifest.folder
        altered = [
            f"{folder / name}: its checksum is not the manifest's"
            for name, entry in self.manifest.files.items()
            if not (folder / name).is_file() or sha256_of(folder / name) != entry.sha256
        ]
        parts = [part for part in (self.documents, self.lexical, self.dense) if part is not None]
        return altered or [problem for part in parts for problem in part.problems()]

"""One index on disk: written beside, committed by one rename, opened as memory maps.

DIR/manifest.json        what is there; replacing it is the commit
DIR/generation-N/        documents.arrow, lexical/, dense/: never changed once committed
"""

import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from pydantic import ValidationError

from retrieval.errors import ArtifactExistsError, ArtifactMissingError, ArtifactVersionError
from retrieval.index.dense.searcher import DenseSearcher
from retrieval.index.documents import DocumentReader
from retrieval.index.files import damaged, sha256_of, sync_folder, sync_tree, write_whole
from retrieval.index.lexical.searcher import LexicalSearcher
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
    return path.name in (_MANIFEST, f".{_MANIFEST}.new") or re.fullmatch(rf"{_FOLDER}\d+", path.name) is not None


class ArtifactWriter:
    """Gathers the files of a new generation; nothing of it is visible before `commit`, or after a failure.

    Use as a context manager: leaving it without a commit removes what was gathered.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self._path = path
        self._created = not path.exists()
        self._committed = False
        self._old = self._earlier_generations(overwrite)
        self._generation = 1 + max((int(folder.name.removeprefix(_FOLDER)) for folder in self._old), default=0)
        self.folder = path / f"{_FOLDER}{self._generation}"

    def _earlier_generations(self, overwrite: bool) -> list[Path]:
        """Folders that the commit replaces: of an index, if that is allowed, or of a build that was interrupted."""
        if self._created:
            return []
        if (self._path / _MANIFEST).is_file() and not overwrite:
            raise ArtifactExistsError(f"{self._path} already holds an index", hint="replace it with --overwrite")
        if not self._path.is_dir() or not all(map(_is_ours, self._path.iterdir())):
            raise ArtifactExistsError(
                f"{self._path} is there and is not just an index", hint="name a new or an empty folder"
            )
        return [folder for folder in self._path.iterdir() if folder.is_dir()]

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        return self

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
        if not self._committed:
            shutil.rmtree(self._path if self._created else self.folder)


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
            self.dense = DenseSearcher(folder / "dense", dense.similarity, dense.largest_norm)
        self._check_counts()

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the artifact at `path`, checking its version and the size of every file, but not their checksums."""
        path = Path(path)
        manifest = read_manifest(path)
        for name, entry in manifest.files.items():
            file = path / manifest.folder / name
            if not file.is_file():
                raise damaged(file, "is missing")
            if (size := file.stat().st_size) != entry.bytes:
                raise damaged(file, f"has {size} bytes, expected {entry.bytes}")
        return cls(path, manifest)

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

    @property
    def parts(self) -> list[str]:
        """The kinds of index it holds."""
        return [name for name in ("lexical", "dense") if getattr(self.manifest, name)]

    @property
    def bytes(self) -> int:
        """Size of its files on disk."""
        return sum(entry.bytes for entry in self.manifest.files.values())

    def damages(self) -> list[str]:
        """Read every file and name those that are not what was written."""
        folder = self.path / self.manifest.folder
        return [
            f"{folder / name}: its checksum is not the manifest's"
            for name, entry in self.manifest.files.items()
            if sha256_of(folder / name) != entry.sha256
        ]

"""One index on disk, opened for reading: every file is mapped, and stays as it is whatever a writer does later.

DIR/manifest.json        what is there; replacing it is the commit
DIR/segment-K/           documents and vectors, added together; never changed
DIR/generation-N/        what follows from all segments: postings and scores, deleted documents, checksums
"""

from collections.abc import Collection
from pathlib import Path
from typing import Self

import numpy as np

from retrieval.errors import ArtifactDamagedError, ArtifactMissingError
from retrieval.index.dense.searcher import DenseSearcher
from retrieval.index.dense.vectors import VectorReader
from retrieval.index.documents.reader import DocumentReader
from retrieval.index.documents.store import StoreReader
from retrieval.index.lexical.searcher import LexicalSearcher
from retrieval.index.lucene.options import LuceneOptions
from retrieval.index.lucene.searcher import LuceneSearcher
from retrieval.index.manifest import LucenePart, Manifest, SparsePart, read_manifest
from retrieval.index.postings.reader import PostingsReader
from retrieval.index.sparse.approximate import open_approximate
from retrieval.index.sparse.rows import RowsReader
from retrieval.index.sparse.searcher import Approximate, SparseSearcher
from retrieval.index.storage.arrays import load_array
from retrieval.index.storage.files import Folder, Ledger, altered_files, damaged

__all__ = ["DELETED", "FIELDS", "PARTS", "Artifact", "open_sparse", "problems_at"]

PARTS = ("lexical", "sparse", "dense")
"""The kinds of index that an artifact can hold."""

DELETED, FIELDS = "deleted.npy", "fields.json"


def _reopen(kind: type["Artifact"], path: Path, generation: int, fingerprint: str) -> "Artifact":
    artifact = kind.open(path)
    if (artifact.manifest.generation, artifact.manifest.fingerprint) != (generation, fingerprint):
        raise ArtifactMissingError(f"{path} has been replaced since", hint="open it again where it is needed")
    return artifact


class Artifact:
    """An index opened for reading: `documents`, and whichever of `lexical`, `sparse` and `dense` it was built with."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.ledger = Ledger.open(path, manifest.files)
        generation = self.ledger.folder(manifest.folder)
        segments = [self.ledger.folder(segment.name) for segment in manifest.segments]
        live = None
        if manifest.deleted:
            live = ~load_array(generation, DELETED, np.bool_)
        self.documents = DocumentReader([StoreReader(segment) for segment in segments], live, generation.open(FIELDS))
        self._check_counts()
        self.lexical: LexicalSearcher | LuceneSearcher | None = None
        self.sparse: SparseSearcher | None = None
        self.dense: DenseSearcher | None = None
        part = manifest.lexical
        if isinstance(part, LucenePart):
            options, counts = LuceneOptions(k1=part.k1, b=part.b), (part.terms, part.postings)
            self.lexical = LuceneSearcher(
                self.ledger, f"{manifest.folder}/lucene", options, live, manifest.rows, counts
            )
        elif part:
            folder = self.ledger.folder(f"{manifest.folder}/lexical")
            postings = PostingsReader(folder, manifest.rows, part.impacts, reorder=part.reorder)
            shifts = bool(part.bm25.absent_saturation)
            self.lexical = LexicalSearcher(folder, part.analyzer, postings, scale=part.scale, shifts=shifts)
        if sparse := manifest.sparse:
            folder = self.ledger.folder(f"{manifest.folder}/sparse")
            self.sparse = open_sparse(folder, manifest.rows, sparse)
        if dense := manifest.dense:
            readers = [
                VectorReader(folder, segment.rows, dense.dimensions)
                for folder, segment in zip(segments, manifest.segments, strict=True)
            ]
            firsts = self.documents.firsts.tolist()[:-1]
            indexes = {
                place: dense.segments[segment.name]
                for place, segment in enumerate(manifest.segments)
                if segment.name in dense.segments
            }
            self.dense = DenseSearcher(
                readers, firsts, dense.dimensions, dense.similarity, dense.largest_norm, live, indexes
            )

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the artifact at `path`: its version and the size of every file are checked now, their content later.

        What was opened stays as it is, whatever a writer commits later.
        """
        path = Path(path)
        manifest = read_manifest(path)
        while True:
            try:
                return cls(path, manifest)
            except ArtifactDamagedError:
                newer = read_manifest(path)
                if newer.generation == manifest.generation:
                    raise
                manifest = newer  # a writer replaced the files between the manifest and them

    def _check_counts(self) -> None:
        for store, segment in zip(self.documents.stores, self.manifest.segments, strict=True):
            if store.rows != segment.rows:
                raise damaged(self.path / segment.name, f"holds {store.rows} documents, expected {segment.rows}")
        live = self.documents.live
        if live is not None and (len(live), int((~live).sum())) != (self.manifest.rows, self.manifest.deleted):
            raise damaged(self.path / self.manifest.folder / DELETED, "does not fit the manifest")

    def __len__(self) -> int:
        return self.manifest.documents

    def __reduce__(self) -> tuple[object, ...]:
        # Another process opens the files for itself, and shares their pages.
        return _reopen, (type(self), self.path.resolve(), self.manifest.generation, self.manifest.fingerprint)

    @property
    def parts(self) -> list[str]:
        """The kinds of index it holds."""
        return [name for name in PARTS if getattr(self.manifest, name)]

    @property
    def bytes(self) -> int:
        """Size of its files on disk."""
        return sum(entry.bytes for entry in self.manifest.files.values())

    def bytes_of(self, parts: Collection[str]) -> int:
        """Size of the files that belong to some of its parts, without the documents that all of them share."""
        return sum(entry.bytes for name, entry in self.manifest.files.items() if _part_of(name) in parts)

    def problems(self) -> list[str]:
        """Read every file, and name what is not as it was written, or does not fit the rest.

        Digests are compared first; only what has the right one is looked into.
        """
        altered = self.ledger.problems()
        if altered:
            return altered
        found = self.documents.problems(self.manifest.fingerprint, with_text=self.manifest.stores_text)
        if self.lexical:
            found += self.lexical.problems()
        if self.sparse:
            found += self.sparse.problems()
        if self.dense and self.manifest.dense:
            found += self.dense.problems()
            if self.dense.n_vectors != self.manifest.dense.vectors:
                found.append(f"{self.path}: holds {self.dense.n_vectors} vectors, not {self.manifest.dense.vectors}")
        return found


def _part_of(file: str) -> str | None:
    """The part that a file belongs to; None for the documents'."""
    folder, _, rest = file.partition("/")
    if folder.startswith("segment-"):
        return "dense" if rest.startswith(("vector", "dense")) else None
    first = rest.partition("/")[0]
    return "lexical" if first == "lucene" else first if first in PARTS else None


def open_sparse(folder: Folder, rows: int, part: SparsePart) -> SparseSearcher:
    """The sparse part in a folder, with its approximate search if it has one."""
    scale = part.scale or 1.0
    postings = PostingsReader(folder, rows, part.stored, reorder=part.reorder, scale=scale)
    approximate = None
    if part.recall is not None and len(postings):
        n_terms = len(postings.vocabulary)
        vectors = RowsReader(folder, rows, len(postings))
        searcher = open_approximate(folder, vectors, n_terms, scale, part.engine)
        approximate = Approximate(searcher, part.tuned.parameters if part.tuned else {}, part.recall_at)
    return SparseSearcher(postings, scale=scale, approximate=approximate)


def problems_at(path: Path) -> list[str]:
    """What is wrong with the artifact at `path`, also where that is too much to open it; see `Artifact.problems`.

    Raises:
        ArtifactMissingError: there is none.
        ArtifactDamagedError: not even its manifest can be read.
    """
    try:
        return Artifact.open(path).problems()
    except ArtifactDamagedError as error:
        return altered_files(path, read_manifest(path).files) or [str(error)]

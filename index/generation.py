"""A new generation: segments that were kept, merged or added, and all that follows from them together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.index.artifact import DELETED, FIELDS, Artifact, open_sparse
from retrieval.index.dense.approximate import INDEX, write_dense_index
from retrieval.index.dense.builder import VectorWriter
from retrieval.index.dense.vectors import VectorReader
from retrieval.index.documents.fingerprint import Fingerprint
from retrieval.index.documents.metadata import FieldCounts
from retrieval.index.documents.store import StoreReader, StoreWriter, finish_store
from retrieval.index.lexical.scoring import merge_scored
from retrieval.index.lexical.searcher import LexicalSearcher
from retrieval.index.lucene.builder import write_index
from retrieval.index.lucene.options import LuceneOptions
from retrieval.index.manifest import FORMAT, LexicalPart, LucenePart, Manifest, SegmentEntry, SparsePart, Tuned
from retrieval.index.postings.merging import Source
from retrieval.index.postings.reader import ShardReader, StoredPostings
from retrieval.index.sparse.approximate import tuned_parameters, write_approximate
from retrieval.index.sparse.merging import merge_weights
from retrieval.index.storage.files import Folder, Ledger, PlainFolder
from retrieval.index.writer import ArtifactWriter
from retrieval.protocols import Progress, silent

__all__ = ["Staged", "commit_generation", "grouped"]

# A segment with a smaller share of documents that are not deleted is written anew.
_LIVE = 0.5

_VECTORS_AT_ONCE = 1 << 14
_IDS_AT_ONCE = 1 << 15


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A segment that has been written and is not yet part of the artifact.

    Attributes:
        name: its folder's.
        fields: what its documents' metadata holds.
        work: names the journal that it was written under.
        shards: folders of its postings, in the order of its documents; none without a lexical part.
        sparse_shards: the same of its sparse vectors.
        keeps_text: whether its store holds texts.
    """

    name: str
    fields: FieldCounts
    work: str
    shards: Sequence[Path] = ()
    sparse_shards: Sequence[Path] = ()
    keeps_text: bool = True


@dataclass(frozen=True)
class _Segment:
    """One of the segments that the new generation is made from."""

    name: str
    ledger: Ledger
    store: StoreReader
    vectors: VectorReader | None
    live: NDArray[np.bool_]
    keeps_text: bool


@dataclass
class _Layout:
    """Where documents go.

    Attributes:
        entries: the segments there will be.
        live: which of their rows are documents, (rows,).
        places: for each document of the old segments its new ordinal, -1 for one that is gone.
    """

    entries: list[SegmentEntry]
    live: NDArray[np.bool_]
    places: NDArray[np.int32]


def commit_generation(
    writer: ArtifactWriter,
    like: Manifest,
    *,
    removed: NDArray[np.int64] | None = None,
    staged: Staged | None = None,
    replace: bool = False,
    compact: bool = False,
    progress: Progress = silent,
) -> None:
    """Commit what the writer's base holds, without some documents, and with a new segment.

    Segments are merged as they grow in number, so that each is more than twice the next: there are never more than
    the logarithm of the documents, and a document is copied no more often.

    Args:
        writer: at work on the artifact.
        like: the new manifest, but for what follows from the documents.
        removed: ordinals of the base that are documents no longer.
        staged: a segment to add.
        replace: whether documents of the base that the new segment holds as well are removed.
        compact: whether to make one segment of all, without deleted documents.
        progress: told of vectors indexed.
    """
    removed = np.empty(0, dtype=np.int64) if removed is None else removed
    if replace and staged and writer.base is not None:
        removed = _replaced(writer.base, PlainFolder(writer.path / staged.name))
    _Change(writer, like, removed, staged, progress).commit(compact=compact)


def _replaced(base: Artifact, folder: Folder) -> NDArray[np.int64]:
    """The documents of the base that a new segment holds as well."""
    names = StoreReader(folder).document_ids()
    found = [np.empty(0, dtype=np.int64)]
    while some := list(islice(names, _IDS_AT_ONCE)):
        found.append(base.documents.find(some)[1])
    return np.unique(np.concatenate(found))


class _Change:
    def __init__(
        self,
        writer: ArtifactWriter,
        like: Manifest,
        removed: NDArray[np.int64],
        staged: Staged | None,
        progress: Progress,
    ) -> None:
        self._writer = writer
        self._base = writer.base
        self._like = like
        self._removed = removed
        self._staged = staged
        self._progress = progress
        self._indexes = dict(like.dense.segments) if like.dense else {}
        self._ledger = Ledger(writer.path)
        self._generation = writer.new_generation()
        self._segments = [*self._base_segments(), *self._staged_segment()]

    def commit(self, *, compact: bool) -> None:
        layout = self._layout(compact=compact)
        if not layout.live.all():
            np.save(self._generation / DELETED, ~layout.live)
        (self._generation / FIELDS).write_bytes(orjson.dumps(self._fields().content()))
        part = self._like.lexical
        if isinstance(part, LucenePart):
            part = self._write_lucene(layout, part)
        elif part:
            part = self._write_lexical(layout, part)
        sparse = self._write_sparse(layout, self._like.sparse) if self._like.sparse else None
        self._ledger.add(self._generation.name)
        sparse = self._tuned(layout, sparse) if sparse and sparse.recall is not None else sparse
        self._ledger.write(self._generation.name)
        self._writer.commit(self._manifest(layout, part, sparse))

    def _base_segments(self) -> Iterator[_Segment]:
        if self._base is None:
            return
        manifest, documents, dense = self._base.manifest, self._base.documents, self._base.dense
        live = np.ones(documents.rows, dtype=bool) if documents.live is None else documents.live.copy()
        live[self._removed] = False
        for number, (entry, store) in enumerate(zip(manifest.segments, documents.stores, strict=True)):
            first = documents.firsts[number]
            vectors = dense.readers[number] if dense else None
            here = live[first : first + entry.rows]
            yield _Segment(entry.name, self._base.ledger, store, vectors, here, manifest.stores_text)

    def _staged_segment(self) -> Iterator[_Segment]:
        if self._staged is None:
            return
        # What an interrupted call has left of an index may be half of one, or of another kind.
        (self._writer.path / self._staged.name / INDEX).unlink(missing_ok=True)
        ledger = Ledger(self._writer.path)
        ledger.add(self._staged.name)
        folder = ledger.folder(self._staged.name)
        store, dense = StoreReader(folder), self._like.dense
        vectors = VectorReader(folder, store.rows, dense.dimensions) if dense else None
        live = np.ones(store.rows, dtype=bool)
        yield _Segment(self._staged.name, ledger, store, vectors, live, self._staged.keeps_text)

    def _layout(self, *, compact: bool) -> _Layout:
        """Keep the segments that stand alone, and merge the others."""
        sizes = [int(segment.live.sum()) for segment in self._segments]
        groups = [list(range(len(sizes)))] if compact else grouped(sizes)
        entries, live, places = [], [np.empty(0, dtype=bool)], [np.empty(0, dtype=np.int32)]
        first = 0
        for group in groups:
            members = [self._segments[number] for number in group]
            here = np.concatenate([live[0], *(member.live for member in members)])
            if not here.any():
                places.append(np.full(len(here), -1, dtype=np.int32))
                continue
            keep = len(members) == 1 and self._may_stay(members[0], compact=compact)
            if keep:
                self._ledger.take(members[0].ledger, members[0].name)
                name, kept, rows = members[0].name, here, np.arange(len(here))
            else:
                name, kept, rows = self._merged(members), here[here], np.cumsum(here) - 1
            if not keep or (self._staged and name == self._staged.name):
                self._index_vectors(name)
            entries.append(SegmentEntry(name=name, rows=len(kept)))
            live.append(kept)
            places.append(np.where(here, rows + first, -1).astype(np.int32))
            first += len(kept)
        return _Layout(entries, np.concatenate(live), np.concatenate(places))

    def _may_stay(self, segment: _Segment, *, compact: bool) -> bool:
        """Whether a segment is as it should be: without texts that are not to be kept, or many deleted documents."""
        needed = 1.0 if compact else _LIVE
        return bool(segment.live.mean() >= needed) and segment.keeps_text == self._like.stores_text

    def _merged(self, members: Sequence[_Segment]) -> str:
        """Write one segment of the documents of several; its name."""
        name = self._writer.new_segment()
        folder = self._writer.path / name
        with StoreWriter(folder) as store:
            store.take([(member.store, member.live) for member in members], keep_text=self._like.stores_text)
        finish_store(folder)
        if self._like.dense:
            self._merge_vectors(folder, members, self._like.dense.dimensions)
        return name

    def _index_vectors(self, name: str) -> None:
        """Write the approximate index of a segment that is new, if it is to have one, and enter all its files."""
        if self._like.dense and (
            entry := write_dense_index(self._writer.path / name, self._like.dense.options, self._progress)
        ):
            self._indexes[name] = entry
        self._ledger.add(name)

    def _merge_vectors(self, folder: Path, members: Sequence[_Segment], dimensions: int) -> None:
        first = 0
        with VectorWriter(folder, dimensions) as writer:
            for member in members:
                assert member.vectors is not None
                rows = member.vectors.rows.all()
                moved = np.cumsum(member.live) - 1 + first
                for start in range(0, len(rows), _VECTORS_AT_ONCE):
                    part = rows[start : start + _VECTORS_AT_ONCE]
                    vectors = member.vectors.vectors.slice(start, start + len(part))
                    writer.add(moved[part[member.live[part]]], vectors[member.live[part]])
                first += int(member.live.sum())

    def _fields(self) -> FieldCounts:
        """What the fields of all documents hold."""
        counts = FieldCounts()
        if self._base is not None:
            counts.update(self._base.documents.field_counts)
            for metadata in self._base.documents.metadata_of(self._removed):
                counts.add(metadata, -1)
        if self._staged:
            counts.update(self._staged.fields)
        return counts

    def _write_lexical(self, layout: _Layout, part: LexicalPart) -> LexicalPart:
        """The postings of all documents."""
        folder = self._generation / "lexical"
        folder.mkdir()
        base = self._base.lexical if self._base is not None else None
        shards = self._staged.shards if self._staged else ()
        sources, lengths = _sources(base.postings if isinstance(base, LexicalSearcher) else None, shards, layout)
        scale = merge_scored(sources, lengths, layout.live, part.bm25, folder, part.impacts, reorder=part.reorder)
        return part.model_copy(update={"scale": scale})

    def _write_sparse(self, layout: _Layout, part: SparsePart) -> SparsePart:
        """The postings of all documents' sparse vectors."""
        folder = self._generation / "sparse"
        folder.mkdir()
        base = self._base.sparse if self._base is not None else None
        shards = self._staged.sparse_shards if self._staged else ()
        sources, lengths = _sources(base.postings if base else None, shards, layout)
        stored = merge_weights(sources, lengths, part.options, folder)
        update = {"stored": stored.impacts, "scale": stored.scale, "vectors": int(np.count_nonzero(lengths))}
        if part.recall is not None and lengths.any():
            write_approximate(folder, len(layout.live), stored.n_terms, part.engine)
        return part.model_copy(update=update)

    def _tuned(self, layout: _Layout, part: SparsePart) -> SparsePart:
        """With parameters that reach the recall on queries made of these documents."""
        searcher = open_sparse(self._ledger.folder(f"{self._generation.name}/sparse"), len(layout.live), part)
        if searcher.approximate is None or part.recall is None:
            return part.model_copy(update={"tuned": None})
        engine = searcher.approximate.searcher
        parameters, recall = tuned_parameters(engine, searcher.fill, part.recall, part.recall_at)
        return part.model_copy(update={"tuned": Tuned(parameters=parameters, recall=recall)})

    def _write_lucene(self, layout: _Layout, part: LucenePart) -> LucenePart:
        """Lucene's index is made again of the stored texts: its scores depend on deleted documents while it has any."""
        folder = self._generation / "lucene"
        folder.mkdir()
        content = write_index(folder, self._texts(layout), LuceneOptions(k1=part.k1, b=part.b))
        return part.model_copy(update=content)

    def _texts(self, layout: _Layout) -> Iterator[str]:
        """What is indexed of each document, in order."""
        first = 0
        for entry in layout.entries:
            store = StoreReader(self._ledger.folder(entry.name))
            yield from compress(store.contents(), layout.live[first : first + entry.rows])
            first += entry.rows

    def _fingerprint(self) -> str:
        fingerprint = Fingerprint(self._base.manifest.fingerprint if self._base is not None else "")
        if self._base is not None:
            for digest in self._base.documents.digests_of(self._removed):
                fingerprint.remove(digest)
        if self._staged:
            fingerprint.add_all(self._segments[-1].store.digests.all())
        return str(fingerprint)

    def _manifest(
        self, layout: _Layout, lexical: LexicalPart | LucenePart | None, sparse: SparsePart | None
    ) -> Manifest:
        dense = self._like.dense
        if dense:
            folders = [self._ledger.folder(entry.name) for entry in layout.entries]
            counts = (
                len(VectorReader(folder, entry.rows, dense.dimensions))
                for folder, entry in zip(folders, layout.entries, strict=True)
            )
            names = {entry.name for entry in layout.entries}
            indexes = {name: entry for name, entry in self._indexes.items() if name in names}
            dense = dense.model_copy(update={"vectors": sum(counts), "segments": indexes})
        documents = int(layout.live.sum())
        return self._like.model_copy(
            update={
                "format": FORMAT,
                "generation": self._writer.generation,
                "documents": documents,
                "deleted": len(layout.live) - documents,
                "fingerprint": self._fingerprint(),
                "segments": layout.entries,
                "lexical": lexical,
                "sparse": sparse,
                "dense": dense,
                "work": self._staged.work if self._staged else self._like.work,
                "files": self._ledger.entries,
            }
        )


def grouped(sizes: Sequence[int]) -> list[list[int]]:
    """Neighbours to merge, so that of the segments that result each is more than twice as large as the next.

    Args:
        sizes: of the segments, in documents.
    """
    groups: list[tuple[int, list[int]]] = []
    for number, size in enumerate(sizes):
        total, group = size, [number]
        while groups and groups[-1][0] <= 2 * total:
            before, members = groups.pop()
            total, group = before + total, members + group
        groups.append((total, group))
    return [group for _, group in groups]


def _sources(
    base: StoredPostings | None, shards: Sequence[Path], layout: _Layout
) -> tuple[list[Source], NDArray[np.int32]]:
    """The postings to merge, and every document's length, (rows,)."""
    readers: list[StoredPostings] = [] if base is None else [base]
    readers += [ShardReader(PlainFolder(shard)) for shard in shards]
    lengths = np.zeros(len(layout.live), dtype=np.int32)
    sources, first = [], 0
    for reader in readers:
        own = reader.lengths.all()
        places = layout.places[first : first + len(own)]
        lengths[places[places >= 0]] = own[places >= 0]
        sources.append(Source(reader, _as_shift(places)))
        first += len(own)
    return sources, lengths


def _as_shift(places: NDArray[np.int32]) -> NDArray[np.int32] | int:
    """The number that is added to every ordinal, where that is all that happens to them."""
    if len(places) == 0:
        return 0
    first = int(places[0])
    moved_together = first >= 0 and np.array_equal(places, np.arange(first, first + len(places)))
    return first if moved_together else places

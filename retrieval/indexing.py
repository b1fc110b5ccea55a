"""Build and change an index. Here documents, analyzers and encoders meet it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from retrieval.building import SHARD_DOCUMENTS, Job, LexicalOptions, stage
from retrieval.chunking import Chunking, chunking_from, passages_of
from retrieval.corpus import Columns, OnError, ReadReport, read_documents
from retrieval.describing import lexical_options, longer, manifest_of, provenance
from retrieval.encoders.dense import check_card, load_encoder
from retrieval.encoders.sparse import load_sparse_encoder
from retrieval.errors import ArtifactMissingError, DocumentExistsError, DocumentMissingError, InputError
from retrieval.index.artifact import Artifact
from retrieval.index.dense.options import DenseOptions
from retrieval.index.generation import commit_generation
from retrieval.index.lucene.options import LuceneOptions
from retrieval.index.manifest import Manifest
from retrieval.index.sparse.options import SparseOptions
from retrieval.index.writer import ArtifactWriter, Place
from retrieval.protocols import Encoder, Progress, SparseEncoder, silent
from retrieval.types import Document
from retrieval.vectors import VectorFile

__all__ = [
    "Corpus",
    "DenseOptions",
    "Index",
    "LexicalOptions",
    "LuceneOptions",
    "SparseOptions",
    "VectorFile",
]

Corpus = Iterable[str | Path | Document | Mapping[str, Any]] | str | Path
"""Paths, `-` for standard input, or documents in memory; see `read_documents`."""

_NAMED = 5


class Index(Artifact):
    """An index opened for reading, and the ways to build and change one.

    What is open stays as it was opened: `add`, `delete` and `compact` return the index as it is afterwards. They change
    what stands at its path now, also if that has been changed since this was opened.
    """

    @classmethod
    def build(
        cls,
        corpus: Corpus,
        path: str | Path,
        *,
        lexical: LexicalOptions | LuceneOptions | bool = True,
        dense: str | Encoder | None = None,
        dense_options: DenseOptions | None = None,
        sparse: str | SparseEncoder | VectorFile | None = None,
        sparse_options: SparseOptions | None = None,
        device: str | None = None,
        overwrite: bool = False,
        restart: bool = False,
        store_text: bool = True,
        columns: Columns | None = None,
        chunking: Chunking | None = None,
        shard_documents: int = SHARD_DOCUMENTS,
        on_error: OnError = "stop",
        report: ReadReport | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Build an index of `corpus` at `path` and open it.

        The whole corpus is read and checked before the first document is encoded. After an error no index is there, or
        the one that was; work on whole shards is kept, and the same call goes on from it.

        Args:
            corpus: what to index.
            path: a new or empty folder; one that holds an index is replaced if `overwrite` is set.
            lexical: how to build the lexical part, and with which engine; False leaves it out.
            dense: the encoder of the dense part or its model's name; None leaves it out.
            dense_options: what searches its vectors; exact search of all of them by default.
            sparse: the encoder of the learned-sparse part, its model's name, or vectors that were computed elsewhere,
                found by the ids of what is indexed; None leaves it out.
            sparse_options: how its weights are stored.
            device: torch's device for a model given by name.
            overwrite: replace the index at `path`. Readers that have it open keep the old one.
            restart: discard the work of an interrupted build, and do not go on with it.
            store_text: keep the texts, so that hits bring them; titles and metadata are kept anyway.
            columns: names of the fields that hold id, title and text.
            chunking: how to take documents apart into passages; None indexes them whole.
            shard_documents: documents handled at a time, which bounds memory.
            on_error: what to do with a record that cannot be read; see `read_documents`.
            report: filled with what was read and skipped.
            progress: told of documents read and encoded.

        Raises:
            CorpusError: a record cannot be read.
            ArtifactExistsError: something stands at `path`.
            UnfinishedBuildError: a build of other documents or with other settings was interrupted there.
            ModelError, MissingExtraError: the encoder, or Lucene, cannot be had.
        """
        options = LexicalOptions() if lexical is True else lexical or None
        if options is None and dense is None and sparse is None:
            raise InputError("an index needs a lexical, sparse or dense part", hint="name an encoder: --dense minilm")
        if dense_options and dense is None:
            raise InputError("a dense index without a dense part", hint="name an encoder: --dense minilm")
        path = Path(path)
        with ArtifactWriter(path, Place.NEW_OR_INDEX if overwrite else Place.NEW) as writer:
            job = Job(
                kind="build",
                lexical=options,
                encoder=load_encoder(dense, device=device) if isinstance(dense, str) else dense,
                dense=dense_options or DenseOptions(),
                sparse=(sparse_options or SparseOptions()) if sparse is not None else None,
                sparse_source=load_sparse_encoder(sparse, device=device) if isinstance(sparse, str) else sparse,
                chunking=chunking,
                columns=columns,
                on_error=on_error,
                store_text=store_text,
                shard_documents=shard_documents,
            )
            documents = _documents(corpus, job, report)
            staged, norm = stage(writer, job, documents, lambda shard: None, restart=restart, progress=progress)
            commit_generation(writer, manifest_of(job, norm, provenance(corpus)), staged=staged, progress=progress)
        return cls.open(path)

    def add(
        self,
        corpus: Corpus,
        *,
        replace: bool = False,
        encoder: Encoder | None = None,
        sparse: SparseEncoder | VectorFile | None = None,
        device: str | None = None,
        restart: bool = False,
        columns: Columns | None = None,
        shard_documents: int = SHARD_DOCUMENTS,
        on_error: OnError = "stop",
        report: ReadReport | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Add documents, analysed and encoded as those that are there, and open the result.

        Search gives what it would give if all had been built together, in the order of the old and then the new. The
        old documents are neither read nor encoded again, but every lexical score is derived again from its postings:
        add many documents at a time.

        Args:
            corpus: what to add.
            replace: a document whose id is there takes the place of the old one, at the end of the order; else it is
                an error.
            encoder: that of the dense part; None loads the model that the index was built with.
            sparse: the encoder of the learned-sparse part, or the vectors of the new documents; None loads the model
                that the index was built with, if it was built with one.
            device: torch's device for those models.
            restart: discard the work of an interrupted addition, and do not go on with it.
            columns: names of the fields that hold id, title and text.
            shard_documents: documents handled at a time, which bounds memory.
            on_error: what to do with a record that cannot be read; see `read_documents`.
            report: filled with what was read and skipped.
            progress: told of documents read and encoded.

        Raises:
            CorpusError: a record cannot be read.
            DocumentExistsError: a document is there already, and `replace` is not set.
            UnfinishedBuildError: an addition of other documents was interrupted.
            ModelError: an encoder is not that of the index.
            InputError: the index' sparse vectors were computed elsewhere, and there are none of the new documents.
        """
        with ArtifactWriter(self.path, Place.INDEX) as writer:
            base = _base(writer)
            job = Job(
                kind="add",
                lexical=lexical_options(base.manifest),
                encoder=_encoder_of(base.manifest, encoder, device),
                dense=base.manifest.dense.options if base.manifest.dense else DenseOptions(),
                sparse=base.manifest.sparse.options if base.manifest.sparse else None,
                sparse_source=_sparse_source_of(base.manifest, sparse, device),
                chunking=chunking_from(base.manifest.chunking),
                columns=columns,
                on_error=on_error,
                store_text=base.manifest.stores_text,
                replace=replace,
                shard_documents=shard_documents,
            )

            def check(shard: list[Document]) -> None:
                known = [] if replace else _known(base, shard)
                if known:
                    raise DocumentExistsError(
                        f"{self.path} already holds {_named(known)}", hint="let them take its place: --replace"
                    )

            documents = _documents(corpus, job, report)
            staged, norm = stage(writer, job, documents, check, restart=restart, progress=progress)
            like = base.manifest.model_copy(update={"changed": provenance(corpus)})
            if like.dense:
                like = like.model_copy(update={"dense": longer(like.dense, norm)})
            commit_generation(writer, like, staged=staged, replace=replace, progress=progress)
        return type(self).open(self.path)

    def delete(
        self, ids: Iterable[str] = (), *, filter: Mapping[str, Any] | None = None, missing_ok: bool = False
    ) -> Self:
        """Delete documents, by id or by a filter over their metadata, and open the result.

        Of an index of passages, ids are those of documents, and all passages of each go. Search gives what it would
        give if they had never been there.

        Args:
            ids: of documents.
            filter: deletes every document that it allows, as well.
            missing_ok: ids that are not there are passed over; else they are an error, and nothing is deleted.

        Raises:
            DocumentMissingError: an id is not there, and `missing_ok` is not set.
            FilterError: the filter cannot be understood.
        """
        ids = list(ids) if isinstance(ids, Iterable) and not isinstance(ids, str) else [ids]
        if not all(isinstance(id_, str) for id_ in ids):
            raise InputError(f"ids must be strings; got {ids!r}")
        with ArtifactWriter(self.path, Place.INDEX) as writer:
            base = _base(writer)
            places, ordinals = base.documents.find(ids)
            unknown = [ids[place] for place in np.setdiff1d(np.arange(len(ids)), places)]
            if unknown and not missing_ok:
                raise DocumentMissingError(
                    f"{self.path} does not hold {_named(unknown)}", hint="pass over them: --missing-ok"
                )
            if filter is not None:
                ordinals = np.concatenate([ordinals, np.flatnonzero(base.documents.allowed(filter))])
            removed = np.unique(ordinals)
            if len(removed):
                like = base.manifest.model_copy(update={"changed": provenance(())})
                commit_generation(writer, like, removed=removed)
        return type(self).open(self.path)

    def compact(self) -> Self:
        """Make one segment of all, without what deleted documents left, and open the result; no search changes."""
        with ArtifactWriter(self.path, Place.INDEX) as writer:
            base = _base(writer)
            if len(base.manifest.segments) > 1 or base.manifest.deleted:
                commit_generation(writer, base.manifest, compact=True)
        return type(self).open(self.path)

    def set_query_encoder(self, encoder: Encoder | str | None, *, device: str | None = None) -> Self:
        """Search with another query encoder from now on, such as one that ADORE trained, and open the result.

        Documents stay as they are, and what is added is encoded as they were.

        Args:
            encoder: one whose documents' vectors are those of this index, or its model's name; None goes back to that
                which encoded the documents.
            device: torch's device for a model given by name.

        Raises:
            ArtifactMissingError: the index has no dense part.
            ModelError: the model cannot be had, or encodes documents otherwise.
        """
        with ArtifactWriter(self.path, Place.INDEX) as writer:
            manifest = _base(writer).manifest
            if manifest.dense is None:
                raise ArtifactMissingError(f"{self.path} has no dense part", hint="build it with one: --dense MODEL")
            if isinstance(encoder, str):
                encoder = load_encoder(encoder, device=device, expected=manifest.dense.encoder)
            card = encoder.card if encoder else None
            if card:
                check_card(card, manifest.dense.encoder)
            dense = manifest.dense.model_copy(update={"query_encoder": card})
            writer.commit(manifest.model_copy(update={"dense": dense, "changed": provenance(())}))
        return type(self).open(self.path)


def _base(writer: ArtifactWriter) -> Artifact:
    assert writer.base is not None
    return writer.base


def _documents(corpus: Corpus, job: Job, report: ReadReport | None) -> Iterator[Document]:
    documents = read_documents(corpus, columns=job.columns, on_error=job.on_error, report=report)
    return passages_of(documents, job.chunking) if job.chunking else documents


def _encoder_of(manifest: Manifest, encoder: Encoder | None, device: str | None) -> Encoder | None:
    """The encoder that an index' documents are encoded with; None if it has no dense part."""
    if manifest.dense is None:
        return None
    expected = manifest.dense.encoder
    if encoder is None:
        return load_encoder(expected.model, device=device, expected=expected)
    check_card(encoder.card, expected)
    return encoder


def _sparse_source_of(
    manifest: Manifest, source: SparseEncoder | VectorFile | None, device: str | None
) -> SparseEncoder | VectorFile | None:
    """What gives an index' documents their sparse vectors; None if it has no sparse part."""
    if manifest.sparse is None:
        return None
    expected = manifest.sparse.encoder
    if expected is None:
        if source is None:
            raise InputError(
                "the sparse vectors of this index were computed elsewhere, so those of new documents must be given",
                hint="give them: --sparse-vectors FILE",
            )
        return source
    if isinstance(source, VectorFile):
        return source  # whoever has them says they are of the same model
    if source is None:
        return load_sparse_encoder(expected.model, device=device, expected=expected)
    check_card(source.card, expected)
    return source


def _known(base: Artifact, shard: list[Document]) -> list[str]:
    """The ids of documents that are there already."""
    ids = list(dict.fromkeys(one.passage.document if one.passage else one.id for one in shard))
    places, _ = base.documents.find(ids)
    return [ids[place] for place in np.unique(places)]


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return f"document{'s' if len(ids) > 1 else ''} {', '.join(map(repr, ids[:_NAMED]))}{more}"

"""Stored documents become vectors, block by block under the journal: what was made durable is not encoded again."""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np

from retrieval.errors import UnfinishedBuildError
from retrieval.index.dense.builder import VectorWriter
from retrieval.index.documents.store import StoreReader
from retrieval.index.journal import Journal
from retrieval.index.sparse.builder import EntryWriter
from retrieval.index.storage.files import PlainFolder
from retrieval.protocols import Calibrated, Encoder, Progress, SparseEncoder
from retrieval.streams import windows
from retrieval.types import SparseVectors
from retrieval.vectors import VectorFile

__all__ = ["STAGES", "encode_dense", "encode_sparse", "spread"]

STAGES = {"dense": "encode", "sparse": "encode sparsely"}
"""What the work on each part is called where its progress is told."""

# Documents encoded before their vectors are made durable: the window in which texts are sorted by length.
_BLOCK_DOCUMENTS = 1024
_BLOCK_CHARACTERS = 1 << 22

Note = Callable[..., None]
"""Makes progress durable in the journal."""

Tell = Callable[[int], None]

Block = list[tuple[int, str]]


def encode_dense(encoder: Encoder, folder: Path, journal: Journal, note: Note, progress: Progress) -> None:
    """Encode every document that is not empty, but for those that an interrupted build did.

    Args:
        encoder: makes the vectors.
        folder: the segment, whose store is complete.
        journal: how far the work had come.
        note: told after each block.
        progress: told of documents encoded.
    """
    done, norm = journal.encoded, journal.largest_norm
    note(quantised=_calibrated(encoder, folder, journal.rows, journal.quantised))
    with VectorWriter(folder, encoder.card.dimensions, marks=journal.vectors, largest_norm=norm) as vectors:
        for block, tell in _blocks(folder, done, journal.rows, STAGES["dense"], progress):
            filled, on_batch = _filled(block, tell)
            rows = np.array([row for row, _ in filled], dtype=np.int64)
            vectors.add(rows, encoder.encode_documents([text for _, text in filled], on_batch))
            done += len(block)
            note(vectors=vectors.sync(), encoded=done, largest_norm=vectors.largest_norm)


def encode_sparse(
    source: SparseEncoder | VectorFile, folder: Path, work: Path, journal: Journal, note: Note, progress: Progress
) -> None:
    """Encode every document, or look its vector up, but for those that an interrupted build did.

    Args:
        source: makes the vectors, or has them.
        folder: the segment, whose store is complete.
        work: where the vectors go until they become postings.
        journal: how far the work had come.
        note: told after each block.
        progress: told of documents encoded.
    """
    done = journal.sparse_encoded
    if not isinstance(source, VectorFile):
        note(sparse_quantised=_calibrated(source, folder, journal.rows, journal.sparse_quantised))
    ids = _ids(folder, done) if isinstance(source, VectorFile) else iter(())
    with EntryWriter(work, marks=journal.entries) as entries:
        for block, tell in _blocks(folder, done, journal.rows, STAGES["sparse"], progress):
            if isinstance(source, VectorFile):
                entries.add(source.of([next(ids) for _ in block]))
            else:
                filled, on_batch = _filled(block, tell)
                vectors = source.encode_documents([text for _, text in filled], on_batch)
                entries.add(spread(vectors, [row - done for row, _ in filled], len(block)))
            done += len(block)
            note(entries=entries.sync(), sparse_encoded=done)


def _calibrated(encoder: Encoder | SparseEncoder, folder: Path, rows: int, before: str | None) -> str | None:
    """Let an encoder see a sample of the documents, if it wants one; the digest of what it made of it.

    An error if that is not the one of an interrupted build.
    """
    if isinstance(encoder, Calibrated) and encoder.sample:
        encoder.calibrate(_sample(folder, rows, encoder.sample))
    quantised = encoder.card.quantised
    if before not in (None, quantised):
        raise UnfinishedBuildError(
            f"{folder.parent}: work was interrupted here, with another int8 model than {quantised}",
            hint="discard it: --restart",
        )
    return quantised


def _sample(folder: Path, rows: int, count: int) -> list[str]:
    """The texts of so many documents, drawn at random; where most are empty, of the first; fewer where there are."""
    store = StoreReader(PlainFolder(folder))
    drawn = np.random.default_rng(0).permutation(rows)[: 2 * count]
    texts = list(filter(None, (next(store.contents(row)) for row in drawn.tolist())))
    if len(texts) < count:
        texts = list(islice(filter(None, store.contents()), count))
    return texts[:count]


def _blocks(folder: Path, done: int, total: int, stage: str, progress: Progress) -> Iterator[tuple[Block, Tell]]:
    """Rows and texts, a block at a time from row `done` on, and whom to tell how many of a block are encoded."""
    progress(stage, done, total)
    texts = enumerate(StoreReader(PlainFolder(folder)).contents(done), done)
    for block in windows(texts, lambda item: len(item[1]), _BLOCK_DOCUMENTS, _BLOCK_CHARACTERS):
        first = block[0][0]
        yield block, lambda more, first=first: progress(stage, min(first + more, total), total)  # type: ignore[misc]
        progress(stage, first + len(block), total)


def _filled(block: Block, tell: Tell) -> tuple[Block, Tell]:
    """The documents that are not empty, and what an encoder tells of each batch of them."""
    filled = [(row, text) for row, text in block if text]
    told = len(block) - len(filled)

    def on_batch(more: int) -> None:
        nonlocal told
        told += more
        tell(told)

    return filled, on_batch


def spread(vectors: SparseVectors, places: list[int], n: int) -> SparseVectors:
    """Those vectors at these places of n, and empty ones elsewhere."""
    sizes = np.zeros(n, dtype=np.int64)
    sizes[places] = np.diff(vectors.offsets)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return SparseVectors(vectors.tokens, offsets, vectors.columns, vectors.weights)


def _ids(folder: Path, first: int) -> Iterator[str]:
    """The id of each document, or passage, from a row on."""
    batches = StoreReader(PlainFolder(folder)).ids.batches()
    return islice(chain.from_iterable(batch.column("id").to_pylist() for batch in batches), first, None)

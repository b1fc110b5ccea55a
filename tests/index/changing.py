"""What the tests of an index that changes share: a toy encoder, documents of all kinds, and answers to compare."""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.errors import FilterError
from retrieval.index.sparse.tuning import tune
from retrieval.indexing import Index
from retrieval.pipeline import HYBRID, Retriever
from retrieval.protocols import Encoder
from retrieval.types import Document, EncoderCard, SparseVectors

WORDS = ("wind", "storm", "sky", "plasma", "aurora", "night", "ion", "oxygen")
QUERIES = ("wind", "storm sky night", "plasma plasma aurora", "unknown", "oxygen ion wind unknown")

FILTERS: tuple[Mapping[str, Any], ...] = (
    {"year": 3},
    {"year": {"$gt": 2.5}},
    {"year": {"$exists": False}, "lang": {"$ne": "en"}},
    {"score": {"$lte": 1.5}},
    {"score": {"$in": [1, 2.5]}},
    {"day": {"$gte": "2020-06-01"}},
    {"day": "soon"},
    {"lang": {"$in": ["en", "de"]}},
    {"tags": "a"},
    {"tags": {"$nin": ["a", "b"]}},
    {"odd": 1},
    {"odd": "x"},
    {"odd": {"$exists": True}},
    {"odd.deep": 1},
    {"items": {"$gte": 2}},
    {"big": {"$lt": 9}},
    {"$or": [{"year": {"$lt": 2}}, {"$not": {"lang": "en"}}]},
    {"nowhere": 1},
)

# What is handled piece by piece, in pieces so small that a few documents make many.
_PIECES = {
    "retrieval.encoding._BLOCK_DOCUMENTS": 3,
    "retrieval.corpus._WINDOW": 3,
    "retrieval.index.dense.vectors._ROWS_AT_ONCE": 3,
    "retrieval.index.documents.store._ID_ROWS": 3,
    "retrieval.index.documents.store._TEXT_ROWS": 2,
    "retrieval.index.generation._IDS_AT_ONCE": 2,
    "retrieval.index.generation._VECTORS_AT_ONCE": 2,
    "retrieval.index.postings.merging._POSTINGS_AT_ONCE": 4,
    "retrieval.index.threads._QUERIES_AT_ONCE": 2,
    "retrieval.index.postings.vocabulary._TERMS_AT_ONCE": 2,
    "retrieval.index.sparse.builder._SHARD_ROWS": 4,
    "retrieval.index.storage.files.BLOCK": 64,
    "retrieval.index.storage.files._SMALL": 0,  # every file is mapped
}

_BATCH = 4


@contextmanager
def small_pieces(*, only: Sequence[str] = tuple(_PIECES)) -> Iterator[None]:
    """Within it, an index is written, checked and read in tiny pieces; one is read as it was written."""
    with pytest.MonkeyPatch.context() as patch:
        for name in only:
            patch.setattr(name, _PIECES[name])
        yield


@contextmanager
def tuned_alike() -> Iterator[None]:
    """Within it, an approximate sparse search looks at all documents: else a busy clock chooses what it passes over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval.index.sparse.approximate.tune", partial(tune, shares=(0.0,), depths=(400,)))
        yield


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where the system has such a place: what waits for a disk is not what these tests ask."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


class ToyEncoder:
    """The sum of a vector for each word, which follows from the word alone; `on_batch` sees texts before they are."""

    card = EncoderCard(model="toy", dimensions=8, similarity="dot")

    def __init__(self, on_batch: Callable[[Sequence[str]], None] = lambda texts: None) -> None:
        self._on_batch = on_batch

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> NDArray[np.float32]:
        """A few at a time."""
        vectors = np.empty((len(texts), self.card.dimensions), dtype=np.float32)
        for start in range(0, len(texts), _BATCH):
            part = texts[start : start + _BATCH]
            self._on_batch(part)
            vectors[start : start + len(part)] = self.encode_queries(part)
            on_batch(len(part))
        return vectors

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """All at once."""
        sums = [sum(map(_vector, text.split()), np.zeros(self.card.dimensions)) for text in texts]
        return np.array(sums, dtype=np.float32).reshape(len(texts), self.card.dimensions)


class ToySparseEncoder:
    """Weighs a word by its letters and how often it stands there; the next of WORDS expands it."""

    card = EncoderCard(model="toy-sparse", dimensions=len(WORDS), similarity="dot")

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> SparseVectors:
        """All at once."""
        on_batch(len(texts))
        return self.encode_queries(texts)

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """All at once, over the tokens of WORDS."""
        rows = [self._row(text) for text in texts]
        return SparseVectors(
            tokens=WORDS,
            offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
            columns=np.array([column for row in rows for column in sorted(row)], dtype=np.int32),
            weights=np.array([row[column] for row in rows for column in sorted(row)], dtype=np.float32),
        )

    def literal_tokens(self, text: str) -> set[str]:
        """The words that have a column."""
        return {word for word in text.split() if word in WORDS}

    def _row(self, text: str) -> dict[int, float]:
        row: dict[int, float] = {}
        for word in text.split():
            if word in WORDS:
                column = WORDS.index(word)
                row[column] = row.get(column, 0.0) + len(word) / 3
                row.setdefault((column + 1) % len(WORDS), 0.1)
        return row


# What a build, an addition and a Retriever take for all kinds of vectors.
BUILT: dict[str, Any] = {"dense": ToyEncoder(), "sparse": ToySparseEncoder()}
ADDED: dict[str, Any] = {"encoder": ToyEncoder(), "sparse": ToySparseEncoder()}
ENCODERS: dict[str, Any] = {"encoder": ToyEncoder(), "sparse_encoder": ToySparseEncoder()}


@cache
def _vector(word: str) -> NDArray[np.float64]:
    digest = blake2b(word.encode(), digest_size=4 * ToyEncoder.card.dimensions).digest()
    return np.frombuffer(digest, dtype="<u4") / 2.0**31 - 1.0


@cache
def document(number: int, version: int = 0) -> Document:
    """A document of this id; the version decides the rest. Every ninth, 8, 17, …, has metadata of unusual kinds."""
    rng = random.Random(f"version {version}")
    text = " ".join(rng.choices(WORDS, k=rng.choice((0, 1, 2, 3, 5, 8, 13))))
    title = rng.choice(("", "", "Wind", "Night sky"))
    return Document(id=f"d{number}", title=title, text=text, metadata=_metadata(rng, unusual=version % 9 == 8))


def _metadata(rng: random.Random, *, unusual: bool) -> dict[str, Any]:
    """Fields of every kind, some absent; unusual values change the type of their field, or leave it without one."""
    common = {
        "year": rng.randrange(6),
        "score": rng.choice((1, 2, 1.5, 2.5)),
        "day": rng.choice(("2020-01-01", "2021-05-05", "2020-07-01T10:00:00Z")),
        "lang": rng.choice(("en", "de", "fr")),
        "tags": rng.choice((["a"], ["a", "b"], [], "a", ["c", None])),
        "odd": rng.randrange(3),
        "items": rng.choice((1, 2, 3)),
        "big": rng.randrange(12),
    }
    rare = {
        "year": rng.choice((1.5, None, True)),
        "score": rng.choice(("high", 7)),
        "day": rng.choice(("soon", 5)),
        "lang": rng.choice((["en", "de"], 1)),
        "tags": rng.choice((1, [["a"]])),
        "odd": rng.choice(("x", {"deep": 1}, {"deep": "1"}, 2.5, True, None)),
        "items": rng.choice(([1, 2], [2.5], [])),
        "big": rng.choice((2**64 - 1, -0.0)),
    }
    kept = {name: value for name, value in common.items() if rng.random() < 0.6}
    return kept | {name: value for name, value in rare.items() if unusual and rng.random() < 0.4}


def answers(
    index: Index, *, filters: Sequence[Mapping[str, Any]] = FILTERS, encoder: Encoder | None = None
) -> dict[str, Any]:
    """What can be asked of an index, as JSON: its documents, those that filters allow, hits with and without filters.

    Searched is with one filter in six, in turns that follow from the number of documents.
    """
    documents = index.documents
    ids = dict(zip(documents.ordinals.tolist(), documents.ids(documents.ordinals), strict=True))
    found: dict[str, Any] = {
        "fingerprint": index.manifest.fingerprint,
        "documents": [[one.id, one.title, one.text, dict(one.metadata)] for one in documents],
        "allowed": [_allowed(index, ids, filter_) for filter_ in filters],
    }
    encoder = encoder or ToyEncoder()
    modes = [*index.parts, *([HYBRID] if len(index.parts) > 1 else [])]
    for using in modes:
        for by_document in (False, True) if index.manifest.chunking else (False,):
            retriever = Retriever(
                index,
                using=using,
                encoder=encoder,
                sparse_encoder=ToySparseEncoder(),
                by_document=by_document,
                threads=1,
            )
            for filter_ in (None, *filters[len(index) % 6 :: 6]):
                found[f"{using} {filter_} {by_document}"] = _hits(retriever, ids, filter_)
    return found


def _allowed(index: Index, ids: Mapping[int, str], filter_: Mapping[str, Any]) -> list[str] | str:
    """The documents that a filter allows, or why it cannot be understood."""
    try:
        return [ids[ordinal] for ordinal in index.documents.allowed(filter_).nonzero()[0].tolist()]
    except FilterError as error:
        return str(error)


def _hits(retriever: Retriever, ids: Mapping[int, str], filter_: Mapping[str, Any] | None) -> list[Any] | str:
    """Each query's ids and scores, or why the filter cannot be understood."""
    try:
        hits = retriever.search_batch(QUERIES, 100, filter=filter_)
    except FilterError as error:
        return str(error)
    return [
        [[ids[ordinal], score] for ordinal, score in zip(ordinals.tolist(), scores.tolist(), strict=True)]
        for ordinals, scores in hits.rows()
    ]

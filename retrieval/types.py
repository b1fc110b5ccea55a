"""The shared words: documents, queries, vectors and hits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Document",
    "EncoderCard",
    "Hit",
    "Hits",
    "ModelUse",
    "Passage",
    "Query",
    "Route",
    "ScoreKind",
    "Signal",
    "Signals",
    "SparseVectors",
    "TermSignal",
    "is_whole",
]


def is_whole(number: object) -> bool:
    """Whether it is a whole number, of Python or numpy; True and False are none."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


class ScoreKind(StrEnum):
    """What a score means.

    A `rank_fusion` score comes from ranks alone and a `score_fusion` score from scores rescaled within one query's
    lists: both order the hits of one query, and neither can be compared across queries or held to a threshold. Nor can
    `routed` ones: each query's are of the system that answered it.
    """

    BM25 = "bm25"
    DOT = "dot"
    COSINE = "cosine"
    RANK_FUSION = "rank_fusion"
    SCORE_FUSION = "score_fusion"
    LOGIT = "logit"
    ROUTED = "routed"


@dataclass(frozen=True, slots=True)
class Passage:
    """Where a passage stands: in which document, and from which character of its text to before which."""

    document: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """One document; `metadata` holds every further field of its record, as JSON values.

    `passage` is set where this is a part of a longer document, indexed by itself.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    passage: Passage | None = None

    @property
    def size(self) -> int:
        """Characters of it, more or less: what it takes in memory."""
        return len(self.text) + len(self.title) + (len(str(self.metadata)) if self.metadata else 0)

    @property
    def contents(self) -> str:
        """What is indexed: title, a space, text (BEIR's convention); empty for a document without either."""
        return f"{self.title} {self.text}".strip() if self.title else self.text.strip()


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a batch."""

    id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class EncoderCard:
    """What decides an encoder's vectors; an index keeps it, and refuses queries of an encoder with another.

    Attributes:
        model: the name by which it is loaded: `minilm`, a folder, a hub id, or one of the caller's own.
        dimensions: width of a vector.
        similarity: `cosine`, for which vectors are normalised, or `dot`.
        weights: a digest of its parameters.
        document_weights: where queries have a model of their own, a digest of the one that encodes documents.
        revision: of the hub, where it comes from there.
        max_length: tokens of a text that are read.
        pooling: how token vectors become one.
        modules: what it is made of, in order.
        prompts: what is put in front of queries and documents.
        precision: of the arithmetic that makes the vectors of documents: `float32`, `bfloat16`, `float16` or `int8`.
        runtime: what runs the model: `torch`, `openvino` or `onnx`.
        quantised: in int8, a digest of the quantised model, once it is calibrated.
        top_terms: of a sparse encoder, how many of the largest weights of a `query` and of a `document` are kept; a
            side that is not named keeps all.
    """

    model: str
    dimensions: int
    similarity: str
    weights: str | None = None
    document_weights: str | None = None
    revision: str | None = None
    max_length: int | None = None
    pooling: str | None = None
    modules: tuple[str, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict)
    precision: str = "float32"
    runtime: str = "torch"
    quantised: str | None = None
    top_terms: Mapping[str, int] = field(default_factory=dict)

    def differences(self, other: "EncoderCard") -> list[str]:
        """The fields that make the vectors of two encoders incomparable.

        The name and place of a model do not, nor does the precision in which it is run, nor do weights that encode
        queries alone, which may have learned since.
        """
        named = ("dimensions", "similarity", "weights", "max_length", "pooling", "prompts", "top_terms")
        alike = (self.document_weights or self.weights) == (other.document_weights or other.weights)
        left_out = ("weights",) if alike else ()
        return [name for name in named if name not in left_out and getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True, slots=True)
class ModelUse:
    """How large a model is that is loaded, and the device it runs on, by torch's name."""

    parameters: int
    device: str


@dataclass(frozen=True, slots=True)
class SparseVectors:
    """n sparse vectors, one after the other: of each the columns that are not zero, ascending, and their weights.

    Attributes:
        tokens: what each column stands for; it may have more columns than are used.
        offsets: (n + 1,) int64 where each vector's entries begin.
        columns: (entries,) int32.
        weights: (entries,) float32, above zero and at most LARGEST, so that no score is infinite.
    """

    LARGEST: ClassVar[float] = 1e18

    tokens: Sequence[str]
    offsets: NDArray[np.int64]
    columns: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, vectors: Iterable[Mapping[str, float]]) -> "SparseVectors":
        """Vectors given as weights by token; the columns are the tokens in the order in which they first appear."""
        numbers: dict[str, int] = {}
        rows = [
            sorted((numbers.setdefault(token, len(numbers)), weight) for token, weight in vector.items() if weight)
            for vector in vectors
        ]
        return cls(
            tokens=list(numbers),
            offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
            columns=np.array([column for row in rows for column, _ in row], dtype=np.int32),
            weights=np.array([weight for row in rows for _, weight in row], dtype=np.float32),
        )

    def row(self, i: int) -> dict[str, float]:
        """Vector i as weights by token, the largest first."""
        part = slice(self.offsets[i], self.offsets[i + 1])
        order = np.argsort(-self.weights[part], kind="stable")
        columns, weights = self.columns[part][order], self.weights[part][order]
        return {self.tokens[column]: weight for column, weight in zip(columns.tolist(), weights.tolist(), strict=True)}


@dataclass(frozen=True, slots=True)
class Signal:
    """What one stage said of a hit: its rank there, from 1, and its raw score."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class TermSignal:
    """What one token added to a learned-sparse score: its weight in the query times that in the document.

    `in_query` and `in_document` say whether it stands in the text, or is an expansion; None where nobody can tell.
    """

    score: float
    in_query: bool | None = None
    in_document: bool | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What a router made of one query.

    Attributes:
        choice: who answers: an expert, `base` where none is chosen, or a system.
        scores: what was said of each of them: an expert's similarity, -inf where it has no pilot; of a system the
            measure that is expected.
        margin: by how much the best is above the next.
        fallback: whether that was too little, so that the base answers.
    """

    choice: str
    scores: Mapping[str, float]
    margin: float
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer to one query, with the document's text and what each stage said of it.

    The text is empty where the index keeps none. `terms` holds what each token added to a learned-sparse score, the
    most first, where that was asked for.
    """

    id: str
    score: float
    rank: int
    title: str
    text: str
    metadata: Mapping[str, Any]
    signals: Mapping[str, Signal]
    passage: Passage | None = None
    terms: Mapping[str, TermSignal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signals:
    """What one stage said of every hit of a batch.

    Attributes:
        ranks: (n, k) int32, from 1; 0 where the stage did not return the document.
        scores: (n, k) float32; NaN where the stage did not return the document.
    """

    ranks: NDArray[np.int32]
    scores: NDArray[np.float32]

    @classmethod
    def empty(cls, n: int, k: int) -> "Signals":
        """Room for what a stage says of k hits of n queries; it has said nothing yet."""
        return cls(ranks=np.zeros((n, k), dtype=np.int32), scores=np.full((n, k), np.nan, dtype=np.float32))


@dataclass(frozen=True, slots=True)
class Hits:
    """The answers to a batch of n queries, best first; ties stand in ascending order of ordinals.

    Row i holds `counts[i]` hits, which can be fewer than were asked for; the cells after them are -1 and -inf and
    mean nothing.

    Attributes:
        ordinals: (n, k) int64 positions of the documents in the index.
        scores: (n, k) float32.
        counts: (n,) int64.
        kind: what the scores mean.
        signals: for each stage of a fused search, what it said of each hit.
    """

    ordinals: NDArray[np.int64]
    scores: NDArray[np.float32]
    counts: NDArray[np.int64]
    kind: ScoreKind
    signals: Mapping[str, Signals] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.counts)

    def row(self, i: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Query i's ordinals and scores, both (counts[i],)."""
        count = self.counts[i]
        return self.ordinals[i, :count], self.scores[i, :count]

    @property
    def own_signals(self) -> Signals:
        """What a stage that found these by itself says of them: their ranks and scores."""
        there = np.arange(self.ordinals.shape[1]) < self.counts[:, None]
        ranks = np.where(there, np.arange(1, self.ordinals.shape[1] + 1), 0).astype(np.int32)
        return Signals(ranks=ranks, scores=np.where(there, self.scores, np.nan).astype(np.float32))

    def rows(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Each query's ordinals and scores, in the order of the queries."""
        return (self.row(i) for i in range(len(self)))

    @classmethod
    def empty(cls, n: int, k: int, kind: ScoreKind) -> "Hits":
        """Room for n queries of at most k hits, none of them there yet."""
        ordinals, scores = np.empty((n, k), dtype=np.int64), np.empty((n, k), dtype=np.float32)
        ordinals.fill(-1)
        scores.fill(-np.inf)
        return cls(ordinals=ordinals, scores=scores, counts=np.zeros(n, dtype=np.int64), kind=kind)

"""BM25 and its variants, as weights that are computed once, when the index is built.

Formulas and names: Kamphuis et al., "Which BM25 do you mean?" (ECIR 2020); eager scoring: Lù, "BM25S" (arXiv
2407.03618). With N documents, df of them holding the term, frequency tf and relative length l = length / mean length:

    lucene     log(1 + (N - df + .5) / (df + .5))           · tf / (tf + k1 (1 - b + b l))
    robertson  max(0, log((N - df + .5) / (df + .5)))       · tf / (tf + k1 (1 - b + b l))
    atire      log(N / df)                                  · tf (k1 + 1) / (tf + k1 (1 - b + b l))
    bm25l      log((N + 1) / (df + .5))                     · (k1 + 1) (c + delta) / (k1 + c + delta),
                                                              c = tf / (1 - b + b l)
    bm25+      log((N + 1) / df)                            · (tf (k1 + 1) / (tf + k1 (1 - b + b l)) + delta)
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError

__all__ = ["BM25", "METHODS", "PRESETS"]

METHODS = ("lucene", "robertson", "atire", "bm25l", "bm25+")

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BM25:
    """A variant of BM25 and its parameters; the defaults are those of the package bm25s.

    Attributes:
        method: one of METHODS.
        k1: how fast repeated terms saturate, at least 0.
        b: how much a document's length counts, from 0 to 1.
        delta: the floor that bm25l and bm25+ give a term that occurs, at least 0; the others ignore it.
    """

    method: str = "lucene"
    k1: float = 1.5
    b: float = 0.75
    delta: float = 0.5

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"BM25 method must be one of {', '.join(METHODS)}; got {self.method!r}")
        for name, limit in (("k1", np.inf), ("b", 1.0), ("delta", np.inf)):
            value = getattr(self, name)
            if not 0 <= value <= limit or value == np.inf:
                raise InputError(f"BM25 {name} must be a number from 0{' to 1' if limit == 1 else ''}; got {value!r}")

    @classmethod
    def preset(cls, name: str) -> Self:
        """A named set of parameters, one of PRESETS."""
        if name not in PRESETS:
            raise InputError(f"BM25 preset must be one of {', '.join(PRESETS)}; got {name!r}")
        k1, b = PRESETS[name]
        return cls(k1=k1, b=b)

    def idf(self, df: NDArray[np.int64], n_documents: int) -> Floats:
        """The weight of each term, (terms,), for document frequencies of at least 1; never below 0."""
        odds = (n_documents - df + 0.5) / (df + 0.5)
        match self.method:
            case "lucene":
                return np.log1p(odds)
            case "robertson":
                return np.log(np.maximum(odds, 1.0))
            case "atire":
                return np.log(n_documents / df)
            case "bm25l":
                return np.log((n_documents + 1) / (df + 0.5))
            case _:
                return np.log((n_documents + 1) / df)

    def norms(self, relative_lengths: Floats) -> Floats:
        """How much each document's length, relative to the mean, holds its frequencies down, (documents,)."""
        return 1 - self.b + self.b * relative_lengths

    def saturation(self, tf: NDArray[np.integer], norm: Floats) -> Floats:
        """How much of a term's weight a document gets, for its frequency and its norm."""
        match self.method:
            case "lucene" | "robertson":
                return tf / (self.k1 * norm + tf)
            case "atire":
                return tf * (self.k1 + 1) / (self.k1 * norm + tf)
            case "bm25l":
                c = tf / norm + self.delta
                return (self.k1 + 1) * c / (self.k1 + c)
            case _:
                return tf * (self.k1 + 1) / (self.k1 * norm + tf) + self.delta

    @property
    def absent_saturation(self) -> float:
        """What a document without the term gets: above 0 in bm25l and bm25+ only."""
        match self.method:
            case "bm25l":
                return (self.k1 + 1) * self.delta / (self.k1 + self.delta) if self.delta else 0.0
            case "bm25+":
                return self.delta
            case _:
                return 0.0


PRESETS = {"bm25s": (1.5, 0.75), "anserini": (0.9, 0.4)}
"""k1 and b, by the name of the system whose defaults they are."""

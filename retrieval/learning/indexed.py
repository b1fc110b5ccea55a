"""An index whose documents stay as they are while a query side is trained: ADORE's, or a router's."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ArtifactMissingError, InputError
from retrieval.indexing import Index
from retrieval.protocols import Progress

if TYPE_CHECKING:
    from retrieval.encoders.neural.dual import DualEncoder

__all__ = ["IndexedDocuments", "index_of"]


def index_of(encoder: "DualEncoder", own: Path, corpus: Path | None, index: Path | None, show: Progress) -> Index:
    """The index that is given, or one of the corpus by this model at `own`, which an earlier run may have built.

    Raises:
        InputError: neither an index nor a corpus is given.
    """
    if index is not None:
        return Index.open(index)
    if corpus is None:
        raise InputError("an index is searched: of one folder of documents", hint="give one BEIR folder, or --index")
    try:
        return Index.open(own)
    except ArtifactMissingError:
        device = str(encoder.device)
        return Index.build(
            corpus, own, lexical=False, dense=encoder.name, device=device, on_error="skip", progress=show
        )


class IndexedDocuments:
    """The dense part of an index, in whose place documents are named by their rows in training data.

    Args:
        index: with a dense part.
        ids: of the rows; those that the index lacks are never found.
    """

    def __init__(self, index: Index, ids: Sequence[str]) -> None:
        if index.dense is None or index.manifest.dense is None:
            raise ArtifactMissingError(f"{index.path} has no dense part", hint="build it with one: --dense MODEL")
        self._dense = index.dense
        self.fingerprint = index.manifest.fingerprint
        self.dimensions = index.dense.dimensions
        self.encoder_digest = index.manifest.dense.encoder.document_weights or index.manifest.dense.encoder.weights
        places, ordinals = index.documents.find(ids)
        self._ordinals = np.full(len(ids), -1, dtype=np.int64)
        self._ordinals[places] = ordinals
        self._rows = np.full(int(ordinals.max(initial=-1)) + 2, -1, dtype=np.int64)
        self._rows[ordinals] = places

    @property
    def lacking(self) -> int:
        """How many rows the index has no document for."""
        return int((self._ordinals < 0).sum())

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """(n, k) rows, best first; -1 where there are fewer, or the data has no such document."""
        hits = self._dense.search(queries, k)
        found = np.full((len(queries), hits.ordinals.shape[1]), -1, dtype=np.int64)
        there = np.arange(found.shape[1]) < hits.counts[:, None]
        found[there] = self._rows[np.minimum(hits.ordinals[there], len(self._rows) - 1)]
        return found

    def has(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(m,) whether the index has such documents."""
        return self._ordinals[rows] >= 0

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m, d) of documents that the index has."""
        return self._dense.vectors_of(self._ordinals[rows])

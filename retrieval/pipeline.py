"""Search: a query becomes hits."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.dense import check_card, load_encoder
from retrieval.errors import ArtifactMissingError, InputError
from retrieval.fusion import Fusion, MinMax, fuse
from retrieval.grouping import best_of_each
from retrieval.indexing import Index
from retrieval.protocols import Encoder
from retrieval.types import Hit, Hits, Signal

__all__ = ["MODES", "Retriever", "load_query_encoder"]

MODES = {"lexical": ("lexical",), "dense": ("dense",), "hybrid": ("lexical", "dense")}
"""What each mode of search needs of an index."""


# How many passages are looked at for each document that is wanted, at first.
_PASSAGES_PER_DOCUMENT = 4

Filter = Mapping[str, Any]


def load_query_encoder(index: Index, device: str | None = None, *, model: str | None = None) -> Encoder:
    """The encoder that the index' dense part was built with; an error if there is no such part, or not this model.

    `model` says where it is now, where that is not the place or name it had.
    """
    if index.manifest.dense is None:
        raise ArtifactMissingError(f"{index.path} has no dense part", hint="build it with one: --dense MODEL")
    card = index.manifest.dense.encoder
    return load_encoder(model or card.model, device=device, expected=card)


class Retriever:
    """Answers queries over an index: retrieve with each stage, fuse, cut.

    Args:
        index: an open index, or the path of one.
        using: `lexical`, `dense` or `hybrid`; None takes hybrid where the index holds both parts, else the one it has.
        fusion: how hybrid puts the two lists together; min-max sum by default.
        encoder: the query side of the dense part; None loads the model that the index was built with, at first use.
        by_document: of an index of passages, return the best passage of each document; k counts documents.
        device: torch's device for that model.
        threads: cores for a batch; None takes all there are.
    """

    def __init__(
        self,
        index: Index | str | Path,
        *,
        using: str | None = None,
        fusion: Fusion | None = None,
        encoder: Encoder | None = None,
        by_document: bool = False,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.index = index if isinstance(index, Index) else Index.open(index)
        self.using = using or ("hybrid" if len(self.index.parts) > 1 else self.index.parts[0])
        self.fusion = fusion or MinMax()
        if encoder and self.index.manifest.dense:
            check_card(encoder.card, self.index.manifest.dense.encoder)
        self._encoder = encoder
        # In an index of whole documents there is nothing to group.
        self._by_document = by_document and self.index.manifest.chunking is not None
        self._device = device
        if threads is not None and threads < 1:
            raise InputError(f"threads must be at least 1; got {threads}")
        self._threads = threads or os.cpu_count() or 1
        self._check_parts()

    def _check_parts(self) -> None:
        if self.using not in MODES:
            raise InputError(f"using must be one of {', '.join(MODES)}; got {self.using!r}")
        for name in MODES[self.using]:
            if name not in self.index.parts:
                raise ArtifactMissingError(
                    f"{self.index.path} has no {name} part, which {self.using} search needs; "
                    f"it has: {', '.join(self.index.parts)}",
                    hint=f"build it with one: --{name}" + (" MODEL" if name == "dense" else ""),
                )

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the hits, as JSON: how the index was built, and how its lists are fused."""
        manifest = self.index.manifest.model_dump(mode="json")
        parts = {name: manifest[name] for name in MODES[self.using]}
        fusion = {"fusion": {"method": type(self.fusion).__name__, **asdict(self.fusion)}} if len(parts) > 1 else {}
        return {
            "using": self.using,
            "fingerprint": manifest["fingerprint"],
            "chunking": manifest["chunking"],
            **parts,
            **fusion,
        }

    def search(self, query: str, k: int = 10, *, filter: Filter | None = None) -> list[Hit]:
        """The best k documents of one query, with their texts; fewer where fewer match.

        `filter` leaves out documents by their metadata, in the form of `retrieval.index.documents.filters`.
        """
        return self.resolve(self.search_batch([query], k, filter=filter), 0)

    async def asearch(self, query: str, k: int = 10, *, filter: Filter | None = None) -> list[Hit]:
        """The same as `search`, in a thread, so that an event loop goes on meanwhile."""
        return await asyncio.to_thread(self.search, query, k, filter=filter)

    def search_batch(self, queries: Sequence[str], k: int = 10, *, filter: Filter | None = None) -> Hits:
        """The best k documents of each query, as arrays; `ids` turns ordinals into ids.

        An empty query, or one of white space, has no hits. k may exceed the number of documents.
        """
        queries = queries if isinstance(queries, str) else list(queries)
        if isinstance(queries, str) or not all(isinstance(query, str) for query in queries):
            raise InputError("queries must be strings, several of them")
        if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 0:
            raise InputError(f"k must be a whole number of at least 0; got {k!r}")
        self.index.ledger.check_lengths()
        allowed = None if filter is None else self.index.documents.allowed(filter)
        if self._by_document:
            return self._grouped(queries, k, allowed)
        # The same depth for every k, so that a smaller k gives the beginning of what a larger one does.
        return self._ranked(queries, k, self.fusion.depth, allowed)

    def _ranked(self, queries: Sequence[str], k: int, depth: int, allowed: NDArray[np.bool_] | None) -> Hits:
        """Retrieve with each stage, fuse `depth` hits of each where there are several, cut."""
        if self.using != "hybrid":
            return self._retrieve(self.using, queries, k, allowed)
        lists = {name: self._retrieve(name, queries, depth, allowed) for name in MODES[self.using]}
        return fuse(lists, self.fusion, k)

    def _grouped(self, queries: Sequence[str], k: int, allowed: NDArray[np.bool_] | None) -> Hits:
        """The best passage of each of the best k documents: look deeper until there are k, or no more passages."""
        depth = _PASSAGES_PER_DOCUMENT * k
        while True:
            passages = self._ranked(queries, depth, max(depth, self.fusion.depth), allowed)
            hits = best_of_each(passages, self.index.documents.groups, k)
            if np.all((hits.counts == k) | (passages.counts < depth)):
                return hits
            depth *= _PASSAGES_PER_DOCUMENT

    def ids(self, ordinals: NDArray[np.int64]) -> list[str]:
        """The external ids of hits: of documents where they are grouped by document, else of what is indexed."""
        documents = self.index.documents
        return documents.document_ids(ordinals) if self._by_document else documents.ids(ordinals)

    def resolve(self, hits: Hits, query: int) -> list[Hit]:
        """One query's hits of a batch, with their texts and signals."""
        return [self._hit(hits, query, i) for i in range(hits.counts[query])]

    def _retrieve(self, stage: str, queries: Sequence[str], k: int, allowed: NDArray[np.bool_] | None) -> Hits:
        search = self._search_lexical if stage == "lexical" else self._search_dense
        return search(queries, k, allowed)

    def _search_lexical(self, queries: Sequence[str], k: int, allowed: NDArray[np.bool_] | None) -> Hits:
        assert self.index.lexical
        return self.index.lexical.search(queries, k, self._threads, allowed)

    def _search_dense(self, queries: Sequence[str], k: int, allowed: NDArray[np.bool_] | None) -> Hits:
        assert self.index.dense
        asked = [i for i, query in enumerate(queries) if query.strip()]
        vectors = self._encode([queries[i] for i in asked])
        found = self.index.dense.search(vectors, k, self._threads, allowed)
        if len(asked) == len(queries):
            return found
        hits = Hits.empty(len(queries), found.ordinals.shape[1], found.kind)
        for name in ("ordinals", "scores", "counts"):
            getattr(hits, name)[asked] = getattr(found, name)
        return hits

    def _encode(self, queries: list[str]) -> NDArray[np.float32]:
        """The queries' vectors, (n, d); without queries, no model is loaded."""
        assert self.index.dense
        if not queries:
            return np.empty((0, self.index.dense.dimensions), dtype=np.float32)
        if self._encoder is None:
            self._encoder = load_query_encoder(self.index, self._device)
        return self._encoder.encode_queries(queries)

    def _hit(self, hits: Hits, query: int, i: int) -> Hit:
        document = self.index.documents[int(hits.ordinals[query, i])]
        score = float(hits.scores[query, i])
        signals = {
            name: Signal(rank=int(signal.ranks[query, i]), score=float(signal.scores[query, i]))
            for name, signal in hits.signals.items()
            if signal.ranks[query, i]
        }
        return Hit(
            id=document.passage.document if self._by_document and document.passage else document.id,
            score=score,
            rank=i + 1,
            title=document.title,
            text=document.text,
            metadata=document.metadata,
            passage=document.passage,
            signals=signals or {self.using: Signal(rank=i + 1, score=score)},
        )

"""Search: a query becomes hits."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.calibrating import show_passages
from retrieval.encoders.dense import check_card
from retrieval.errors import ArtifactMissingError, InputError
from retrieval.explaining import with_terms
from retrieval.fusion import Fusion, MinMax, fuse
from retrieval.grouping import best_of_each
from retrieval.index.artifact import PARTS
from retrieval.index_models import load_query_encoder, load_sparse_query_encoder
from retrieval.indexing import Index
from retrieval.protocols import CalibratedReranker, Encoder, HasModel, SparseEncoder
from retrieval.rerank.loading import load_reranker
from retrieval.reranking import RERANK, Reranking, checked, rerank
from retrieval.routing.experts import ExpertRouter
from retrieval.routing.manifest import ExpertsManifest, RouterManifest, SystemsManifest
from retrieval.routing.opening import Router, open_router
from retrieval.routing.systems import SystemRouter, in_groups, parse_system
from retrieval.types import Hit, Hits, ModelUse, Route, Signal, SparseVectors, is_whole
from retrieval.vectors import StoredQueries

__all__ = [
    "HYBRID",
    "ROUTED",
    "STAGES",
    "Retriever",
    "parse_using",
    "routed_stages",
]

STAGES = PARTS
"""What can find documents: each kind of index by itself."""

HYBRID = "hybrid"
"""Every part that the index has, fused."""

ROUTED = "routed"
"""What a router chooses for each query."""


def parse_using(using: str) -> tuple[str, ...] | None:
    """The stages that a mode of search names, with `+` between them; None for `hybrid`, all there are.

    Raises:
        InputError: one of them is no stage, or stands there twice.
    """
    if using == HYBRID:
        return None
    stages = tuple(using.split("+"))
    if not set(stages) <= set(STAGES) or len(set(stages)) < len(stages):
        raise InputError(
            f"using must be one of {', '.join((*STAGES, HYBRID))}, or several as lexical+sparse; got {using!r}"
        )
    return stages


def routed_stages(router: RouterManifest) -> tuple[str, ...]:
    """The stages that a router's choices search with; hybrid is what it was when the router was made."""
    if isinstance(router, ExpertsManifest):
        return ("dense",)
    modes = [parse_system(name).mode for name in router.names]
    named = {stage for mode in modes for stage in parse_using(mode) or router.parts}
    return tuple(stage for stage in STAGES if stage in named)


def fuses(using: str, router: RouterManifest | None = None) -> bool:
    """Whether a mode of search puts several lists together; routed, whether any choice of the router does."""
    if using == ROUTED:
        names = router.names if isinstance(router, SystemsManifest) else ()
        return any(fuses(parse_system(name).mode) for name in names)
    stages = parse_using(using)
    return stages is None or len(stages) > 1


def usual_mode(index: Index) -> str:
    """How an index is searched where nothing says how: hybrid if it holds several parts, else by the one it has."""
    return HYBRID if len(index.parts) > 1 else index.parts[0]


# Held while a model is loaded at its first use, which several threads may come to at once.
_LOADING = Lock()
# The same for a reranker that is calibrated.
_CALIBRATING = Lock()

# How many passages are looked at for each document that is wanted, at first.
_PASSAGES_PER_DOCUMENT = 4

Filter = Mapping[str, Any]
Allowed = NDArray[np.bool_] | None


class Retriever:
    """Answers queries over an index: retrieve with each stage, fuse, cut.

    Args:
        index: an open index, or the path of one.
        using: `lexical`, `sparse` or `dense`; several as `lexical+sparse`; `hybrid`, all that the index holds; or
            `routed`. None takes hybrid where the index holds several parts, else the one it has.
        fusion: how several lists are put together; min-max sum by default.
        encoder: the query side of the dense part; None loads the model that the index was built with, at first use.
        sparse_encoder: that of the learned-sparse part, in the same way; or `StoredQueries`.
        rerank: a cross-encoder or set-encoder that orders the first hits anew: its name, or how to.
        router: for `routed`, what chooses an expert or a system for each query, or its folder.
        by_document: of an index of passages, return the best passage of each document; k counts documents.
        device: torch's device for that model, and for the search of vectors; None takes a GPU where there is one.
        threads: cores for a batch; None takes all there are.
    """

    def __init__(
        self,
        index: Index | str | Path,
        *,
        using: str | None = None,
        fusion: Fusion | None = None,
        encoder: Encoder | None = None,
        sparse_encoder: SparseEncoder | StoredQueries | None = None,
        rerank: str | Reranking | None = None,
        router: str | Path | Router | None = None,
        by_document: bool = False,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.index = index if isinstance(index, Index) else Index.open(index)
        self.using = using or usual_mode(self.index)
        if (self.using == ROUTED) != (router is not None):
            raise InputError("routed search and a router go together", hint="--using routed --router DIR")
        self.router = open_router(router, device) if isinstance(router, str | Path) else router
        self.stages = self._stages()
        self.fusion = fusion or MinMax()
        if isinstance(self.router, ExpertRouter):
            encoder = self.router
        if encoder and self.index.manifest.dense:
            check_card(encoder.card, self.index.manifest.dense.encoder)
        self._encoder = encoder
        if sparse_encoder and sparse_encoder.card and self.index.manifest.sparse and self.index.manifest.sparse.encoder:
            check_card(sparse_encoder.card, self.index.manifest.sparse.encoder)
        self._sparse_encoder = sparse_encoder
        named = load_reranker(rerank, device=device) if isinstance(rerank, str) else None
        self.reranking = Reranking(model=named) if named else checked(rerank)
        if isinstance(self.router, SystemRouter):
            self.router.check(self.index.manifest, self.stages, self.reranking)
        if self.reranking and not self.index.manifest.stores_text:
            raise InputError(f"{self.index.path} keeps no texts, which reranking reads", hint="build it with texts")
        # In an index of whole documents there is nothing to group.
        self._by_document = by_document and self.index.manifest.chunking is not None
        self._device = device
        if threads is not None and threads < 1:
            raise InputError(f"threads must be at least 1; got {threads}")
        self._threads = threads or os.cpu_count() or 1

    def _stages(self) -> tuple[str, ...]:
        """All stages to search with; an error if the index lacks one."""
        if self.router:
            return self._there(routed_stages(self.router.manifest), self.using)
        return self._stages_of(self.using)

    def _stages_of(self, using: str) -> tuple[str, ...]:
        return self._there(parse_using(using) or self._hybrid(), using)

    def _hybrid(self) -> tuple[str, ...]:
        """All that the index holds; to a router over systems, all that the indexes held that it was made with."""
        if isinstance(self.router, SystemRouter):
            return tuple(stage for stage in STAGES if stage in self.router.manifest.parts)
        return tuple(self.index.parts) if len(self.index.parts) > 1 else ("lexical", "dense")

    def _there(self, stages: tuple[str, ...], using: str) -> tuple[str, ...]:
        """The stages; an error if the index lacks one."""
        parts = self.index.parts
        for name in stages:
            if name not in parts:
                raise ArtifactMissingError(
                    f"{self.index.path} has no {name} part, which {using} search needs; it has: {', '.join(parts)}",
                    hint=f"build it with one: --{name}" + (" MODEL" if name != "lexical" else ""),
                )
        return stages

    @property
    def name(self) -> str:
        """What results call it: its mode of search, and whether hits are reranked."""
        return f"{self.using}+{RERANK}" if self.reranking else self.using

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the hits, as JSON: how the index was built, and how its lists are fused."""
        manifest = self.index.manifest.model_dump(mode="json")
        parts = {name: manifest[name] for name in self.stages}
        if "dense" in parts and self._encoder and self._encoder.card.weights != parts["dense"]["encoder"]["weights"]:
            parts["dense"]["query_encoder"] = asdict(self._encoder.card)
        fusion = {"fusion": {"method": type(self.fusion).__name__, **asdict(self.fusion)}} if len(parts) > 1 else {}
        return {
            "using": self.using,
            "fingerprint": manifest["fingerprint"],
            "chunking": manifest["chunking"],
            **parts,
            **fusion,
            **({"rerank": self.reranking.settings} if self.reranking else {}),
            **({"router": self.router.settings} if self.router else {}),
        }

    @property
    def models(self) -> list[ModelUse]:
        """Those that have taken part in searches, in the order in which they do."""
        reranker = self.reranking.model if self.reranking else None
        encoders = {"sparse": self._sparse_encoder, "dense": self._encoder}
        used: list[object] = [*(encoders.get(stage) for stage in self.stages), reranker]
        return [model.use for model in used if isinstance(model, HasModel)]

    @property
    def has_stored_queries(self) -> bool:
        """Whether the sparse vectors of queries were computed elsewhere, so that no search encodes them."""
        return "sparse" in self.stages and isinstance(self._sparse_encoder, StoredQueries)

    def search(self, query: str, k: int = 10, *, filter: Filter | None = None, explain: bool = False) -> list[Hit]:
        """The best k documents of one query, with their texts; fewer where fewer match.

        Args:
            query: its text.
            k: hits.
            filter: leaves out documents by their metadata, in the form of `retrieval.index.documents.filters`.
            explain: fill in the hits' `terms`, where a learned-sparse part took part.
        """
        hits = self.search_batch([query], k, filter=filter)
        resolved = self.resolve(hits, 0)
        if explain and any("sparse" in hit.signals for hit in resolved):
            return with_terms(self.index, self._query_side(), query, hits.row(0)[0], resolved)
        return resolved

    async def asearch(
        self, query: str, k: int = 10, *, filter: Filter | None = None, explain: bool = False
    ) -> list[Hit]:
        """The same as `search`, in a thread, so that an event loop goes on meanwhile."""
        return await asyncio.to_thread(self.search, query, k, filter=filter, explain=explain)

    def search_batch(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        filter: Filter | None = None,
        among: Sequence[str] | None = None,
    ) -> Hits:
        """The best k documents of each query, as arrays; `ids` turns ordinals into ids.

        An empty query, or one of white space, has no hits. k may exceed the number of documents. Where `among` is
        given, only documents with one of these ids can be hits, and ids that no document has are nothing.
        """
        queries = queries if isinstance(queries, str) else list(queries)
        if isinstance(queries, str) or not all(isinstance(query, str) for query in queries):
            raise InputError("queries must be strings, several of them")
        if not is_whole(k) or k < 0:
            raise InputError(f"k must be a whole number of at least 0; got {k!r}")
        self.index.ledger.check_lengths()
        allowed = None if filter is None else self.index.documents.allowed(filter)
        if among is not None:
            named = np.zeros(self.index.documents.rows, dtype=bool)
            named[self.index.documents.find(among)[1]] = True
            allowed = named if allowed is None else named & allowed
        if not isinstance(self.router, SystemRouter):
            return self._answered(queries, k, allowed, self.stages, self.reranking)
        systems = self.router.systems

        def answer(choice: str, some: Sequence[str]) -> Hits:
            stages, reranking = self._stages_of(systems[choice].mode), systems[choice].reranking(self.reranking)
            hits = self._answered(some, k, allowed, stages, reranking)
            return hits if hits.signals else replace(hits, signals={stages[0]: hits.own_signals})

        routes = self.router.routes(self.index, queries, allowed, self._threads)
        return in_groups(queries, [route.choice for route in routes], answer, (*self.stages, RERANK))

    def routes(self, queries: Sequence[str], *, filter: Filter | None = None) -> list[Route]:
        """Who answers each query in a search with this filter, and why; nobody is asked without a router."""
        if not isinstance(self.router, SystemRouter):
            return self.router.routes(queries) if self.router else []
        allowed = None if filter is None else self.index.documents.allowed(filter)
        return self.router.routes(self.index, queries, allowed, self._threads)

    def _answered(
        self, queries: Sequence[str], k: int, allowed: Allowed, stages: Sequence[str], reranking: Reranking | None
    ) -> Hits:
        """Retrieve, fuse, rerank, cut."""
        found = max(k, reranking.reads) if reranking else k
        if self._by_document:
            hits = self._grouped(queries, found, allowed, stages)
        else:
            # The same depth for every k, so that a smaller k gives the beginning of what a larger one does.
            hits = self._ranked(queries, found, self.fusion.depth, allowed, stages)
        if reranking is None:
            return hits
        self.calibrate()
        return rerank(hits, queries, self._texts, reranking, stage=stages[0], k=k)

    def calibrate(self) -> None:
        """Let a reranker in int8 see what the first stage finds, if it has seen none; the first search does so, too.

        `settings` tell afterwards which int8 model it is.
        """
        how = self.reranking
        if how and isinstance(how.model, CalibratedReranker):
            with _CALIBRATING:
                first = partial(self._retrieve, self.stages[0], allowed=None)
                show_passages(how.model, how.queries, self.index.documents, first)

    def _texts(self, ordinals: NDArray[np.int64]) -> list[str]:
        return [self.index.documents[int(ordinal)].contents for ordinal in ordinals]

    def _ranked(self, queries: Sequence[str], k: int, depth: int, allowed: Allowed, stages: Sequence[str]) -> Hits:
        """Retrieve with each stage, fuse `depth` hits of each where there are several, cut."""
        if len(stages) == 1:
            return self._retrieve(stages[0], queries, k, allowed)
        lists = {name: self._retrieve(name, queries, depth, allowed) for name in stages}
        return fuse(lists, self.fusion, k)

    def _grouped(self, queries: Sequence[str], k: int, allowed: Allowed, stages: Sequence[str]) -> Hits:
        """The best passage of each of the best k documents: look deeper until there are k, or no more passages."""
        depth = _PASSAGES_PER_DOCUMENT * k
        while True:
            passages = self._ranked(queries, depth, max(depth, self.fusion.depth), allowed, stages)
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

    def _retrieve(self, stage: str, queries: Sequence[str], k: int, allowed: Allowed) -> Hits:
        if stage == "lexical":
            assert self.index.lexical
            return self.index.lexical.search(queries, k, self._threads, allowed)
        search = self._search_sparse if stage == "sparse" else self._search_dense
        # An encoder makes something of white space too, which nobody asked for.
        asked = [i for i, query in enumerate(queries) if query.strip()]
        found = search([queries[i] for i in asked], k, allowed)
        if len(asked) == len(queries):
            return found
        hits = Hits.empty(len(queries), found.ordinals.shape[1], found.kind)
        for name in ("ordinals", "scores", "counts"):
            getattr(hits, name)[asked] = getattr(found, name)
        return hits

    def _search_sparse(self, queries: list[str], k: int, allowed: Allowed) -> Hits:
        """Without queries, no model is loaded."""
        assert self.index.sparse
        vectors = self._query_side().encode_queries(queries) if queries else SparseVectors.of([])
        return self.index.sparse.search(vectors, k, self._threads, allowed)

    def _query_side(self) -> SparseEncoder | StoredQueries:
        with _LOADING:
            if self._sparse_encoder is None:
                self._sparse_encoder = load_sparse_query_encoder(self.index, self._device)
        return self._sparse_encoder

    def _search_dense(self, queries: list[str], k: int, allowed: Allowed) -> Hits:
        """Without queries, no model is loaded."""
        assert self.index.dense
        vectors = np.empty((0, self.index.dense.dimensions), dtype=np.float32)
        if queries:
            with _LOADING:
                if self._encoder is None:
                    self._encoder = load_query_encoder(self.index, self._device)
            vectors = self._encoder.encode_queries(queries)
        return self.index.dense.search(vectors, k, self._threads, allowed, device=self._device)

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
            signals=signals or {self.stages[0]: Signal(rank=i + 1, score=score)},
        )

"""Measure: an index, systems that search it, and a test collection become results."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from retrieval.beir_eval.datasets import Collection
from retrieval.beir_eval.evaluation import SystemResult, evaluate_system
from retrieval.beir_eval.measures import DEFAULT_MEASURES, parse_measures
from retrieval.beir_eval.runs import Ties
from retrieval.corpus import read_documents
from retrieval.describing import lexical_options
from retrieval.errors import ArtifactDamagedError, ArtifactExistsError, ArtifactMissingError
from retrieval.evaluating.costs import BuildTime, Stopwatch, standing_cost
from retrieval.index.documents.fingerprint import Fingerprint, digest_of
from retrieval.index.journal import Journal
from retrieval.index.manifest import LucenePart, Manifest, SparsePart
from retrieval.indexing import Corpus, Index, LexicalOptions, LuceneOptions
from retrieval.pipeline import Retriever
from retrieval.protocols import Encoder, Progress, SparseEncoder, silent
from retrieval.types import Hits, Query
from retrieval.vectors import VectorFile

__all__ = ["evaluate", "index_for"]


def evaluate(
    collection: Collection,
    retrievers: Iterable[Retriever],
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    k: int = 1000,
    without_own: bool = False,
    ties: Ties | None = None,
    built: BuildTime | None = None,
) -> list[SystemResult]:
    """Run a collection's queries with each retriever and measure the hits; a system is called by its mode of search.

    Args:
        collection: of `retrieval.beir_eval.datasets.load_collection`.
        retrievers: what is measured; of an index of passages they should be grouped by document.
        measures: ir-measures' names; Judged@10 is taken with them.
        k: hits of each query.
        without_own: leave out a document whose id is the query's own.
        ties: the order of documents with equal scores, by id; None takes Anserini's where Lucene alone searches, or
            sparse vectors that came in its form, and else trec_eval's, as the figures were that each is compared with.
        built: how long their index took, for their cost, if that is known.
    """
    parsed, results = parse_measures(measures), []
    for retriever in retrievers:
        retriever.calibrate()  # of which its settings tell
        result = evaluate_system(
            retriever.name,
            collection,
            partial(_answers, retriever),
            retriever.ids,
            parsed,
            k=k,
            without_own=without_own,
            settings=retriever.settings,
            ties=ties or _usual_ties(retriever),
        )
        results.append(replace(result, cost={**result.cost, **standing_cost(retriever, built)}))
    return results


def _answers(retriever: Retriever, queries: Sequence[Query], k: int) -> Hits:
    return retriever.search_batch([query.text for query in queries], k)


def _usual_ties(retriever: Retriever) -> Ties:
    manifest = retriever.index.manifest
    anserini = {
        "lexical": isinstance(manifest.lexical, LucenePart),
        "sparse": manifest.sparse is not None and manifest.sparse.encoder is None,
    }
    return "ascending" if anserini.get(retriever.using) else "descending"


def index_for(
    data: Corpus,
    path: Path,
    lexical: LexicalOptions | LuceneOptions,
    encoder: Encoder | None,
    sparse: SparseEncoder | VectorFile | None = None,
    *,
    overwrite: bool = False,
    restart: bool = False,
    progress: Progress = silent,
) -> tuple[Index, bool, BuildTime | None]:
    """The index at `path` if it was built of `data` in this way, else a new one; whether it is new, and its time.

    The time is None unless the whole of it was built now. `data` is read twice, so it is no iterator.

    One that lacks just the sparse or the dense part is replaced by one that has it. A build that was interrupted goes
    on, or is discarded if `restart` is set.

    Raises:
        ArtifactExistsError: an index of other documents or settings is there, and `overwrite` is not set.
        ArtifactDamagedError: a damaged one is there, and `overwrite` is not set.
    """
    try:
        index = Index.open(path)
        difference = _difference(index.manifest, data, lexical, encoder, sparse)
        if difference is None and (encoder is None or index.dense) and (sparse is None or index.sparse):
            return index, False, None
        if difference and not overwrite:
            raise ArtifactExistsError(
                f"the index at {path} was built with {difference}",
                hint="name another --out, or replace it: --overwrite",
            )
        overwrite = True
    except ArtifactMissingError:
        pass  # none is there, or what a killed build left
    except ArtifactDamagedError:
        if not overwrite:
            raise
    whole = restart or Journal.read(path) is None  # else this only goes on with it
    watch = Stopwatch(progress)
    index = Index.build(
        data,
        path,
        lexical=lexical,
        dense=encoder,
        sparse=sparse,
        overwrite=overwrite,
        restart=restart,
        progress=watch,
    )
    return index, True, watch.read() if whole else None


def _difference(
    manifest: Manifest,
    data: Corpus,
    lexical: LexicalOptions | LuceneOptions,
    encoder: Encoder | None,
    sparse: SparseEncoder | VectorFile | None,
) -> str | None:
    """What an index has otherwise; None if it can serve."""
    if lexical_options(manifest) != lexical:
        return "other lexical settings"
    if encoder and manifest.dense and encoder.card.differences(manifest.dense.encoder):
        return "another model, or other dimensions of it"
    if encoder and manifest.dense and encoder.card.precision != manifest.dense.encoder.precision:
        return f"vectors in {manifest.dense.encoder.precision}"
    if sparse is not None and manifest.sparse and _other_vectors(manifest.sparse, sparse):
        return "other sparse vectors"
    if manifest.chunking or manifest.fingerprint != str(Fingerprint.of(map(digest_of, read_documents(data)))):
        return "other documents"
    return None


def _other_vectors(part: SparsePart, source: SparseEncoder | VectorFile) -> bool:
    if isinstance(source, VectorFile):
        return part.vectors_from != source.digest
    return part.encoder is None or bool(source.card.differences(part.encoder))

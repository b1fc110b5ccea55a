"""The engines of the dense benchmark: one short module each, all with the interface of `base.Engine`."""

from importlib import import_module

from dense_engines.base import Engine

OURS = ("retrieval-auto",)

LAYERS = {f"retrieval-{kind}": f"faiss-{kind}" for kind in ("flat", "hnsw", "ivf", "ivf-pq")}
"""Our engine with one faiss index, and the plain faiss index that it is held to."""

ENGINES = {
    "faiss-flat": "dense_engines.faiss_plain:Flat",
    "faiss-hnsw": "dense_engines.faiss_plain:Hnsw",
    "faiss-ivf": "dense_engines.faiss_plain:Ivf",
    "faiss-ivf-pq": "dense_engines.faiss_plain:IvfPq",
    "hnswlib": "dense_engines.hnswlib_peer:Hnswlib",
    "usearch": "dense_engines.usearch_peer:Usearch",
    "usearch-i8": "dense_engines.usearch_peer:UsearchInt8",
    "retrieval-auto": "dense_engines.ours:Auto",
    "retrieval-flat": "dense_engines.ours:Flat",
    "retrieval-hnsw": "dense_engines.ours:Hnsw",
    "retrieval-ivf": "dense_engines.ours:Ivf",
    "retrieval-ivf-pq": "dense_engines.ours:IvfPq",
}
"""Where each stands. A module is imported in the engine's own process, so that a missing package stops only that."""


def engine_class(name: str) -> type[Engine]:
    """The class of an engine; raises whatever its packages raise where they cannot be imported."""
    module, _, cls = ENGINES[name].partition(":")
    found: type[Engine] = getattr(import_module(module), cls)
    return found

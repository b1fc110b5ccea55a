"""The engines of the lexical benchmark: one short module each, all with the interface of `base.Engine`."""

from importlib import import_module

from lexical_engines.base import Engine

OURS = "retrieval"

ENGINES = {
    OURS: "lexical_engines.ours:Ours",
    "bm25s": "lexical_engines.bm25s_numba:Bm25s",
    "lucene": "lexical_engines.lucene:Lucene",
    "pisa": "lexical_engines.pisa:Pisa",
    "tantivy": "lexical_engines.tantivy_python:Tantivy",
}
"""Where each stands. A module is imported in the engine's own process, so that a missing package stops only that."""

PEERS = tuple(name for name in ENGINES if name != OURS)


def engine_class(name: str) -> type[Engine]:
    """The class of an engine; raises whatever its packages raise where they cannot be imported."""
    module, _, cls = ENGINES[name].partition(":")
    found: type[Engine] = getattr(import_module(module), cls)
    return found

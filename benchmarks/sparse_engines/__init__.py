"""The engines of the sparse benchmark: one short module each, all with the interface of `base.Engine`."""

from importlib import import_module

from sparse_engines.base import Engine

OURS = ("retrieval", "retrieval-approximate")

ENGINES = {
    "retrieval": "sparse_engines.ours:Exact",
    "retrieval-approximate": "sparse_engines.ours:Approximate",
    "seismic": "sparse_engines.seismic_lsr:Seismic",
    "pisa": "sparse_engines.pisa:Pisa",
    "scatter": "sparse_engines.scatter:Scatter",
}
"""Where each stands. A module is imported in the engine's own process, so that a missing package stops only that."""


def engine_class(name: str) -> type[Engine]:
    """The class of an engine; raises whatever its packages raise where they cannot be imported."""
    module, _, cls = ENGINES[name].partition(":")
    found: type[Engine] = getattr(import_module(module), cls)
    return found

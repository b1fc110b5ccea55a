"""How a learned-sparse part is stored."""

from dataclasses import dataclass
from typing import Literal, get_args

from retrieval.errors import InputError
from retrieval.index.postings.reader import IMPACT_TYPES, Impacts

__all__ = ["Engine", "SparseOptions"]

Engine = Literal["native", "seismic"]


@dataclass(frozen=True, kw_only=True)
class SparseOptions:
    """How impacts are stored.

    Attributes:
        impacts: `exact`, in as few bytes as hold every weight without loss, or in steps of 16 or 8 bits as `u16` or
            `u8`. Steps are all that is kept: a document that is added later is stored in the same ones.
        scale: what one step stands for, above zero; None takes that by which the largest weight of the build is the
            last step. A weight beyond the last step is stored as the last.
        reorder: put similar documents side by side; hits stay the same.
        engine: what searches approximately: `native`, or `seismic` by its own package.
        recall: the share of the best `recall_at` documents that an approximate search finds on average; its parameters
            are tuned to that, with queries made of documents. None for exact search alone.
        recall_at: so many hits are searched for approximately, and more of them exactly.
    """

    impacts: Impacts = "exact"
    scale: float | None = None
    reorder: bool = False
    engine: Engine = "native"
    recall: float | None = None
    recall_at: int = 10

    def __post_init__(self) -> None:
        if self.impacts not in IMPACT_TYPES:
            raise InputError(f"impacts must be one of {', '.join(IMPACT_TYPES)}; got {self.impacts!r}")
        if self.scale is not None and not 0 < self.scale < float("inf"):
            raise InputError(f"scale must be a number above 0; got {self.scale}")
        if self.scale is not None and self.impacts == "exact":
            raise InputError("exact impacts have no scale", hint="store them in steps: --sparse-impacts u8")
        self._check_engine()

    def _check_engine(self) -> None:
        if self.engine not in get_args(Engine):
            raise InputError(f"engine must be one of {', '.join(get_args(Engine))}; got {self.engine!r}")
        if self.engine == "seismic" and self.recall is None:
            raise InputError("Seismic searches approximately", hint="say with what recall: --recall 0.99")
        if self.recall is not None and not 0 < self.recall <= 1:
            raise InputError(f"recall must be above 0 and at most 1; got {self.recall}")
        if self.recall_at < 1:
            raise InputError(f"recall is measured at 1 hit or more; got {self.recall_at}")
        if self.recall is not None and self.reorder:
            raise InputError("approximate search has an order of its own", hint="leave out reorder, or recall")

"""How a learned-sparse part is stored."""

from dataclasses import dataclass

from retrieval.errors import InputError
from retrieval.index.postings.reader import IMPACT_TYPES, Impacts

__all__ = ["SparseOptions"]


@dataclass(frozen=True, kw_only=True)
class SparseOptions:
    """How impacts are stored.

    Attributes:
        impacts: `exact`, in as few bytes as hold every weight without loss, or in steps of 16 or 8 bits as `u16` or
            `u8`. Steps are all that is kept: a document that is added later is stored in the same ones.
        scale: what one step stands for, above zero; None takes that by which the largest weight of the build is the
            last step. A weight beyond the last step is stored as the last.
        reorder: put similar documents side by side; hits stay the same.
    """

    impacts: Impacts = "exact"
    scale: float | None = None
    reorder: bool = False

    def __post_init__(self) -> None:
        if self.impacts not in IMPACT_TYPES:
            raise InputError(f"impacts must be one of {', '.join(IMPACT_TYPES)}; got {self.impacts!r}")
        if self.scale is not None and not 0 < self.scale < float("inf"):
            raise InputError(f"scale must be a number above 0; got {self.scale}")
        if self.scale is not None and self.impacts == "exact":
            raise InputError("exact impacts have no scale", hint="store them in steps: --sparse-impacts u8")

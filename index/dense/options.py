"""How the vectors of a dense part are searched, and what is remembered of each segment's index."""

from dataclasses import dataclass, field

from retrieval.errors import InputError

__all__ = ["AUTO", "DEFAULT_RECALL", "FLAT", "DenseOptions", "Effort", "SegmentIndex"]

FLAT = "flat"
"""No index beside the vectors: every search is exact."""

AUTO = "auto"
"""The fastest kind that fits the memory and reaches the recall."""

DEFAULT_RECALL = 0.99


@dataclass(frozen=True, kw_only=True)
class DenseOptions:
    """What searches the vectors.

    Attributes:
        index: a name of `retrieval.index.dense.kinds`, `auto`, or a factory string of FAISS, as `IVF256,SQ8`.
        recall: the share of the best documents that a search finds on average, on queries made of the vectors. Of
            `flat` it is 1.
        recall_at: of so many best documents; deeper searches are tuned to the same recall of their own depths.
        memory: bytes that the index of `auto` may take while it is searched; None for as many as it likes.
    """

    index: str = FLAT
    recall: float = DEFAULT_RECALL
    recall_at: int = 10
    memory: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise InputError(f"recall must be above 0 and at most 1; got {self.recall}")
        if self.recall_at < 1:
            raise InputError(f"recall is of at least 1 document; got {self.recall_at}")
        if self.memory is not None and (self.memory < 1 or self.index != AUTO):
            raise InputError(
                f"memory of {self.memory} bytes for a {self.index!r} index", hint="give it with --dense-index auto"
            )


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How hard an approximate search looks for the best `depth` documents, and what that found.

    Attributes:
        depth: hits.
        width: lists that are looked into (IVF), or candidates that are kept (HNSW); 0 where there is no such choice.
        refine: documents scored exactly, in multiples of the hits.
        recall: reached on held-out vectors.
    """

    depth: int
    width: int
    refine: int
    recall: float


@dataclass(frozen=True, kw_only=True)
class SegmentIndex:
    """The index of one segment.

    Attributes:
        kind: its name, or the factory string that was asked for.
        factory: what FAISS made it of.
        efforts: by ascending depth; a deeper search is exact.
    """

    kind: str
    factory: str
    efforts: list[Effort] = field(default_factory=list)

    def effort(self, k: int) -> Effort | None:
        """That for k hits; None where the search must be exact."""
        return next((effort for effort in self.efforts if effort.depth >= k), None)

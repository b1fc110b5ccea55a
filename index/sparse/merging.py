"""The sparse vectors of several sources become one index."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.index.postings.merging import Merger, Source, write_postings
from retrieval.index.postings.reader import Impacts
from retrieval.index.sparse.options import SparseOptions

__all__ = ["Stored", "merge_weights"]

# The impacts that hold the values of a source as they are.
_SAME: dict[str, Impacts] = {"uint8": "u8", "uint16": "u16"}


class Stored(NamedTuple):
    """How impacts were stored, what a stored impact of 1 stands for, and how many tokens there are."""

    impacts: Impacts
    scale: float
    n_terms: int


def merge_weights(sources: Sequence[Source], lengths: NDArray[np.int32], options: SparseOptions, out: Path) -> Stored:
    """Write the postings of all sources' documents into an existing folder; their weights are the impacts.

    Args:
        sources: in ascending order of their documents' new ordinals.
        lengths: (rows,) how many weights each document has.
        options: how they are stored.
        out: where to.
    """
    merger = Merger(sources)
    impacts, scale = options.impacts, options.scale
    if impacts == "exact" and merger.value_type.name in _SAME:
        impacts, scale = _SAME[merger.value_type.name], 1.0
    scale = write_postings(
        merger, lengths, _as_float, out, impacts, scale=scale, keep_values=False, reorder=options.reorder
    )
    return Stored(impacts, scale, len(merger.vocabulary))


def _as_float(first: int, last: int, ordinals: NDArray[np.int32], values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float32)

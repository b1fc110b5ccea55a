"""A segment's approximate index: chosen, built of its vectors, tuned, and written beside them."""

import logging
from pathlib import Path

import numpy as np

from retrieval.index.dense.builder import VECTORS
from retrieval.index.dense.faiss_index import FaissIndex, build_index, import_faiss, write_index
from retrieval.index.dense.kinds import candidates, kind_of
from retrieval.index.dense.options import AUTO, DenseOptions, SegmentIndex
from retrieval.index.dense.tuning import tuned
from retrieval.protocols import Progress, silent

__all__ = ["INDEX", "write_dense_index"]

_LOG = logging.getLogger("retrieval")

INDEX = "dense.faiss"


def write_dense_index(folder: Path, options: DenseOptions, progress: Progress = silent) -> SegmentIndex | None:
    """Write the index of a segment's vectors, on as many cores as FAISS takes; None where exact search is better.

    Args:
        folder: the segment's, with all its vectors.
        options: which index, and the recall it is to reach.
        progress: told of vectors indexed.

    Raises:
        InputError: no index fits the memory.
    """
    vectors = np.asarray(np.load(folder / VECTORS, mmap_mode="r"))
    for kind in candidates(options, *vectors.shape):
        factory = kind_of(kind, *vectors.shape)
        index = build_index(factory, vectors, lambda done: progress(f"index {kind}", done, len(vectors)))  # noqa: B023
        efforts = tuned(FaissIndex(index), vectors, options, import_faiss().omp_get_max_threads())
        reached = efforts[0].recall if efforts else 0.0
        if efforts and (reached >= options.recall or options.index != AUTO):
            if reached < options.recall:
                _LOG.warning("the index %s reaches a recall of %.3f, not %g", factory, reached, options.recall)
            write_index(folder / INDEX, index)
            return SegmentIndex(kind=kind, factory=factory, efforts=efforts)
    return None

"""A segment's approximate index: chosen, built of its vectors, tuned, and written beside them."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.index.dense.builder import VECTORS
from retrieval.index.dense.faiss_index import FaissIndex, build_index, import_faiss, write_index
from retrieval.index.dense.gpu import build_cagra
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

    Where FAISS cannot make an index of these vectors, or none that `auto` tried reaches the recall, it says so and
    leaves them to exact search: what has been encoded is not lost for it.
    """
    vectors = np.asarray(np.load(folder / VECTORS, mmap_mode="r"))
    tried = candidates(options, *vectors.shape)
    for kind in tried:
        try:
            entry = _written(folder / INDEX, kind, vectors, options, progress)
        except (RuntimeError, MemoryError) as error:
            (folder / INDEX).unlink(missing_ok=True)
            reason = str(error).split(": ", 1)[-1].split("\n")[0] or "no memory"
            _LOG.warning("FAISS makes no index %s of %d vectors: %s", kind, len(vectors), reason)
            continue
        if entry:
            return entry
    if tried:
        _LOG.warning("%d vectors are searched exactly: no index of %s serves", len(vectors), ", ".join(tried))
    return None


def _written(
    path: Path, kind: str, vectors: NDArray[np.float32], options: DenseOptions, progress: Progress
) -> SegmentIndex | None:
    """One kind's index, written; None if `auto` had better try another."""
    factory = kind_of(kind, *vectors.shape)
    index = build_cagra(vectors) if kind == "cagra" else None
    if kind == "cagra" and index is None:
        _LOG.warning("no GPU builds a graph of CAGRA: %s is made in its place", factory)
    index = index or build_index(factory, vectors, lambda done: progress(f"index {kind}", done, len(vectors)))
    efforts = tuned(FaissIndex(index), vectors, options, import_faiss().omp_get_max_threads())
    if efforts[0].recall < options.recall:
        if options.index == AUTO:
            return None
        _LOG.warning("the index %s reaches a recall of %.3f, not %g", factory, efforts[0].recall, options.recall)
    write_index(path, index)
    import_faiss().read_index(str(path), import_faiss().IO_FLAG_MMAP_IFC)  # which is not said of every kind
    return SegmentIndex(kind=kind, factory=factory, efforts=efforts)

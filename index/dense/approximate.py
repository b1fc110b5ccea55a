"""A segment's approximate index: chosen, built of its vectors, tuned, and written beside them."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index.dense.builder import VECTORS
from retrieval.index.dense.faiss_index import FaissIndex, build_index, import_faiss, write_index
from retrieval.index.dense.gpu import build_cagra
from retrieval.index.dense.kinds import CAGRA, candidates, kind_of
from retrieval.index.dense.options import AUTO, DenseOptions, SegmentIndex
from retrieval.index.dense.tuning import tuned
from retrieval.protocols import Progress, silent

__all__ = ["INDEX", "write_dense_index"]

_LOG = logging.getLogger("retrieval")

INDEX = "dense.faiss"

# An index that finds less serves nobody.
_LEAST_RECALL = 0.1


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
        index = _built(kind, vectors, progress)
        if index is not None and (entry := _written(folder / INDEX, kind, index, vectors, options)):
            return entry
    if tried:
        _LOG.warning("%d vectors are searched exactly: no index of %s serves", len(vectors), ", ".join(tried))
    return None


def _built(kind: str, vectors: NDArray[np.float32], progress: Progress) -> Any:
    """FAISS' index of a kind; None, and a warning, where it makes none of these vectors."""
    factory = kind_of(kind, *vectors.shape)
    try:
        index = build_cagra(vectors) if kind == CAGRA else None
        if kind == CAGRA and index is None:
            _LOG.warning("no GPU builds a graph of CAGRA: %s is made in its place", factory)
        return index or build_index(factory, vectors, lambda done: progress(f"index {kind}", done, len(vectors)))
    except (RuntimeError, MemoryError) as error:
        _warn_of(kind, vectors, error)
        return None


def _warn_of(kind: str, vectors: NDArray[np.float32], error: Exception) -> None:
    reason = str(error).split(": ", 1)[-1].split("\n")[0] or "no memory"
    _LOG.warning("FAISS makes no index %s of %d vectors: %s", kind, len(vectors), reason)


def _written(
    path: Path, kind: str, index: Any, vectors: NDArray[np.float32], options: DenseOptions
) -> SegmentIndex | None:
    """An index, tuned and written; None if another kind or exact search had better be used."""
    faiss, factory = import_faiss(), kind_of(kind, *vectors.shape)
    efforts = tuned(FaissIndex(index), vectors, options, faiss.omp_get_max_threads())
    if efforts[0].recall < options.recall:
        if options.index == AUTO:
            return None
        _LOG.warning("the index %s reaches a recall of %.3f, not %g", factory, efforts[0].recall, options.recall)
    if efforts[0].recall < _LEAST_RECALL:
        return None
    try:
        write_index(path, index)
        faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)  # which is not said of every kind
    except RuntimeError as error:
        path.unlink(missing_ok=True)
        _warn_of(kind, vectors, error)
        return None
    return SegmentIndex(kind=kind, factory=factory, efforts=efforts)

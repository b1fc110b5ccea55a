"""Searches the dense part of an artifact: query vectors in, hits out."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError, MissingExtraError
from retrieval.index.files import damaged, load_array
from retrieval.types import Hits, ScoreKind

__all__ = ["DenseSearcher"]

# FAISS' GPU selection keeps at most this many hits.
_GPU_K = 2048


class DenseSearcher:
    """Exact inner-product search by FAISS, with scores that depend on nothing but the two vectors.

    FAISS' own scores change in their last digits with the batch's size and the number of threads, and so would the
    order of near ties. So FAISS proposes candidates, more than k where scores are close, and each candidate's score is
    computed again, one way. The hits are exactly the k best by that score, ties by ordinal.
    """

    def __init__(self, folder: Path, kind: ScoreKind, largest_norm: float) -> None:
        self._kind = kind
        self._largest_norm = largest_norm
        self._ordinals = load_array(folder / "ordinals.npy", np.int64)
        self._vectors = load_array(folder / "vectors.npy", np.float32, ndim=2)
        if len(self._ordinals) != len(self._vectors):
            raise damaged(folder / "ordinals.npy", f"holds {len(self._ordinals)} values, expected {len(self._vectors)}")
        self._gpu_index: Any = None

    @property
    def dimensions(self) -> int:
        """Width of a vector."""
        return int(self._vectors.shape[1])

    @property
    def n_vectors(self) -> int:
        """Documents that have a vector."""
        return len(self._vectors)

    def search(self, queries: NDArray[np.float32], k: int, threads: int = 1) -> Hits:
        """The best k documents of each query vector; `queries` is (n, d) and finite, FAISS uses `threads` cores."""
        if queries.ndim != 2 or queries.shape[1] != self.dimensions:
            raise InputError(f"query vectors must be (n, {self.dimensions}); got {queries.shape}")
        if not np.isfinite(queries).all():
            raise InputError("query vectors must be finite")
        hits = Hits.empty(len(queries), min(k, self.n_vectors), self._kind)
        if hits.scores.size:
            self._search(np.ascontiguousarray(queries, dtype=np.float32), hits, threads)
        return hits

    def _search(self, queries: NDArray[np.float32], hits: Hits, threads: int) -> None:
        k = hits.scores.shape[1]
        # Twice the bound on the rounding error of an inner product of d float32 terms, relative to the two norms.
        relative = 2 * self.dimensions * np.finfo(np.float32).eps
        slack = relative * self._largest_norm * np.linalg.norm(queries, axis=1)
        pending = np.arange(len(queries))
        breadth = k + k // 8 + 16
        while len(pending):
            breadth = min(breadth, self.n_vectors)
            approximate, rows = self._candidates(queries[pending], breadth, threads)
            settled = np.zeros(len(pending), dtype=bool)
            for i, query in enumerate(pending):
                scores = self._scores(queries[query], rows[i])
                best = np.lexsort((rows[i], -scores))[:k]
                # Nothing outside the candidates can reach the k-th score.
                settled[i] = breadth == self.n_vectors or scores[best[-1]] > approximate[i, -1] + slack[query]
                hits.ordinals[query], hits.scores[query] = self._ordinals[rows[i][best]], scores[best]
            pending = pending[~settled]
            breadth *= 4
        hits.counts[:] = k

    def _scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Inner products of one query with some vectors, each summed in the same order whatever stands beside it."""
        scores: NDArray[np.float32] = np.einsum("kd,d->k", self._vectors[rows], query)
        return scores

    def _candidates(
        self, queries: NDArray[np.float32], k: int, threads: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """FAISS' k best rows and their scores, both (n, k)."""
        faiss = import_faiss()
        if k <= _GPU_K and self._on_gpu(faiss):
            scores, rows = self._gpu_index.search(queries, k)
        else:
            before = faiss.omp_get_max_threads()
            faiss.omp_set_num_threads(threads)
            try:
                scores, rows = faiss.knn(queries, self._vectors, k, faiss.METRIC_INNER_PRODUCT)
            finally:
                faiss.omp_set_num_threads(before)
        return scores, rows

    def _on_gpu(self, faiss: Any) -> bool:
        """Put the vectors on the GPUs that FAISS sees, once."""
        if self._gpu_index is None and hasattr(faiss, "get_num_gpus") and faiss.get_num_gpus() > 0:
            flat = faiss.IndexFlatIP(self.dimensions)
            flat.add(self._vectors)
            self._gpu_index = faiss.index_cpu_to_all_gpus(flat)
        return self._gpu_index is not None


def import_faiss() -> Any:
    """The module faiss, or an error that says how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss", "cpu", "dense search") from error
    return faiss

"""Searches the dense part of an artifact: query vectors in, hits out."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError, MissingExtraError
from retrieval.index.arrays import damaged, load_array
from retrieval.types import Hits, ScoreKind

__all__ = ["DenseSearcher"]

# Below this share of allowed vectors, copying them out is cheaper than passing over the others.
_FEW = 0.05

_ROWS_AT_ONCE = 1 << 16

# FAISS' GPU selection keeps at most this many hits.
_GPU_K = 2048


class DenseSearcher:
    """Exact inner-product search by FAISS, with scores that depend on nothing but the two vectors.

    FAISS' own scores change in their last digits with the batch's size and the number of threads, and so would the
    order of near ties. So FAISS proposes candidates, more than k where scores are close, and each candidate's score is
    computed again, one way. The hits are exactly the k best by that score, ties by ordinal.
    """

    def __init__(self, folder: Path, kind: ScoreKind, largest_norm: float, n_documents: int) -> None:
        self._folder = folder
        self._n_documents = n_documents
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

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        found = []
        ordinals = self._ordinals
        if np.any(np.diff(ordinals) < 1) or (
            len(ordinals) and not 0 <= ordinals[0] <= ordinals[-1] < self._n_documents
        ):
            found.append(f"{self._folder / 'ordinals.npy'}: the documents are not in order, or do not exist")
        for start in range(0, self.n_vectors, _ROWS_AT_ONCE):
            norms = np.linalg.norm(self._vectors[start : start + _ROWS_AT_ONCE].astype(np.float64), axis=1)
            if not np.all(norms <= self._largest_norm * (1 + 1e-6)):
                found.append(
                    f"{self._folder / 'vectors.npy'}: holds a vector that is not finite or longer than any was"
                )
                break
        return found

    def search(
        self, queries: NDArray[np.float32], k: int, threads: int = 1, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The best k documents of each query vector.

        Args:
            queries: (n, d), finite.
            k: hits per query.
            threads: how many cores FAISS uses.
            allowed: (documents,) which of them may be hits; None allows all.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimensions:
            raise InputError(f"query vectors must be (n, {self.dimensions}); got {queries.shape}")
        if not np.isfinite(queries).all():
            raise InputError("query vectors must be finite")
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        mask = None if allowed is None else allowed[self._ordinals]
        count = self.n_vectors if mask is None else int(mask.sum())
        hits = Hits.empty(len(queries), min(k, count), self._kind)
        if hits.scores.size == 0:
            return hits
        if mask is not None and count < _FEW * self.n_vectors:
            rows = np.flatnonzero(mask)
            self._search(queries, hits, threads, self._vectors[rows], self._ordinals[rows], None)
        else:
            self._search(queries, hits, threads, self._vectors, self._ordinals, mask)
        return hits

    def _search(
        self,
        queries: NDArray[np.float32],
        hits: Hits,
        threads: int,
        vectors: NDArray[np.float32],
        ordinals: NDArray[np.int64],
        mask: NDArray[np.bool_] | None,
    ) -> None:
        """Fill in the hits among `vectors`, of which those in the mask count, if there is one."""
        k = hits.scores.shape[1]
        # Twice the bound on the rounding error of an inner product of d float32 terms, relative to the two norms.
        relative = 2 * self.dimensions * np.finfo(np.float32).eps
        slack = relative * self._largest_norm * np.linalg.norm(queries, axis=1)
        pending = np.arange(len(queries))
        breadth = int((k + k // 8 + 16) / (1.0 if mask is None else mask.mean()))
        while len(pending):
            breadth = min(breadth, len(vectors))
            approximate, found = self._candidates(queries[pending], vectors, breadth, threads)
            settled = np.zeros(len(pending), dtype=bool)
            for i, query in enumerate(pending):
                rows = found[i] if mask is None else found[i][mask[found[i]]]
                # Each inner product is summed in the same order, whatever stands beside it.
                scores = np.einsum("kd,d->k", vectors[rows], queries[query])
                best = np.lexsort((rows, -scores))[:k]
                # Nothing outside the candidates can reach the k-th score.
                settled[i] = breadth == len(vectors) or (
                    len(best) == k and scores[best[-1]] > approximate[i, -1] + slack[query]
                )
                if settled[i]:
                    hits.ordinals[query], hits.scores[query] = ordinals[rows[best]], scores[best]
            pending = pending[~settled]
            breadth *= 4
        hits.counts[:] = k

    def _candidates(
        self, queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int, threads: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """FAISS' k best rows of the vectors and their scores, both (n, k)."""
        faiss = import_faiss()
        if k <= _GPU_K and vectors is self._vectors and self._on_gpu(faiss):
            scores, rows = self._gpu_index.search(queries, k)
        else:
            before = faiss.omp_get_max_threads()
            faiss.omp_set_num_threads(threads)
            try:
                scores, rows = faiss.knn(queries, vectors, k, faiss.METRIC_INNER_PRODUCT)
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

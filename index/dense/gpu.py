"""Search on GPUs: by faiss-gpu, or blockwise in torch where faiss has no GPU build. Candidates only, as on the CPU."""

import logging
import sys
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index.dense.exact import Propose, propose_on_cpu
from retrieval.index.dense.faiss_index import GPU_MOST, FaissIndex, import_faiss

__all__ = ["build_cagra", "clone_to_gpus", "faiss_gpus", "on_gpus", "propose_in_torch", "propose_on_gpu"]

_LOG = logging.getLogger("retrieval")

# Memory of a GPU that FAISS takes for what is passing, and vectors that torch compares at once.
_TEMPORARY_BYTES = 256 << 20
_ROWS_AT_ONCE, _QUERIES_AT_ONCE = 1 << 18, 256
# Of several GPUs each holds all of an index that is smaller, and takes a share of the queries; else a share of it.
_REPLICATED_BYTES = 4 << 30
# Links of a vector in CAGRA's graph, and before it is pruned.
_CAGRA_LINKS, _CAGRA_FIRST = 32, 64


def propose_on_gpu(vectors: NDArray[np.float32], device: str | None) -> Propose | None:
    """A search over vectors, (n, d), that a GPU holds; None for the CPU, with one warning if a GPU was asked for.

    Args:
        vectors: float32; of several GPUs each holds a part of them.
        device: `cpu`, `cuda`, `cuda:1`, or None for a GPU if there is one.
    """
    if device is not None and not device.startswith("cuda"):
        return None
    try:
        if gpus := faiss_gpus():
            return _or_on_cpu(_propose_in_faiss(vectors, _numbers(device, gpus)), vectors)
        torch = _torch(import_it=device is not None)
        if torch and torch.cuda.is_available():
            return _or_on_cpu(propose_in_torch(vectors, device or "cuda"), vectors)
    except RuntimeError as error:  # no memory, most of all
        _warn_once(device or "cuda", _reason(error))
        return None
    if device is not None:
        _warn_once(device, "there is none")
    return None


def _numbers(device: str | None, gpus: list[int]) -> list[int]:
    """The GPUs that a device means."""
    return gpus if device in (None, "cuda") else [int(str(device).partition(":")[2])]


def _or_on_cpu(propose: Propose, vectors: NDArray[np.float32]) -> Propose:
    """The same, one search at a time; on the CPU where the GPU has no memory for one."""
    one_at_a_time = Lock()

    def attempt(queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        try:
            with one_at_a_time:
                return propose(queries, k)
        except RuntimeError as error:
            _warn_once("cuda", _reason(error))
            return propose_on_cpu(vectors, import_faiss().omp_get_max_threads())(queries, k)

    return attempt


def _reason(error: RuntimeError) -> str:
    return str(error).split(": ", 1)[-1].split("\n")[0]


@cache
def _warn_once(device: str, reason: str) -> None:
    _LOG.warning("no GPU for device %s: the CPU searches vectors (%s)", device, reason)


def faiss_gpus() -> list[int]:
    """The numbers of the GPUs that FAISS can use; none where it has no GPU build."""
    faiss = import_faiss()
    return list(range(faiss.get_num_gpus())) if hasattr(faiss, "get_num_gpus") else []


def _torch(*, import_it: bool) -> Any:
    """The module torch; where nobody asked for a GPU only if an encoder has loaded it."""
    if import_it:
        try:
            import torch  # noqa: F401
        except ImportError:
            return None
    return sys.modules.get("torch")


def clone_to_gpus(index: Any, gpus: list[int]) -> Any:
    """A copy of an index of FAISS on some GPUs; an error if it has no such form, or there is no memory for it.

    Several GPUs share a large index, and have a small one each. What is stored in 16 bits is so there, too.
    """
    faiss = import_faiss()
    is_half = isinstance(index, faiss.IndexScalarQuantizer)
    if is_half:
        flat = faiss.IndexFlatIP(index.d)
        flat.add(index.reconstruct_n(0, index.ntotal))
        index = flat
    if isinstance(index, faiss.IndexHNSWCagra):
        gpus = gpus[:1]  # it has no form for several
    resources = [faiss.StandardGpuResources() for _ in gpus]
    for own in resources:
        own.setTempMemory(_TEMPORARY_BYTES)
    options = faiss.GpuMultipleClonerOptions()
    options.shard = len(gpus) > 1 and index.ntotal * index.d * 4 > _REPLICATED_BYTES
    options.useFloat16 = is_half
    # The copy shares its resources' ownership (C++ shared pointers): they need no keeping here.
    return faiss.index_cpu_to_gpu_multiple_py(resources, index, options, gpus)


def _propose_in_faiss(vectors: NDArray[np.float32], gpus: list[int]) -> Propose:
    faiss = import_faiss()
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    index = clone_to_gpus(flat, gpus)

    def propose(queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if k > GPU_MOST:
            scores, rows = faiss.knn(queries, vectors, k, faiss.METRIC_INNER_PRODUCT)
            return scores, rows
        scores, rows = index.search(queries, k)
        return scores, rows

    return propose


def propose_in_torch(vectors: NDArray[np.float32], device: str) -> Propose:
    """The same by torch: blocks of vectors are compared one after the other, and the best of all so far are kept.

    Args:
        vectors: (n, d), which the device must have room for.
        device: torch's name of it.
    """
    import torch

    held = [
        torch.from_numpy(np.array(vectors[start : start + _ROWS_AT_ONCE])).to(device)
        for start in range(0, len(vectors), _ROWS_AT_ONCE)
    ]

    def propose(queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        parts = [
            best_of(queries[start : start + _QUERIES_AT_ONCE], k) for start in range(0, len(queries), _QUERIES_AT_ONCE)
        ]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([rows for _, rows in parts])

    def best_of(queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        asked = torch.from_numpy(queries).to(device)
        scores = torch.empty((len(queries), 0), device=device)
        rows = torch.empty((len(queries), 0), dtype=torch.int64, device=device)
        for number, block in enumerate(held):
            best = (asked @ block.T).topk(min(k, len(block)))
            scores = torch.cat([scores, best.values], dim=1)
            rows = torch.cat([rows, best.indices + number * _ROWS_AT_ONCE], dim=1)
            scores, order = scores.topk(min(k, scores.shape[1]))
            rows = rows.gather(1, order)
        return scores.cpu().numpy(), rows.cpu().numpy()

    return propose


def on_gpus(index: FaissIndex, device: str | None) -> FaissIndex:
    """The index on the GPUs where FAISS has such a form of it, else as it is."""
    if (device is not None and not device.startswith("cuda")) or not (gpus := faiss_gpus()):
        return index
    try:
        return index.moved(lambda inner: clone_to_gpus(inner, _numbers(device, gpus)))
    except RuntimeError as error:
        _warn_once(device or "cuda", _reason(error))
        return index


def build_cagra(vectors: NDArray[np.float32]) -> Any:
    """A graph that a GPU has built, in the form that the CPU searches; None where FAISS has no GPU build with cuVS.

    Source: Ootomo et al., CAGRA: highly parallel graph construction and approximate nearest neighbor search for GPUs
    (2023).
    """
    faiss = import_faiss()
    if not faiss_gpus() or not hasattr(faiss, "GpuIndexCagra"):
        return None
    resources, config = faiss.StandardGpuResources(), faiss.GpuIndexCagraConfig()
    resources.setTempMemory(_TEMPORARY_BYTES)
    config.graph_degree, config.intermediate_graph_degree = _CAGRA_LINKS, _CAGRA_FIRST
    try:
        built = faiss.GpuIndexCagra(resources, vectors.shape[1], faiss.METRIC_INNER_PRODUCT, config)
        built.train(vectors)
        searched = faiss.IndexHNSWCagra()
        built.copyTo(searched)
    except RuntimeError as error:
        _LOG.warning("the GPU builds no graph: %s", _reason(error))
        return None
    return searched

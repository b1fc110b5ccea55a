"""FAISS' indexes: made of stored vectors, written, and searched where they lie on disk.

What is read is the mapped file itself, whose blocks have been checked; nothing of it is copied. A graph over whole
vectors (HNSW) is stored without them, and searches those of the segment.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache, cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError, MissingExtraError
from retrieval.index.storage.arrays import DiskArray
from retrieval.index.storage.files import File, damaged
from retrieval.index.threads import faiss_threads

__all__ = ["GPU_MOST", "FaissIndex", "build_index", "import_faiss", "new_index", "open_index", "write_index"]

_EF_CONSTRUCTION = 100
_ROWS_AT_ONCE = 1 << 14

# Vectors that clusters and codes are learned from: so many for each list, and at least these.
_SAMPLE_PER_LIST, _LEAST_SAMPLE = 64, 1 << 16

# Candidates that a search of CAGRA keeps, at least.
_LEAST_CAGRA = 64

GPU_MOST = 2048
"""Hits and lists of one search on a GPU, at most."""

Tell = Callable[[int], None]
"""Hears how many vectors have been added."""


def import_faiss() -> Any:
    """The module faiss, or an error that says how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss", "cpu", "dense search") from error
    return faiss


def new_index(factory: str, dimensions: int) -> Any:
    """An empty index of FAISS, by inner product; a RuntimeError if there is no such."""
    faiss = import_faiss()
    # Signs are compared by the number that differ, whatever the metric, but FAISS wants to hear of distances then.
    metric = faiss.METRIC_L2 if "LSH" in factory else faiss.METRIC_INNER_PRODUCT
    index = faiss.index_factory(dimensions, factory, metric)
    if isinstance(_core(faiss, index), faiss.IndexRefine | faiss.IndexIDMap | faiss.IndexIDMap2):
        raise InputError(
            f"{factory!r} brings its own refinement or ids",
            hint="leave them out: what is found is scored again from the stored vectors, and ids are the documents'",
        )
    return index


def build_index(factory: str, vectors: NDArray[np.float32], tell: Tell, *, seed: int = 0) -> Any:
    """An index of vectors, (n, d), which may be mapped: learned from a sample of them, then filled part by part."""
    faiss = import_faiss()
    index = new_index(factory, vectors.shape[1])
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efConstruction = _EF_CONSTRUCTION
    if not index.is_trained:
        index.train(_sample(vectors, getattr(_core(faiss, index), "nlist", 0), seed))
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        index.add(np.ascontiguousarray(vectors[start : start + _ROWS_AT_ONCE]))
        tell(index.ntotal)
    return index


def _sample(vectors: NDArray[np.float32], lists: int, seed: int) -> NDArray[np.float32]:
    size = max(_LEAST_SAMPLE, _SAMPLE_PER_LIST * lists)
    if size >= len(vectors):
        return np.ascontiguousarray(vectors)
    rows = np.sort(np.random.default_rng(seed).choice(len(vectors), size, replace=False))
    return vectors[rows]


def write_index(path: Path, index: Any) -> None:
    """Write an index; of a graph over whole vectors only the graph."""
    faiss = import_faiss()
    bare = faiss.IO_FLAG_SKIP_STORAGE if isinstance(index, faiss.IndexHNSWFlat) else 0
    faiss.write_index(index, str(path), bare)


def open_index(file: File, vectors: DiskArray) -> "FaissIndex":
    """The index in a file, which is compared with its checksums at once: FAISS follows what it reads without looking.

    Args:
        file: as `write_index` wrote it.
        vectors: what it is an index of.
    """
    faiss = import_faiss()
    content = np.frombuffer(file.read(0, file.size), dtype=np.uint8)
    try:
        index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(content), len(content)))
    except RuntimeError as error:
        raise damaged(file.path, f"FAISS cannot read it ({error})") from error
    kept = [content]
    if isinstance(index, faiss.IndexHNSW) and index.storage is None:
        stored = vectors.all()
        index.storage, index.own_fields = _flat_view(faiss, stored), False
        kept += [stored, index.storage]
    if (index.ntotal, index.d) != vectors.shape:
        raise damaged(file.path, f"is of {index.ntotal} vectors, expected {len(vectors)}")
    return FaissIndex(index, kept)


class FaissIndex:
    """An index of FAISS over the vectors of a segment, in the order in which they are stored.

    Args:
        index: of FAISS.
        kept: what it points into.
        form: what decides which parameters it takes: it, but for a copy on a GPU.
    """

    def __init__(self, index: Any, kept: Sequence[Any] = (), form: Any = None) -> None:
        self._index = index
        self._kept = kept
        self._form = form or index
        self._core = _core(import_faiss(), self._form)
        self._unfiltered: tuple[int, Any] = (0, None)
        # A GPU's temporary memory is for one search.
        self._one_at_a_time = Lock() if self._form is not index else nullcontext()

    def moved(self, move: Callable[[Any], Any]) -> "FaissIndex":
        """It where FAISS moves it to, or itself where that is impossible.

        Inverted lists of whole vectors can be moved, vectors of 16 bits, and what CAGRA made.
        """
        faiss = import_faiss()
        is_half = isinstance(self._index, faiss.IndexScalarQuantizer) and (
            self._index.sq.qtype == faiss.ScalarQuantizer.QT_fp16
        )
        if not is_half and not isinstance(self._index, faiss.IndexIVFFlat | faiss.IndexHNSWCagra):
            return self
        return FaissIndex(move(self._index), [self], form=self._index)

    @cached_property
    def is_exact(self) -> bool:
        """Whether it compares whole vectors, so that the best it finds need not be looked for among more."""
        faiss = import_faiss()
        return isinstance(self._form, faiss.IndexHNSWFlat | faiss.IndexHNSWCagra | faiss.IndexIVFFlat | faiss.IndexFlat)

    @cached_property
    def widths(self) -> tuple[int, int] | None:
        """The least and the largest width that makes sense; None where it has no such choice."""
        faiss = import_faiss()
        if isinstance(self._core, faiss.IndexIVF):
            return 1, self._core.nlist
        return (1, self._core.ntotal) if self.keeps_candidates else None

    @property
    def keeps_candidates(self) -> bool:
        """Whether its width is of candidates, and so at least the number of hits."""
        return isinstance(self._core, import_faiss().IndexHNSW)

    def bytes_touched(self, width: int) -> float:
        """By a search of this width, more or less."""
        core = self._core
        if isinstance(core, import_faiss().IndexIVF):
            return float(width / core.nlist * core.ntotal * core.code_size)
        if self.keeps_candidates:
            return float(width * core.hnsw.nb_neighbors(0) * core.storage.sa_code_size())
        try:
            code = core.sa_code_size()
        except RuntimeError:  # of whole vectors in a form of its own
            code = 4 * core.d
        return float(core.ntotal * code)

    def candidates(
        self,
        queries: NDArray[np.float32],
        k: int,
        width: int,
        threads: int,
        mask: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int64]:
        """Rows that may be the best, (n, at least k); -1 where there is none.

        Args:
            queries: (n, d).
            k: how many are wanted.
            width: see `widths`; what is beyond the largest is that.
            threads: cores.
            mask: (rows,) which of them may be found.
        """
        faiss = import_faiss()
        selector = None
        if mask is not None and self._takes_selectors:
            selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        elif mask is not None:
            k = min(len(mask), int(1.2 * k / max(mask.mean(), 1 / len(mask))) + 16)
        width = min(width, self.widths[1]) if self.widths else 0
        if self._form is not self._index:
            k, width = min(k, GPU_MOST), min(width, GPU_MOST)
        with faiss_threads(threads), self._one_at_a_time:
            _, rows = self._index.search(queries, k, params=self._parameters(width, selector))
        if mask is not None:
            # Also with a selector, which not every index heeds; -1 itself reads the last place, and stays what it is.
            rows[~mask[rows]] = -1
        found: NDArray[np.int64] = rows
        return found

    def _parameters(self, width: int, selector: Any) -> Any:
        """FAISS' parameters of a search; the last without a selector are kept, since one query takes them as long."""
        faiss = import_faiss()
        if self._form is not self._index:
            return self._parameters_on_gpus(faiss, width)
        if selector:
            return _parameters(faiss, self._form, width, selector)
        kept = self._unfiltered  # another thread may put its own there
        if kept[0] != width:
            kept = self._unfiltered = (width, _parameters(faiss, self._form, width, None))
        return kept[1]

    def _parameters_on_gpus(self, faiss: Any, width: int) -> Any:
        """None where the index itself is set: several GPUs take no parameters with a search."""
        if isinstance(self._form, faiss.IndexHNSWCagra):
            return faiss.SearchParametersCagra(itopk_size=max(_LEAST_CAGRA, width))
        if isinstance(self._form, faiss.IndexIVF):
            faiss.GpuParameterSpace().set_index_parameter(self._index, "nprobe", width)
        return None

    @cached_property
    def _takes_selectors(self) -> bool:
        """Not every index does, and none says so but by an error; those on a GPU pass over them."""
        if self._form is not self._index:
            return False
        faiss = import_faiss()
        everything = faiss.IDSelectorRange(0, self._index.ntotal)
        query = np.zeros((1, self._index.d), dtype=np.float32)
        try:
            self._index.search(query, 1, params=_parameters(faiss, self._form, 1, everything))
        except RuntimeError:
            return False
        return True


def _core(faiss: Any, index: Any) -> Any:
    """What stands behind the transformations of vectors."""
    while isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index


def _parameters(faiss: Any, index: Any, width: int, selector: Any) -> Any:
    """FAISS' parameters of a search: None where there are none to give."""
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(faiss, faiss.downcast_index(index.index), width, selector)
        return faiss.SearchParametersPreTransform(index_params=inner) if inner else None
    chosen = {"sel": selector} if selector else {}
    if isinstance(index, faiss.IndexIVF):
        if isinstance(faiss.downcast_index(index.quantizer), faiss.IndexHNSW):
            chosen["quantizer_params"] = faiss.SearchParametersHNSW(efSearch=max(16, 2 * width))
        return faiss.SearchParametersIVF(nprobe=width, **chosen)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=width, **chosen)
    return faiss.SearchParameters(**chosen) if chosen else None


def _flat_view(faiss: Any, vectors: NDArray[np.float32]) -> Any:
    """A flat index of vectors where they lie, which must stay there."""
    n, d = vectors.shape
    address = faiss.cast_integer_to_void_ptr(vectors.ctypes.data)
    flat = faiss.IndexFlatIP(d)
    flat.codes = faiss.MaybeOwnedVectorUInt8.create_view(address, vectors.nbytes, _mapped().codes.owner)
    flat.ntotal = n
    return flat


@cache
def _mapped() -> Any:
    """An index in mapped memory: a view needs the owner of some, and FAISS has no other way to one."""
    faiss = import_faiss()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "one")
        index = faiss.IndexFlatIP(1)
        index.add(np.zeros((1, 1), dtype=np.float32))
        faiss.write_index(index, path)
        return faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)

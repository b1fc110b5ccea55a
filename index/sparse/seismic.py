"""Seismic (Bruch et al., SIGIR 2024) as the engine of approximate sparse search, by its own package.

Its index is one file, built of the vectors of all documents and built anew in each generation. Tokens go in as their
numbers and documents as their ordinals, so it holds no text. It knows no filter: filtered searches are exact ones.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import MissingExtraError
from retrieval.index.kernels.block_layout import Rows
from retrieval.index.sparse.queries import TermQueries
from retrieval.index.sparse.rows import RowsReader
from retrieval.index.storage.files import Folder, damaged
from retrieval.types import Hits

__all__ = ["CANDIDATES", "SeismicSearcher", "import_seismic", "write_seismic"]

_FILE = "seismic.bin"

# Recommended by its authors for SPLADE vectors of millions of documents.
_BUILD = {"n_postings": 4000, "centroid_fraction": 0.1, "summary_energy": 0.4}

_ROWS_AT_ONCE = 1 << 14

CANDIDATES = [
    {"query_cut": float(cut), "heap_factor": factor}
    for cut, factor in ((3, 1.0), (5, 1.0), (5, 0.9), (8, 0.9), (10, 0.8), (12, 0.8), (16, 0.8), (24, 0.7), (64, 0.6))
]
"""What a search is tuned by: how many of a query's tokens are looked up, and how early blocks are passed over."""


def import_seismic() -> Any:
    """The package, or an error that says how to install it."""
    try:
        import seismic
    except ImportError as error:
        raise MissingExtraError("pyseismic-lsr", "seismic", "Seismic's engine") from error
    return seismic


def write_seismic(folder: Path, rows: Rows) -> None:
    """Write the index of documents' vectors into an existing folder."""
    seismic = import_seismic()
    dataset = seismic.SeismicDataset()
    filled = np.flatnonzero(np.diff(rows.offsets))
    for some in np.array_split(filled, len(filled) // _ROWS_AT_ONCE + 1):
        first, stop = rows.offsets[some[0]], rows.offsets[some[-1] + 1]
        dataset.add_documents_by_id(
            [str(row) for row in some.tolist()],
            rows.terms[first:stop].astype(np.int64),
            rows.weights[first:stop].astype(np.float32),
            np.append(rows.offsets[some], stop) - first,
        )
    with _silent():
        index = seismic.SeismicIndex.build_from_dataset(dataset, **_BUILD)
        index.save(str(folder / "built"))
    next(folder.glob("built*")).rename(folder / _FILE)


@contextmanager
def _silent() -> Iterator[None]:
    """It talks on standard output, which is for data, and cannot be told not to."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


class SeismicSearcher:
    """Searches such an index, which is read into memory at the first search."""

    knows_filters = False

    def __init__(self, folder: Folder, vectors: RowsReader, scale: float) -> None:
        self._file = folder.open(_FILE)
        self._vectors = vectors
        self._scale = np.float32(scale)

    @cached_property
    def rows(self) -> Rows:
        """The documents' vectors."""
        return self._vectors.all()

    @cached_property
    def _index(self) -> Any:
        seismic = import_seismic()
        # Every byte is compared with its checksum, and what is read is what was opened.
        with tempfile.TemporaryDirectory(prefix="retrieval-") as copy:
            path = Path(copy) / "copy.index.seismic"
            path.write_bytes(self._file.read(0, self._file.size))
            try:
                with _silent():
                    return seismic.SeismicIndex.load(str(path))
            except Exception as error:
                raise damaged(self._file.path, f"Seismic cannot read it ({error})") from error

    def fill(
        self,
        hits: Hits,
        asked: TermQueries,
        parameters: Mapping[str, float],
        threads: int,
        allowed: NDArray[np.bool_] | None,
    ) -> Hits:
        """Fill in the hits of each query, and give them back."""
        assert allowed is None
        text = import_seismic().get_seismic_string()
        numbers = asked.terms.astype(text)
        filled = [i for i in range(len(hits)) if asked.offsets[i + 1] > asked.offsets[i]]
        parts = {i: slice(asked.offsets[i], asked.offsets[i + 1]) for i in filled}
        if not filled or not hits.scores.size:
            return hits
        found = self._index.batch_search(
            np.array([str(i) for i in filled], dtype=text),
            [numbers[part] for part in parts.values()],
            [asked.weights[part] for part in parts.values()],
            k=hits.scores.shape[1],
            query_cut=int(parameters["query_cut"]),
            heap_factor=parameters["heap_factor"],
            num_threads=threads,
        )
        for row in filter(None, found):
            query = int(row[0][0])
            part = parts[query]
            ordinals = np.array([int(document) for _, _, document in row], dtype=np.int64)
            self._score(hits, query, ordinals, asked.terms[part], asked.weights[part])
        return hits

    def _score(
        self,
        hits: Hits,
        query: int,
        ordinals: NDArray[np.int64],
        terms: NDArray[np.int64],
        weights: NDArray[np.float32],
    ) -> None:
        """Put one query's documents into our order, by their exact scores; its own are of weights of 16 bits."""
        rows, weight_of = self.rows, np.zeros(int(terms.max()) + 2, dtype=np.float32)
        weight_of[terms] = weights
        scores = np.empty(len(ordinals), dtype=np.float32)
        for i, ordinal in enumerate(ordinals.tolist()):
            here = slice(rows.offsets[ordinal], rows.offsets[ordinal + 1])
            known = np.minimum(rows.terms[here].astype(np.int64), len(weight_of) - 1)
            scores[i] = (weight_of[known] * rows.weights[here]).sum() * self._scale
        best = np.lexsort((ordinals, -scores))
        hits.counts[query] = len(best)
        hits.ordinals[query, : len(best)], hits.scores[query, : len(best)] = ordinals[best], scores[best]

    def problems(self) -> list[str]:
        """Read all of it, and name what cannot be."""
        self._vectors.all()
        return []

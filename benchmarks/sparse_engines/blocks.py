"""Ours, approximate: blocks of equal impact, and the vectors of all documents."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from sparse_synthetic import Vectors

from retrieval.index.kernels.block_layout import Pruning, WeightedQueries, new_block_scratch
from retrieval.index.kernels.block_layout import Rows as Documents
from retrieval.index.kernels.blocks import search_blocks
from retrieval.index.sparse.blocks import BlocksReader, build_blocks
from retrieval.index.storage.files import CHECKSUMS, Ledger
from sparse_engines.base import Engine, Parameters, Rows, rows_of

_FOLDER = "index"


class Blocks(Engine):
    """`build_blocks` and `search_blocks`."""

    packages = ("numba", "numpy")

    def searches(self) -> list[Parameters]:
        """A share of 0 with every document scored is exact."""
        shares, depths = (0.4, 0.3, 0.25, 0.2, 0.15, 0.1), (40, 70, 100, 140, 200, 280, 400, 700)
        pairs = product(shares, depths)
        return [{"share": share, "fill": 0.3, "depth": depth, "patience": 0.85} for share, depth in pairs] + [
            {"share": 0.0, "fill": 1.0, "depth": 1 << 30, "patience": 1.0}
        ]

    def build(self, vectors: Vectors, out: Path, parameters: Parameters) -> None:
        """The vectors are there already, and stay where they are."""
        del parameters
        (out / _FOLDER).mkdir()
        build_blocks(out / _FOLDER, _documents(vectors), len(vectors.terms))

    def open(self, vectors: Vectors, out: Path) -> None:
        """Every term is checked."""
        (out / _FOLDER / CHECKSUMS).unlink(missing_ok=True)  # of an earlier opening
        ledger = Ledger(out)
        ledger.add(_FOLDER)
        ledger.write(_FOLDER)
        reader = BlocksReader(Ledger.open(out, ledger.entries).folder(_FOLDER), len(vectors), len(vectors.terms))
        reader.check(range(len(vectors.terms)))
        self._arrays, self._documents = reader.arrays, _documents(vectors)
        self._scratch = new_block_scratch(len(vectors.terms))

    def prepare(self, vectors: Vectors, queries: list[int], k: int) -> Any:
        """One batch."""
        parts = [slice(vectors.query_offsets[query], vectors.query_offsets[query + 1]) for query in queries]
        sizes = [part.stop - part.start for part in parts]
        return (
            WeightedQueries(
                terms=np.concatenate([vectors.query_terms[part] for part in parts]),
                weights=np.concatenate([vectors.query_weights[part] for part in parts]),
                offsets=np.cumsum([0, *sizes]).astype(np.int64),
                scale=np.float32(1),
                allowed=np.zeros(0, dtype=bool),
            ),
            k,
        )

    def search(self, prepared: Any, parameters: Parameters) -> Any:
        """Ordinals, scores and counts."""
        queries, k = prepared
        n = len(queries.offsets) - 1
        out = np.empty((n, k), np.int64), np.empty((n, k), np.float32), np.empty(n, np.int64)
        search_blocks(self._arrays, self._documents, queries, Pruning(**parameters), self._scratch, *out)
        return out

    def rows(self, found: Any) -> Rows:
        """As they are."""
        return rows_of(*found)

    def size(self, vectors: Vectors, out: Path) -> int:
        """With the vectors, which a search reads."""
        arrays = (vectors.offsets, vectors.entries, vectors.weights)
        return super().size(vectors, out) + sum(array.nbytes for array in arrays)


def _documents(vectors: Vectors) -> Documents:
    return Documents(*(np.asarray(one) for one in (vectors.offsets, vectors.entries, vectors.weights)))

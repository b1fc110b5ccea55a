"""Ours: the sparse part of an index, from vectors to hits, exact and approximate."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from sparse_synthetic import Vectors

from retrieval.index.artifact import open_sparse
from retrieval.index.manifest import SparsePart
from retrieval.index.postings.merging import Source
from retrieval.index.postings.reader import ShardReader
from retrieval.index.sparse.approximate import write_approximate
from retrieval.index.sparse.builder import EntryWriter, write_shards
from retrieval.index.sparse.merging import merge_weights
from retrieval.index.sparse.options import SparseOptions
from retrieval.index.sparse.queries import TermQueries
from retrieval.index.storage.files import CHECKSUMS, Ledger, PlainFolder
from retrieval.types import Hits, ScoreKind, SparseVectors
from sparse_engines.base import Engine, Parameters, Rows, rows_of

_FOLDER = "generation-1"
_ROWS_AT_ONCE = 1 << 14


class Exact(Engine):
    """What `retrieval index build --sparse-vectors` writes of vectors, and `search` reads."""

    packages = ("numba", "numpy", "pyarrow")
    recall: float | None = None

    def searches(self) -> list[Parameters]:
        """It has none."""
        return [{}]

    def build(self, vectors: Vectors, out: Path, parameters: Parameters) -> None:
        """Vectors are appended to files, turned round in shards, and merged."""
        del parameters
        work, folder = out / "work", out / _FOLDER / "sparse"
        work.mkdir()
        folder.mkdir(parents=True)
        tokens = vectors.terms.tolist()
        with EntryWriter(work) as entries:
            for first in range(0, len(vectors), _ROWS_AT_ONCE):
                offsets = np.asarray(vectors.offsets[first : first + _ROWS_AT_ONCE + 1])
                part = slice(offsets[0], offsets[-1])
                columns, weights = vectors.entries[part].astype(np.int32), vectors.weights[part].astype(np.float32)
                entries.add(SparseVectors(tokens, offsets - offsets[0], columns, weights))
            entries.sync()
        readers = [ShardReader(PlainFolder(shard)) for shard in write_shards(work, "shard")]
        lengths = [reader.lengths.all() for reader in readers]
        firsts = np.cumsum([0, *map(len, lengths)])
        sources = [Source(reader, int(first)) for reader, first in zip(readers, firsts, strict=False)]
        stored = merge_weights(sources, np.concatenate(lengths), SparseOptions(), folder)
        if self.recall is not None:
            write_approximate(folder, len(vectors), stored.n_terms, "native")
        for path in sorted(work.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()

    def open(self, vectors: Vectors, out: Path) -> None:
        """As from a manifest."""
        (out / _FOLDER / CHECKSUMS).unlink(missing_ok=True)  # of an earlier opening
        ledger = Ledger(out)
        ledger.add(_FOLDER)
        ledger.write(_FOLDER)
        part = SparsePart(stored="u8", scale=1.0, recall=self.recall)
        folder = Ledger.open(out, ledger.entries).folder(f"{_FOLDER}/sparse")
        self._searcher = open_sparse(folder, len(vectors), part)

    def prepare(self, vectors: Vectors, queries: list[int], k: int) -> Any:
        """One batch, tokens as the numbers that they have in the index; what is read of them is checked."""
        parts = [slice(vectors.query_offsets[query], vectors.query_offsets[query + 1]) for query in queries]
        asked = SparseVectors(
            vectors.terms.tolist(),
            np.cumsum([0, *(part.stop - part.start for part in parts)], dtype=np.int64),
            np.concatenate([vectors.query_terms[part] for part in parts]).astype(np.int32),
            np.concatenate([vectors.query_weights[part] for part in parts]),
        )
        return self._searcher.numbered(asked), k

    def search(self, prepared: tuple[TermQueries, int], parameters: Parameters) -> Any:
        """Hits."""
        asked, k = prepared
        return self._searcher.fill(Hits.empty(len(asked), k, ScoreKind.DOT), asked)

    def rows(self, found: Hits) -> Rows:
        """As they are."""
        return rows_of(found.ordinals, found.scores, found.counts)


class Approximate(Exact):
    """The same with `--recall`, but for the tuning."""

    recall = 0.99

    def searches(self) -> list[Parameters]:
        """Those that are tuned, in a finer grid; a share of 0 with every document scored is exact."""
        shares, depths = (0.4, 0.3, 0.25, 0.2, 0.15, 0.1), (40, 70, 100, 140, 200, 280, 400, 700)
        pairs = product(shares, depths)
        return [{"share": share, "fill": 0.3, "depth": depth, "patience": 0.85} for share, depth in pairs] + [
            {"share": 0.0, "fill": 1.0, "depth": 1 << 30, "patience": 1.0}
        ]

    def search(self, prepared: tuple[TermQueries, int], parameters: Parameters) -> Any:
        """Hits."""
        asked, k = prepared
        hits = Hits.empty(len(asked), k, ScoreKind.DOT)
        return self._searcher.approximate.searcher.fill(hits, asked, parameters, 1, None)

"""Seismic (Bruch et al., SIGIR 2024), its authors' implementation in Rust."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import seismic
from sparse_synthetic import Vectors

from sparse_engines.base import Engine, Parameters, Rows

_AT_ONCE = 20_000
_NAME = "seismic"


class Seismic(Engine):
    """Posting lists cut and clustered into blocks with summaries; values of 16 bits."""

    packages = ("pyseismic-lsr",)
    note = "queries go in as strings, hits come out with ids"

    def builds(self, full: bool) -> list[Parameters]:
        """Less, usual and more of everything, as its guidelines vary them."""
        usual: list[Parameters] = [{"n_postings": 2000, "centroid_fraction": 0.1, "summary_energy": 0.4}]
        more = [
            {"n_postings": 4000, "centroid_fraction": 0.05, "summary_energy": 0.2},
            {"n_postings": 3500, "centroid_fraction": 0.1, "summary_energy": 0.4},
            {"n_postings": 1000, "centroid_fraction": 0.2, "summary_energy": 0.4},
        ]
        return usual + (more if full else [])

    def searches(self) -> list[Parameters]:
        """Terms of a query that are looked at, and how much better than the k-th best a summary must be."""
        cuts, factors = (2, 3, 4, 5, 6, 8, 10, 12, 16), (0.7, 0.8, 0.9, 1.0)
        return [{"query_cut": cut, "heap_factor": factor} for cut, factor in product(cuts, factors)]

    def build(self, vectors: Vectors, out: Path, parameters: Parameters) -> None:
        """From arrays, by part, then saved."""
        dataset = seismic.SeismicDataset()
        for first in range(0, len(vectors), _AT_ONCE):
            offsets = np.array(vectors.offsets[first : first + _AT_ONCE + 1])
            part = slice(offsets[0], offsets[-1])
            dataset.add_documents_by_id(
                [str(number) for number in range(first, first + len(offsets) - 1)],
                vectors.entries[part].astype(np.int64),
                vectors.weights[part].astype(np.float32),
                offsets - offsets[0],
            )
        seismic.SeismicIndex.build_from_dataset(dataset, num_threads=1, **parameters).save(str(out / _NAME))

    def open(self, vectors: Vectors, out: Path) -> None:
        """Into memory."""
        del vectors
        self._index = seismic.SeismicIndex.load(str(out / f"{_NAME}.index.seismic"))

    def prepare(self, vectors: Vectors, queries: list[int], k: int) -> Any:
        """Terms are strings of numbers."""
        text = seismic.get_seismic_string()
        parts = [slice(vectors.query_offsets[query], vectors.query_offsets[query + 1]) for query in queries]
        terms = [np.array([str(term) for term in vectors.query_terms[part]], dtype=text) for part in parts]
        weights = [np.array(vectors.query_weights[part], dtype=np.float32) for part in parts]
        return np.array([str(number) for number in range(len(queries))], dtype=text), terms, weights, k

    def search(self, prepared: Any, parameters: Parameters) -> Any:
        """A batch, or, for one query, what it has for that."""
        names, terms, weights, k = prepared
        if len(names) == 1:
            return [self._index.search(names[0], terms[0], weights[0], k, **parameters)]
        return self._index.batch_search(names, terms, weights, k, num_threads=1, **parameters)

    def rows(self, found: Any) -> Rows:
        """They come in any order of queries."""
        by_query = {int(hits[0][0]): hits for hits in found if hits}
        rows: Rows = []
        for query in range(len(found)):
            hits = by_query.get(query, [])
            rows.append(([int(hit[2]) for hit in hits], [float(hit[1]) for hit in hits]))
        return rows

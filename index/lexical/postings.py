"""Postings on disk: for each term, in the vocabulary's order, the documents that hold it and how often."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from retrieval.index.lexical.vocabulary import Vocabulary, write_vocabulary
from retrieval.index.storage.arrays import DiskArray
from retrieval.index.storage.files import Folder

__all__ = ["FREQUENCY_TYPES", "LENGTHS", "PostingsReader", "smallest_type", "write_postings"]

FREQUENCY_TYPES = (np.uint8, np.uint16, np.int32)

LENGTHS = "lengths.npy"


def smallest_type(largest: int) -> DTypeLike:
    """The first of the types that holds a frequency."""
    return next(type_ for type_ in FREQUENCY_TYPES if largest <= np.iinfo(type_).max)


def write_postings(
    folder: Path, terms: pa.LargeBinaryArray, starts: NDArray[Any], ordinals: NDArray[Any], frequencies: NDArray[Any]
) -> None:
    """Write postings that are in memory: (terms + 1,) starts, and of each posting document and frequency."""
    write_vocabulary(folder, terms)
    np.save(folder / "starts.npy", starts.astype(np.int64))
    np.save(folder / "ordinals.npy", ordinals.astype(np.int32))
    np.save(folder / "frequencies.npy", frequencies)


class PostingsReader:
    """Reads postings; of a mapped artifact without copying, of a shard slice by slice."""

    def __init__(self, folder: Folder) -> None:
        self.vocabulary = Vocabulary(folder)
        self.starts = DiskArray(folder, "starts.npy", np.int64)
        self.ordinals = DiskArray(folder, "ordinals.npy", np.int32)
        self.frequencies = DiskArray(folder, "frequencies.npy", FREQUENCY_TYPES)
        self.lengths = DiskArray(folder, LENGTHS, np.int32)
        self._check()

    def _check(self) -> None:
        n_terms = len(self.vocabulary)
        if len(self.starts) != n_terms + 1:
            raise self.starts.damaged(f"holds {len(self.starts)} values, expected {n_terms + 1}")
        last = int(self.starts.slice(n_terms, n_terms + 1)[0])
        for array in (self.ordinals, self.frequencies):
            if len(array) != last:
                raise array.damaged(f"holds {len(array)} values, expected {last}")

    def __len__(self) -> int:
        """Pairs of a term and a document that holds it."""
        return len(self.ordinals)

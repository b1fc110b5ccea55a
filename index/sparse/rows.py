"""The documents' vectors on disk, one document after the other: the postings turned round."""

from pathlib import Path

import numpy as np

from retrieval.index.kernels.block_layout import Rows
from retrieval.index.kernels.layout import WINDOW, WINDOW_BITS
from retrieval.index.postings.reader import postings_of_window
from retrieval.index.storage.arrays import ArrayAppender, DiskArray
from retrieval.index.storage.files import Folder

__all__ = ["RowsReader", "write_rows"]

_OFFSETS, _TERMS, _WEIGHTS = "row_offsets.npy", "row_terms.npy", "row_weights.npy"


def write_rows(folder: Path, rows: int) -> Rows:
    """Write the vectors of documents 0 to before `rows` beside the postings in a folder; they come back mapped.

    Needs memory for a window of documents.
    """
    names = ("run_starts", "run_windows", "run_lasts", "ordinals", "impacts")
    run_starts, windows, lasts, ordinals, impacts = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in names)
    term_type = np.uint16 if len(run_starts) - 1 <= 1 << 16 else np.int32
    sizes = [np.zeros(1, dtype=np.int64)]
    with (
        ArrayAppender(folder / _TERMS, term_type) as terms_file,
        ArrayAppender(folder / _WEIGHTS, impacts.dtype) as weights_file,
    ):
        for first in range(0, rows, WINDOW):
            found = postings_of_window(first >> WINDOW_BITS, run_starts, windows, lasts, ordinals, impacts)
            documents, terms, weights = found
            sizes.append(np.bincount(documents - first, minlength=min(WINDOW, rows - first)))
            terms_file.append(terms)
            weights_file.append(weights)
    np.save(folder / _OFFSETS, np.cumsum(np.concatenate(sizes)).astype(np.int64))
    return Rows(*(np.load(folder / name, mmap_mode="r") for name in (_OFFSETS, _TERMS, _WEIGHTS)))


class RowsReader:
    """Reads them, all at their first use."""

    def __init__(self, folder: Folder, rows: int, n_postings: int) -> None:
        self._offsets = DiskArray(folder, _OFFSETS, np.int64)
        self._terms = DiskArray(folder, _TERMS, (np.uint16, np.int32))
        self._weights = DiskArray(folder, _WEIGHTS, (np.uint8, np.uint16, np.float32))
        self.count = rows
        for array, expected in ((self._offsets, rows + 1), (self._terms, n_postings), (self._weights, n_postings)):
            if len(array) != expected:
                raise array.damaged(f"holds {len(array)} values, expected {expected}")

    def damaged(self, reason: str) -> Exception:
        """What is wrong with the vectors."""
        return self._offsets.damaged(reason)

    def all(self) -> Rows:
        """The vectors; their bytes are checked."""
        return Rows(self._offsets.all(), self._terms.all(), self._weights.all())

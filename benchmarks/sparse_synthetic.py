"""Corpora of learned sparse vectors of any size, resampled from real ones, for measuring at sizes not at hand.

A synthetic document is what a max-pooling encoder would give a text stitched together of two or three: the union of as
many real vectors, each scaled by a share of its own, of every term the larger weight. A tenth of the entries drops
out, weights are jittered, and the strongest are kept, as many as a real document drawn at random has. So terms occur
together as they do in real documents, and documents fall into groups as real ones do.
"""

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numba import njit
from numpy.typing import NDArray

SHARED = Path(__file__).parents[2] / "shared" / "data" / "nfcorpus-splade-v3"
MADE = Path(__file__).parents[1] / "build" / "sparse"

DROPOUT = 0.1
JITTER = 0.25
"""Standard deviation of the logarithm of what a weight is multiplied by."""

_VERSION = 1  # of what is made of the same settings
_AT_ONCE = 20_000  # documents
_LARGEST = 255


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Documents and queries as rows of terms and weights.

    Attributes:
        terms: names, in the order of their numbers.
        offsets: (documents + 1,) int64.
        entries: (entries,) uint16 terms, ascending within a row.
        weights: (entries,) uint8.
        query_offsets: (queries + 1,) int64.
        query_terms: int64.
        query_weights: float32.
    """

    terms: NDArray[Any]
    offsets: NDArray[np.int64]
    entries: NDArray[np.uint16]
    weights: NDArray[np.uint8]
    query_offsets: NDArray[np.int64]
    query_terms: NDArray[np.int64]
    query_weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def save(self, folder: Path) -> None:
        """One .npy file for each array."""
        for name, array in vars(self).items():
            np.save(folder / f"{name}.npy", array)


def load(folder: Path) -> Vectors:
    """What `save` wrote, mapped."""
    names = Vectors.__dataclass_fields__
    return Vectors(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names})


def read(folder: Path) -> Vectors:
    """The real documents and queries of a folder with docs.jsonl and queries.splade-v3.jsonl."""
    documents, queries = (
        [orjson.loads(line)["vector"] for line in (folder / name).read_bytes().splitlines()]
        for name in ("docs.jsonl", "queries.splade-v3.jsonl")
    )
    terms = sorted({term for vector in (*documents, *queries) for term in vector})
    number = {term: place for place, term in enumerate(terms)}
    offsets, entries, weights = _rows(documents, number)
    query_offsets, query_terms, query_weights = _rows(queries, number)
    return Vectors(
        terms=np.array(terms),
        offsets=offsets,
        entries=entries.astype(np.uint16),
        weights=weights.astype(np.uint8),
        query_offsets=query_offsets,
        query_terms=query_terms,
        query_weights=query_weights.astype(np.float32),
    )


def _rows(
    vectors: list[dict[str, int]], number: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    rows = [sorted((number[term], weight) for term, weight in vector.items()) for vector in vectors]
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    flat = np.array([pair for row in rows for pair in row], dtype=np.int64).reshape(-1, 2)
    return offsets, np.ascontiguousarray(flat[:, 0]), np.ascontiguousarray(flat[:, 1])


def make(documents: int, *, source: Path = SHARED, seed: int = 0, made: Path = MADE) -> Path:
    """A folder with so many documents resampled from those of `source`, and its queries; made once."""
    folder = made / f"{source.name}-{documents}-{seed}-v{_VERSION}"
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        resample(read(source), documents, seed).save(partial)
        partial.rename(folder)
    return folder


def resample(real: Vectors, documents: int, seed: int) -> Vectors:
    """So many documents made of real ones, the same for the same seed; the queries are the real ones."""
    sizes, entries, weights = zip(*_parts(real, documents, seed), strict=True)
    return Vectors(
        terms=real.terms,
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64),
        entries=np.concatenate(entries),
        weights=np.concatenate(weights),
        query_offsets=real.query_offsets,
        query_terms=real.query_terms,
        query_weights=real.query_weights,
    )


def _parts(real: Vectors, documents: int, seed: int) -> Iterator[tuple[NDArray[Any], ...]]:
    lengths = np.diff(real.offsets)
    for part, first in enumerate(range(0, documents, _AT_ONCE)):
        n = min(_AT_ONCE, documents - first)
        rng = np.random.default_rng([seed, part])
        parents, shares = rng.integers(0, len(real), (n, 3)), rng.uniform(0.3, 1.0, (n, 3))
        shares[np.arange(n), rng.integers(0, 2, n)] = 1.0
        shares[:, 2] *= rng.integers(0, 2, n)  # a third parent or none
        sizes = lengths[rng.integers(0, len(real), n)]
        entries = np.empty(sizes.sum(), dtype=np.uint16)
        weights = np.empty(sizes.sum(), dtype=np.uint8)
        arrays = (real.offsets, real.entries, real.weights)
        sizes = _mix(*arrays, len(real.terms), parents, shares, sizes, rng, entries, weights)
        yield sizes, entries[: sizes.sum()], weights[: sizes.sum()]


@njit(cache=True)
def _mix(offsets, terms, weights, n_terms, parents, shares, sizes, rng, out_terms, out_weights):  # type: ignore[no-untyped-def]
    """Write the documents one after the other; how many entries each has."""
    sums = np.zeros(n_terms)
    touched = np.empty(n_terms, dtype=np.int64)
    found, kept, place = np.empty(n_terms, dtype=np.int64), np.zeros(len(sizes), dtype=np.int64), 0
    for row in range(len(sizes)):
        n = 0
        for column in range(parents.shape[1]):
            share = shares[row, column]
            if share == 0:
                continue
            for entry in range(offsets[parents[row, column]], offsets[parents[row, column] + 1]):
                if rng.random() < DROPOUT:
                    continue
                value = share * weights[entry] * np.exp(JITTER * rng.standard_normal())
                term = terms[entry]
                if sums[term] == 0:
                    touched[n] = term
                    n += 1
                sums[term] = max(sums[term], value, 1e-9)
        found = touched[:n]
        if n > sizes[row]:
            values = np.sort(sums[found])
            floor = values[n - sizes[row]]
        else:
            floor = 0.0
        for term in np.sort(found):
            value = min(int(np.rint(sums[term])), _LARGEST)
            if sums[term] >= floor and value > 0 and kept[row] < sizes[row]:
                out_terms[place], out_weights[place] = term, value
                place += 1
                kept[row] += 1
            sums[term] = 0
    return kept


def main() -> None:
    """Make a corpus and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=int)
    parser.add_argument("--from", type=Path, dest="source", default=SHARED, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(make(options.documents, source=options.source, seed=options.seed))


if __name__ == "__main__":
    main()

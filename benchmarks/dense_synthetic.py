"""As many dense vectors as are asked for, resampled from real ones, for measuring at sizes not at hand.

A made vector is a real document's, or, one time in two, a mixture of it with one of its nearest neighbours; and noise:
a Gaussian direction with the covariance of the real documents, so much of it that the cosine to what it was made of is
uniform between .65 and .95, .8 on average. So vectors lie in the groups that the real ones form, and spread in the
directions in which the real ones do. Queries are the real test queries, kept apart from all documents, and noisy copies
of them until there are 1,000.

    python benchmarks/dense_synthetic.py 1000000 [--from FOLDER] [--made FOLDER] [--seed 0] [--threads 1]
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
from dense_real import MADE, SHARED, Vectors, real
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from retrieval.index.dense.faiss_index import import_faiss

COSINES = (0.65, 0.95)
MIXED = 0.5
"""Share of vectors that are mixtures."""
WEIGHTS = (0.7, 1.0)
"""Of the document itself in a mixture."""
QUERIES = 1000
K = 10

VECTORS, ASKED, TRUTH, ABOUT = "vectors.npy", "queries.npy", "truth.npy", "about.json"

_NEIGHBOURS = 8
_VERSION = 1  # of what is made of the same settings
_AT_ONCE = 20_000  # vectors in memory
_QUERY_STREAM = 1 << 20  # a stream of random numbers that no block of documents has


def make(documents: int, *, source: Path = SHARED, seed: int = 0, made: Path = MADE, threads: int = 1) -> Path:
    """A folder with so many vectors, the queries and their exact neighbours; made once."""
    folder = made / f"{documents}-{seed}-v{_VERSION}"
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        originals, queries = real(source, made, threads)
        _write(partial / VECTORS, documents, resample(originals, documents, seed, threads))
        asked = np.concatenate([queries[:QUERIES], noisy_queries(queries, max(QUERIES - len(queries), 0), seed)])
        np.save(partial / ASKED, asked)
        about = {"documents": documents, "real documents": len(originals)}
        about |= {"queries": len(asked), "real queries": min(len(queries), QUERIES)}
        (partial / ABOUT).write_bytes(orjson.dumps(about))
        np.save(partial / TRUTH, exact(partial / VECTORS, asked, K, threads))
        partial.rename(folder)
    return folder


def resample(originals: Vectors, documents: int, seed: int, threads: int = 1) -> Iterator[Vectors]:
    """So many vectors of length 1 made of real ones, block by block, the same for the same seed."""
    near = _neighbours(originals, threads)
    shape = _shape(originals)
    for part, first in enumerate(range(0, documents, _AT_ONCE)):
        n = min(_AT_ONCE, documents - first)
        rng = np.random.default_rng([seed, part])
        parents = rng.integers(0, len(originals), n)
        others = near[parents, rng.integers(0, near.shape[1], n)]
        weights = np.where(rng.random(n) < MIXED, rng.uniform(*WEIGHTS, n), 1.0).astype(np.float32)[:, None]
        yield _noisy(_unit(weights * originals[parents] + (1 - weights) * originals[others]), shape, rng)


def noisy_queries(queries: Vectors, n: int, seed: int) -> Vectors:
    """So many copies of queries drawn at random, with the noise that documents have."""
    rng = np.random.default_rng([seed, _QUERY_STREAM])
    return _noisy(queries[rng.integers(0, len(queries), n)], _shape(queries), rng)


def exact(vectors: Path, queries: Vectors, k: int, threads: int = 1) -> NDArray[np.int64]:
    """(n, k) numbers of the vectors of the largest inner products, best first, told by faiss' flat search."""
    faiss = import_faiss()
    faiss.omp_set_num_threads(threads)
    best_scores = np.empty((len(queries), 0), dtype=np.float32)
    best = np.empty((len(queries), 0), dtype=np.int64)
    for first, block in blocks(vectors):
        scores, found = faiss.knn(queries, block, min(k, len(block)), faiss.METRIC_INNER_PRODUCT)
        scores, found = np.hstack([best_scores, scores]), np.hstack([best, found + first])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best_scores, best = np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)
    return best


def blocks(path: Path) -> Iterator[tuple[int, Vectors]]:
    """Vectors on disk, so many at a time with the number of the first; read, as mapped pages would count as memory."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        (rows, dimensions), _, _ = np.lib.format.read_array_header_1_0(file)
        for first in range(0, rows, _AT_ONCE):
            n = min(_AT_ONCE, rows - first)
            yield first, np.fromfile(file, np.float32, n * dimensions).reshape(n, dimensions)


def _write(path: Path, rows: int, parts: Iterator[Vectors]) -> None:
    first, out = 0, None
    for part in parts:
        out = open_memmap(path, "w+", np.float32, (rows, part.shape[1])) if out is None else out
        out[first : first + len(part)] = part
        first += len(part)
        print(f"made {first:,} of {rows:,}", file=sys.stderr, flush=True)


def _neighbours(vectors: Vectors, threads: int) -> NDArray[np.int64]:
    """The nearest others of each vector, (n, m)."""
    faiss = import_faiss()
    faiss.omp_set_num_threads(threads)
    k = min(_NEIGHBOURS + 1, len(vectors))
    found: NDArray[np.int64] = faiss.knn(vectors, vectors, k, faiss.METRIC_INNER_PRODUCT)[1]
    return found[:, 1:]


def _shape(vectors: Vectors) -> Vectors:
    """The root of the covariance: standard normal numbers times it spread as the vectors do."""
    values, axes = np.linalg.eigh(np.cov(vectors, rowvar=False).astype(np.float64))
    return np.ascontiguousarray((axes * np.sqrt(np.maximum(values, 0))).T, dtype=np.float32)


def _noisy(sources: Vectors, shape: Vectors, rng: np.random.Generator) -> Vectors:
    """Each with as much noise, at a right angle to it, as gives the cosine that is drawn for it."""
    noise = rng.standard_normal(sources.shape, dtype=np.float32) @ shape
    noise = _unit(noise - np.einsum("nd,nd->n", noise, sources)[:, None] * sources)
    cosines = rng.uniform(*COSINES, len(sources)).astype(np.float32)[:, None]
    return _unit(cosines * sources + np.sqrt(1 - cosines**2) * noise)


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)


def main() -> None:
    """Make vectors and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=int)
    parser.add_argument("--from", type=Path, dest="source", default=SHARED, metavar="FOLDER")
    parser.add_argument("--made", type=Path, default=MADE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    given = {"source": options.source, "seed": options.seed, "made": options.made, "threads": options.threads}
    print(make(options.documents, **given))


if __name__ == "__main__":
    main()

"""Real vectors for the dense benchmark: `minilm`'s, of the documents and the test queries of whole collections.

    python benchmarks/dense_real.py [--from FOLDER] [--made FOLDER] [--threads 1]

Each collection is encoded once, documents and queries apart, and kept as float32 .npy files.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARED = Path(__file__).parents[2] / "shared" / "data"
MADE = Path(__file__).parents[1] / "build" / "dense"

COLLECTIONS = ("cranfield", "nfcorpus", "scifact", "trec-dl-v1-pool")
MODEL = "minilm"

_AT_ONCE = 1024  # texts that are sorted by length and encoded before progress is told

Vectors = NDArray[np.float32]


def real(source: Path = SHARED, made: Path = MADE, threads: int = 1) -> tuple[Vectors, Vectors]:
    """All documents' vectors and all test queries' vectors, of length 1, in the order of `COLLECTIONS`.

    Documents without a text have no vector.
    """
    folder, encoder = made / "real", _Encoder(threads)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [_encoded(source / name, folder, encoder) for name in COLLECTIONS]
    documents, queries = (np.concatenate(vectors) for vectors in zip(*pairs, strict=True))
    return documents, queries


class _Encoder:
    """The model, loaded when it is first needed."""

    def __init__(self, threads: int) -> None:
        self._threads, self._loaded = threads, None  # type: int, Any

    @property
    def model(self) -> Any:
        if self._loaded is None:
            import torch

            from retrieval.encoders.dense import load_encoder

            torch.set_num_threads(self._threads)
            self._loaded = load_encoder(MODEL, device="cpu")
        return self._loaded


def _encoded(collection: Path, folder: Path, encoder: _Encoder) -> tuple[Vectors, Vectors]:
    """A collection's vectors, from the files of an earlier run where there are such."""
    documents, queries = (folder / f"{collection.name}.{kind}.npy" for kind in ("documents", "queries"))
    if not documents.exists():
        _encode_documents(_texts(collection, queries=False), documents, encoder.model)
    if not queries.exists():
        _save(queries, encoder.model.encode_queries(_texts(collection, queries=True)))
    return np.load(documents), np.load(queries)


def _encode_documents(texts: list[str], path: Path, model: Any) -> None:
    """Block by block; what a run that was interrupted had done is kept."""
    dimensions, begun = model.card.dimensions, path.with_suffix(".begun")
    with begun.open("ab") as file:
        blocks = file.tell() // (4 * dimensions * _AT_ONCE)  # the last of a file may be a part of one
        file.truncate(blocks * 4 * dimensions * _AT_ONCE)
        for first in range(blocks * _AT_ONCE, len(texts), _AT_ONCE):
            file.write(model.encode_documents(texts[first : first + _AT_ONCE], lambda done: None).tobytes())
            file.flush()
            done = min(first + _AT_ONCE, len(texts))
            print(f"{path.stem}: {done:,} of {len(texts):,}", file=sys.stderr, flush=True)
    _save(path, np.fromfile(begun, np.float32).reshape(-1, dimensions))
    begun.unlink()


def _texts(collection: Path, *, queries: bool) -> list[str]:
    from retrieval.beir_eval.datasets import load_collection
    from retrieval.corpus import read_documents

    if queries:
        return [query.text for query in load_collection(collection, on_error="skip").queries]
    return [document.contents for document in read_documents(collection) if document.contents]


def _save(path: Path, vectors: Vectors) -> None:
    """As a whole or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, vectors)
    partial.rename(path)


def main() -> None:
    """Encode what has not been, and say how much there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", type=Path, dest="source", default=SHARED, metavar="FOLDER")
    parser.add_argument("--made", type=Path, default=MADE)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    documents, queries = real(options.source, options.made, options.threads)
    print(f"{len(documents):,} documents and {len(queries):,} queries of {documents.shape[1]} dimensions")


if __name__ == "__main__":
    main()

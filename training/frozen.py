"""Vectors of documents whose encoder does not learn: made once, kept on disk part by part, and scored against."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from retrieval.files import write_whole
from retrieval.protocols import Progress, silent

__all__ = ["FrozenDocuments", "encode_frozen"]

Encode = Callable[[Sequence[str]], Tensor]

_PART, _TEXTS_AT_ONCE = 256, 16


@dataclass(frozen=True)
class FrozenDocuments:
    """Sparse vectors of n documents over v terms.

    Attributes:
        matrix: (n, v) sparse tensor in float32.
    """

    matrix: Tensor

    @property
    def nonzeros(self) -> float:
        """Mean number of terms of a document."""
        return self.matrix._nnz() / max(1, self.matrix.shape[0])

    def scores(self, queries: Tensor) -> Tensor:
        """(b, n) inner products of queries (b, v) with every document, differentiable in the queries."""
        scores: Tensor = torch.sparse.mm(self.matrix, queries.float().T).T
        return scores

    def document_frequencies(self) -> Tensor:
        """(v,) share of documents in which each term is active."""
        terms = self.matrix.indices()[1]
        return torch.bincount(terms, minlength=self.matrix.shape[1]) / max(1, self.matrix.shape[0])


@torch.no_grad()
def encode_frozen(
    encode: Encode, texts: Sequence[str], folder: Path, *, model: str, progress: Progress = silent
) -> FrozenDocuments:
    """Encode texts, or read what an earlier call with the same model and texts has left in the folder.

    Args:
        encode: texts to (n, v) weights.
        texts: of the documents.
        folder: where parts are kept, each whole or not at all, so that an interrupted call goes on where it was.
        model: what tells the encoder from another, with all that decides its vectors.
        progress: told of documents.
    """
    parts = []
    for start in range(0, len(texts), _PART):
        part = texts[start : start + _PART]
        path = folder / f"{_key(model, part)}.npz"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, _encoded(encode, part))
        parts.append(np.load(path))
        progress("documents", start + len(part), len(texts))
    rows = np.concatenate([part["rows"] + number * _PART for number, part in enumerate(parts)])
    terms = np.concatenate([part["terms"] for part in parts])
    weights = np.concatenate([part["weights"] for part in parts])
    places = torch.from_numpy(np.stack([rows, terms]).astype(np.int64))
    shape = (len(texts), int(parts[0]["width"]))
    return FrozenDocuments(
        torch.sparse_coo_tensor(places, torch.from_numpy(weights), shape, check_invariants=True).coalesce()
    )


def _key(model: str, texts: Sequence[str]) -> str:
    digest = hashlib.sha256(model.encode())
    for text in texts:
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()[:32]


def _encoded(encode: Encode, texts: Sequence[str]) -> bytes:
    """The entries of a part; texts of one length go together."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    found = []
    for start in range(0, len(order), _TEXTS_AT_ONCE):
        places = order[start : start + _TEXTS_AT_ONCE]
        weights = encode([texts[place] for place in places]).float().cpu()
        rows, terms = weights.nonzero(as_tuple=True)
        found.append((torch.tensor(places)[rows].numpy(), terms.numpy(), weights[rows, terms].numpy()))
        width = weights.shape[1]
    rows_of_all, terms_of_all, values = map(np.concatenate, zip(*found, strict=True))
    content = io.BytesIO()
    np.savez(content, rows=rows_of_all, terms=terms_of_all, weights=values, width=width)
    return content.getvalue()

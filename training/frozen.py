"""Vectors of documents whose encoder does not learn: made once, kept on disk part by part, and scored against."""

import hashlib
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from retrieval.encoders.runtimes.batching import longest_first
from retrieval.files import write_whole
from retrieval.protocols import Progress, silent

__all__ = ["FrozenDocuments", "encode_frozen"]

Encode = Callable[[Sequence[str]], Tensor]

_PART, _TEXTS_AT_ONCE = 256, 16


class FrozenDocuments:
    """Sparse vectors of n documents over v terms.

    Args:
        rows: (nnz,) int64, the document of each entry.
        terms: (nnz,) int64, its term.
        weights: (nnz,) float32.
        shape: n and v.
    """

    def __init__(self, rows: Tensor, terms: Tensor, weights: Tensor, shape: tuple[int, int]) -> None:
        n, v = shape
        self.shape = shape
        # Both ways round: a product with compressed rows is many times faster than one of single entries.
        self._by_document = _compressed(rows, terms, weights, (n, v))
        self._by_term = _compressed(terms, rows, weights, (v, n))

    @property
    def nonzeros(self) -> float:
        """Mean number of terms of a document."""
        return len(self._by_document.values()) / max(1, self.shape[0])

    def scores(self, queries: Tensor) -> Tensor:
        """(b, n) inner products of queries (b, v) with every document, differentiable in the queries."""
        scores: Tensor = _Product.apply(queries.float(), self._by_document, self._by_term)  # type: ignore[no-untyped-call]
        return scores

    def document_frequencies(self) -> Tensor:
        """(v,) share of documents in which each term is active."""
        return self._by_term.crow_indices().diff() / max(1, self.shape[0])


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, by_document: Tensor, by_term: Tensor) -> Tensor:
        ctx.by_term = by_term
        return (by_document @ queries.T.contiguous()).T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return (ctx.by_term @ gradient.T.contiguous()).T, None, None


def _compressed(rows: Tensor, columns: Tensor, weights: Tensor, shape: tuple[int, int]) -> Tensor:
    order = torch.argsort(rows * shape[1] + columns)
    starts = torch.zeros(shape[0] + 1, dtype=torch.int64)
    starts[1:] = torch.bincount(rows, minlength=shape[0]).cumsum(0)
    with warnings.catch_warnings():
        # That the format is a beta of torch.
        warnings.simplefilter("ignore")
        return torch.sparse_csr_tensor(starts, columns[order], weights[order], shape, check_invariants=True)


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
    terms, weights = (np.concatenate([part[name] for part in parts]) for name in ("terms", "weights"))
    shape = (len(texts), int(parts[0]["width"]))
    return FrozenDocuments(torch.from_numpy(rows), torch.from_numpy(terms), torch.from_numpy(weights), shape)


def _key(model: str, texts: Sequence[str]) -> str:
    digest = hashlib.sha256(model.encode())
    for text in texts:
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()[:32]


def _encoded(encode: Encode, texts: Sequence[str]) -> bytes:
    """The entries of a part; texts of one length go together."""
    order = longest_first(texts, len)
    found = []
    for start in range(0, len(order), _TEXTS_AT_ONCE):
        places = order[start : start + _TEXTS_AT_ONCE]
        weights = encode([texts[place] for place in places]).float().cpu()
        rows, terms = weights.nonzero(as_tuple=True)
        found.append((torch.tensor(places)[rows].numpy(), terms.numpy(), weights[rows, terms].numpy()))
        width = weights.shape[1]
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]
    content = io.BytesIO()
    np.savez(content, rows=parts[0], terms=parts[1], weights=parts[2], width=width)
    return content.getvalue()

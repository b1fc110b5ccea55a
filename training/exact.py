"""Exact search with a model that is being trained: all documents are encoded, and compared with all queries."""

from collections.abc import Sequence

import torch
from torch import Tensor

from retrieval.encoders.neural.dual import DualEncoder
from retrieval.encoders.runtimes.pipeline import Batching, run_model
from retrieval.protocols import Progress, silent
from retrieval.training.gathering import gathered, processes, shares

__all__ = ["encode_all", "inner_products", "nearest"]

_TOKENS_AT_ONCE = 4096
_QUERIES_AT_ONCE = 256


@torch.no_grad()
def encode_all(
    model: DualEncoder, texts: Sequence[str], side: str, *, max_length: int, progress: Progress = silent
) -> Tensor:
    """(n, d) float32 vectors of texts on the CPU, without dropout; several processes make a share of them each.

    Args:
        model: put back into training afterwards, if it was in it.
        texts: at least one.
        side: `query` or `document`.
        max_length: tokens that are read of each.
        progress: told of texts.
    """
    was_training, done = model.training, 0
    model.eval()
    rank, world = processes()
    own = shares(len(texts), rank, world)

    def tell(more: int) -> None:
        nonlocal done
        done += more
        progress(f"{side} vectors", done, len(own))

    try:
        rows = run_model(
            [texts[place] for place in own],
            lambda some: model.tokenize(some, side, max_length),
            lambda features: model([(features, side)])[0],
            lambda vectors: list(vectors.cpu()),
            Batching(tokens=_TOKENS_AT_ONCE),
            tell,
        )
    finally:
        model.train(was_training)
    return gathered(torch.stack(rows), len(texts), rank, world)


def inner_products(queries: Tensor, documents: Tensor) -> Tensor:
    """(n, m) float32, of vectors (n, d) with vectors (m, d), under autocast as well.

    In bfloat16 a score would have eight bits, in which documents tie.
    """
    with torch.autocast(queries.device.type, enabled=False):
        return queries.float() @ documents.float().T


def nearest(queries: Tensor, documents: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Rows and scores (n, k) of the documents with the largest inner products, best first."""
    k = min(k, len(documents))
    best = [torch.topk(inner_products(part, documents), k, dim=1) for part in torch.split(queries, _QUERIES_AT_ONCE)]
    return torch.cat([one.indices for one in best]), torch.cat([one.values for one in best])

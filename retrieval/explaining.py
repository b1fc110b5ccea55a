"""What each token of a query's sparse vector added to a hit's score."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from retrieval.index.artifact import Artifact
from retrieval.protocols import SparseEncoder
from retrieval.types import Hit, TermSignal
from retrieval.vectors import StoredQueries

__all__ = ["with_terms"]


def with_terms(
    index: Artifact,
    encoder: SparseEncoder | StoredQueries,
    query: str,
    ordinals: NDArray[np.int64],
    hits: Sequence[Hit],
) -> list[Hit]:
    """One query's hits with their `terms`: of a learned-sparse part, whose encoder this is.

    Args:
        index: that has such a part.
        encoder: of its queries.
        query: its text.
        ordinals: (m,) of the hits.
        hits: m of them.
    """
    assert index.sparse
    weights = encoder.encode_queries([query]).row(0)
    literal = getattr(encoder, "literal_tokens", None)
    in_query = literal(query) if literal else None
    explained = []
    for ordinal, hit in zip(ordinals.tolist(), hits, strict=True):
        has_text = literal is not None and index.manifest.stores_text
        in_document = literal(index.documents[ordinal].contents) if literal and has_text else None
        terms = {
            token: TermSignal(
                score,
                None if in_query is None else token in in_query,
                None if in_document is None else token in in_document,
            )
            for token, score in index.sparse.contributions(weights, ordinal).items()
        }
        explained.append(replace(hit, terms=terms))
    return explained

"""Negatives that the model in training finds itself, at the start or again every so many steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import torch
from torch import Tensor

from retrieval.encoders.neural.dual import DualEncoder
from retrieval.files import write_whole
from retrieval.protocols import Progress, silent
from retrieval.training.data import Example, TrainingData
from retrieval.training.exact import encode_all, nearest

__all__ = ["Lists", "found_by", "with_lists", "write_lists"]


@dataclass(frozen=True)
class Lists:
    """What a search found for each example, without what is judged relevant, or must not be a negative.

    Attributes:
        rows: (n, depth) int64, best first; -1 where there is none.
        scores: (n, depth) float32.
    """

    rows: Tensor
    scores: Tensor


def found_by(
    model: DualEncoder,
    data: TrainingData,
    depth: int,
    *,
    query_length: int,
    document_length: int,
    progress: Progress = silent,
) -> Lists:
    """The `depth` best documents of each example's query, by exact search of all the data's texts with the model."""
    documents = encode_all(model, data.texts, "document", max_length=document_length, progress=progress)
    asked = [example.query for example in data.examples]
    queries = encode_all(model, asked, "query", max_length=query_length, progress=progress)
    left_out = [{*example.positives, *example.neither} for example in data.examples]
    rows, scores = nearest(queries, documents, depth + max(map(len, left_out)))
    kept_rows, kept_scores = torch.full((len(rows), depth), -1), torch.zeros(len(rows), depth)
    for place, others in enumerate(left_out):
        is_kept = torch.tensor([row not in others for row in rows[place].tolist()])
        n = min(depth, int(is_kept.sum()))
        kept_rows[place, :n] = rows[place][is_kept][:n]
        kept_scores[place, :n] = scores[place][is_kept][:n]
    return Lists(kept_rows, kept_scores)


def with_lists(data: TrainingData, rows: Tensor) -> TrainingData:
    """The same data with other negatives; what is known of weights and of a teacher's scores stays."""
    return replace(data, examples=[_with(*each) for each in zip(data.examples, rows.tolist(), strict=True)])


def _with(example: Example, rows: Sequence[int]) -> Example:
    return replace(example, negatives=tuple(row for row in rows if row >= 0))


def write_lists(path: Path, data: TrainingData, lists: Lists) -> None:
    """Write a file of mined negatives, for people to read and for other runs to train on."""
    lines = []
    for example, rows, scores in zip(data.examples, lists.rows.tolist(), lists.scores.tolist(), strict=True):
        negatives = [
            {"id": data.ids[row], "source": "self", "rank": rank, "score": round(score, 6), "weight": 1.0}
            for rank, (row, score) in enumerate(zip(rows, scores, strict=True), 1)
            if row >= 0
        ]
        lines.append(orjson.dumps({"query_id": example.id, "negatives": negatives}) + b"\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, b"".join(lines))

"""Dev data: how good a model is while it learns, by searching all documents exactly."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from retrieval.beir_eval.datasets import judged_queries, load_collection
from retrieval.beir_eval.measures import measure, parse_measures
from retrieval.beir_eval.runs import Run
from retrieval.corpus import read_documents
from retrieval.errors import CollectionError, InputError
from retrieval.training.data import plain
from retrieval.training.exact import inner_products
from retrieval.types import Query

__all__ = ["DevSet", "best_of", "hold_out", "load_dev_set", "search_all"]

Encode = Callable[[Sequence[str]], Tensor]

_DOCUMENTS_AT_ONCE = 32
_DEPTH = 100
_TEST = "test"  # BEIR's name of the split that chooses nothing


@dataclass(frozen=True)
class DevSet:
    """Judged queries, and the documents that they are asked of.

    Attributes:
        name: the folder's.
        queries: the judged ones.
        qrels: query id → document id → grade.
        documents: id → text.
        notes: what a reader of its figures should know, a sentence each.
    """

    name: str
    queries: Sequence[Query]
    qrels: Mapping[str, Mapping[str, int]]
    documents: Mapping[str, str]
    notes: Sequence[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """A digest of queries, judgements and documents: scores of other dev data cannot be compared."""
        digest = hashlib.sha256()
        for query in self.queries:
            digest.update(repr((query.id, query.text, sorted(self.qrels[query.id].items()))).encode())
        for id_, text in self.documents.items():
            digest.update(f"{id_}\0{text}\0".encode())
        return f"sha256:{digest.hexdigest()}"

    def score(self, run: Run, name: str = "nDCG@10") -> float:
        """The mean of a measure over the queries."""
        means, _ = measure(self.qrels, run, parse_measures([name]))
        return next(iter(means.values()))


def hold_out(ids: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """A share of some queries, drawn at random, to be dev data instead of training; at least one."""
    if not 0 < share < 1:
        raise InputError(f"the share that is held out must be between 0 and 1; got {share!r}")
    order = np.random.default_rng(seed).permutation(len(ids))
    return frozenset(ids[place] for place in order[: max(1, round(share * len(ids)))])


def load_dev_set(
    folder: Path, split: str, *, only: frozenset[str] | None = None, documents: int | None = None, seed: int = 0
) -> DevSet:
    """A split of a BEIR folder, without queries that its test split has as well, by id or by text.

    Args:
        folder: where it is.
        split: whose judgements count.
        only: the queries to take, by id; None takes all.
        documents: at most this many documents: those judged relevant, which are always there, and others at random.
            Figures on a sample are higher than on the whole corpus, and noted as such.
        seed: of the sample.

    Raises:
        CollectionError: no query is left.
    """
    collection = load_collection(folder, split, on_error="skip")
    asked = [query for query in collection.queries if only is None or query.id in only]
    tested = judged_queries(folder, _TEST) if split != _TEST and (folder / "qrels" / f"{_TEST}.tsv").is_file() else []
    ids, known = {query.id for query in tested}, {plain(query.text) for query in tested}
    queries = [query for query in asked if query.id not in ids and plain(query.text) not in known]
    if not queries:
        raise CollectionError(f"{folder}: split {split} has none of the queries for dev data")
    qrels = {query.id: collection.qrels[query.id] for query in queries}
    texts = {d.id: d.contents for d in read_documents(folder) if d.contents.strip()}
    notes = []
    if len(queries) < len(asked):
        lost = len(asked) - len(queries)
        notes.append(f"{folder.name}: queries for dev data that stand in the test split, and choose no model: {lost}")
    if documents is not None and documents < len(texts):
        kept = _sample(list(texts), qrels, documents, seed)
        notes.append(f"{folder.name}: dev figures are of {len(kept)} documents of {len(texts)}")
        texts = {id_: texts[id_] for id_ in texts if id_ in kept}
    return DevSet(folder.name, queries, qrels, texts, notes)


def _sample(ids: Sequence[str], qrels: Mapping[str, Mapping[str, int]], count: int, seed: int) -> set[str]:
    relevant = {id_ for grades in qrels.values() for id_, grade in grades.items() if grade > 0} & set(ids)
    others = [id_ for id_ in ids if id_ not in relevant]
    order = np.random.default_rng(seed).permutation(len(others))[: max(0, count - len(relevant))]
    return relevant | {others[place] for place in order}


@torch.no_grad()
def search_all(
    dev: DevSet, encode_query: Encode, encode_document: Encode, *, depth: int = _DEPTH, least: float = 0.0
) -> Run:
    """The best documents of each query by the inner product with every document, above `least` only.

    A document whose id is the query's own is left out, as in an evaluation. No more than a few documents' vectors exist
    at a time.

    Args:
        dev: queries and documents.
        encode_query: texts to (n, d) vectors.
        encode_document: likewise.
        depth: hits to keep.
        least: what a hit's score is above; with sparse vectors, 0 means that nothing matches.
    """
    ids = sorted(dev.documents, key=lambda id_: (-len(dev.documents[id_]), id_))
    queries = torch.cat([encode_query([query.text]) for query in dev.queries])
    parts = []
    for start in range(0, len(ids), _DOCUMENTS_AT_ONCE):
        texts = [dev.documents[id_] for id_ in ids[start : start + _DOCUMENTS_AT_ONCE]]
        parts.append(inner_products(queries, encode_document(texts)).cpu())
    return best_of(dev, ids, torch.cat(parts, dim=1), depth=depth, least=least)


def best_of(dev: DevSet, ids: Sequence[str], scores: Tensor, *, depth: int = _DEPTH, least: float = 0.0) -> Run:
    """The best documents of each query, above `least` only, without one whose id is the query's own.

    Args:
        dev: whose queries they are.
        ids: of the n documents.
        scores: (b, n), of each query with each.
        depth: hits to keep.
        least: what a hit's score is above.
    """
    best = torch.topk(scores, min(depth + 1, len(ids)), dim=1)
    run = {}
    for query, values, places in zip(dev.queries, best.values.tolist(), best.indices.tolist(), strict=True):
        hits = {ids[place]: value for value, place in zip(values, places, strict=True) if value > least}
        hits.pop(query.id, None)
        run[query.id] = dict(list(hits.items())[:depth])
    return run

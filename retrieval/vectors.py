"""Sparse vectors computed elsewhere: read from JSONL, found by id, and written in the same form.

A line is `{"id": ..., "vector": {token: weight, ...}}`, as Anserini and Pyserini read and write them.
"""

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from retrieval.errors import CorpusError, InputError
from retrieval.files import is_unicode, sha256_of
from retrieval.formats import STDIN, Record, records_of
from retrieval.types import EncoderCard, Query, SparseVectors

__all__ = ["StoredQueries", "VectorFile", "format_vectors", "read_vectors"]

_NAMED = 3


def read_vectors(path: str | Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Ids and vectors of a file, one at a time; weights of zero are left out.

    Raises:
        CorpusError: a line is not such a record, has an id that was there before, or a weight that is no number of at
            least 0.
    """
    seen: set[str] = set()
    for record in records_of(str(path)):
        id_, vector = _checked(record)
        if id_ in seen:
            raise CorpusError(record.source, record.position, f"duplicate id {id_!r}")
        seen.add(id_)
        yield id_, vector


def _checked(record: Record) -> tuple[str, dict[str, float]]:
    source, position, fields = record

    def wrong(reason: str) -> CorpusError:
        return CorpusError(source, position, reason, hint='expected {"id": "...", "vector": {"token": weight}}')

    if isinstance(fields, str):
        raise wrong(fields)
    id_, vector = fields.get("id", fields.get("_id")), fields.get("vector")
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    if not isinstance(id_, str) or not id_:
        raise wrong(f"no id: expected a string under 'id'; got {id_!r}")
    if not isinstance(vector, dict):
        raise wrong(f"no vector: expected an object under 'vector'; got {type(vector).__name__}")
    for token, weight in vector.items():
        if not token or not is_unicode(token):
            raise wrong(f"{token!r} is not a token")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= SparseVectors.LARGEST:
            raise wrong(f"the weight of {token!r} must be a number from 0 to {SparseVectors.LARGEST:g}; got {weight!r}")
    return id_, {token: float(weight) for token, weight in vector.items() if np.float32(weight) > 0}


def format_vectors(ids: Iterable[str], vectors: SparseVectors) -> Iterator[bytes]:
    """One line for each vector; whole numbers are written as such."""
    for i, id_ in enumerate(ids):
        row = {token: int(weight) if weight.is_integer() else weight for token, weight in vectors.row(i).items()}
        yield orjson.dumps({"id": id_, "vector": row}) + b"\n"


class VectorFile:
    """The vectors of a file, found by id: held on disk while this is, with the ids and the tokens in memory.

    Args:
        path: JSONL of sparse vectors, also .gz or .zst.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if str(path) == STDIN:
            raise InputError("sparse vectors are read from a file, not from standard input")
        folder = Path(tempfile.mkdtemp(prefix="retrieval-vectors-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._rows: dict[str, int] = {}
        self._offsets = [0]
        tokens: dict[str, int] = {}
        columns_file, weights_file = (folder / name for name in ("columns", "weights"))
        with columns_file.open("wb") as columns, weights_file.open("wb") as weights:
            for id_, vector in read_vectors(path):
                self._rows[id_] = len(self._rows)
                self._offsets.append(self._offsets[-1] + len(vector))
                numbers = [tokens.setdefault(token, len(tokens)) for token in vector]
                columns.write(np.array(numbers, dtype=np.int32).tobytes())
                weights.write(np.array([*vector.values()], dtype=np.float32).tobytes())
        self.tokens = list(tokens)
        self._columns = _mapped(columns_file, np.int32)
        self._weights = _mapped(weights_file, np.float32)
        self.digest = f"sha256:{sha256_of(self.path)}"

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, ids: Sequence[str]) -> SparseVectors:
        """The vectors of documents, in the order of their ids; an error if one has none."""
        missing = [id_ for id_ in ids if id_ not in self._rows]
        if missing:
            raise InputError(
                f"{self.path} has no vector of document {_some(missing)}",
                hint='give every document one, if need be an empty one: {"id": "...", "vector": {}}',
            )
        rows = [self._rows[id_] for id_ in ids]
        parts = [slice(self._offsets[row], self._offsets[row + 1]) for row in rows]
        return SparseVectors(
            tokens=self.tokens,
            offsets=np.cumsum([0, *(part.stop - part.start for part in parts)], dtype=np.int64),
            columns=np.concatenate([np.empty(0, dtype=np.int32), *(self._columns[part] for part in parts)]),
            weights=np.concatenate([np.empty(0, dtype=np.float32), *(self._weights[part] for part in parts)]),
        )


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return f"{', '.join(map(repr, ids[:_NAMED]))}{more}"


def _mapped(path: Path, dtype: type) -> Any:
    # An empty file cannot be mapped.
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.empty(0, dtype=dtype)


class StoredQueries:
    """The query side of an encoder, for queries whose vectors were computed elsewhere.

    Args:
        vectors: by the id of the query.
        queries: whose vectors these are; of two queries with one text the vectors must be the same.
        source: named in errors.
    """

    def __init__(self, vectors: Mapping[str, Mapping[str, float]], queries: Iterable[Query], source: str) -> None:
        self.card: EncoderCard | None = None
        self._source = source
        self._vectors: dict[str, Mapping[str, float]] = {}
        queries = list(queries)
        if missing := [query.id for query in queries if query.id not in vectors]:
            raise InputError(
                f"{source} has no vector of query {_some(missing)}",
                hint="leave such queries out, or give them a vector",
            )
        for query in queries:
            vector = vectors[query.id]
            if self._vectors.setdefault(query.text, vector) != vector:
                raise InputError(f"{source}: query {query.id!r} has the text of another one, and another vector")

    @classmethod
    def read(cls, path: str | Path, queries: Iterable[Query]) -> "StoredQueries":
        """Those of a JSONL file."""
        return cls(dict(read_vectors(path)), queries, str(path))

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of queries, by their texts."""
        unknown = [text for text in texts if text not in self._vectors]
        if unknown:
            raise InputError(f"{self._source} has no vector of the query {unknown[0]!r}")
        return SparseVectors.of(self._vectors[text] for text in texts)

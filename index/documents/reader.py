"""Reads the documents of all segments, by ordinal or by id, and says which of them a filter allows."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from retrieval.errors import ArtifactDamagedError
from retrieval.index.documents.filters import allowed_documents
from retrieval.index.documents.fingerprint import Fingerprint
from retrieval.index.documents.ids import hashes_of
from retrieval.index.documents.metadata import FieldCounts
from retrieval.index.documents.store import StoreReader
from retrieval.index.storage.files import File, damaged
from retrieval.types import Document

__all__ = ["DocumentReader"]


class DocumentReader:
    """Reads documents by ordinal; opening costs the same for any number of them.

    Ordinals count the rows of all segments, one segment after the other. A deleted document keeps its ordinal until
    the index is compacted; it is in no list and no length here, and asking for it is an IndexError.
    """

    def __init__(self, stores: Sequence[StoreReader], live: NDArray[np.bool_] | None, fields: File) -> None:
        self.stores = stores
        self.live = live
        self.firsts = np.cumsum([0, *(store.rows for store in stores)])
        self.rows = int(self.firsts[-1])
        self._count = self.rows if live is None else int(live.sum())
        self._fields = fields

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, ordinal: int) -> Document:
        """One document; IndexError for an ordinal that none has."""
        if not 0 <= ordinal < self.rows or not (self.live is None or self.live[ordinal]):
            raise IndexError(ordinal)
        number = int(np.searchsorted(self.firsts, ordinal, side="right")) - 1
        return self.stores[number].document(ordinal - int(self.firsts[number]))

    def __iter__(self) -> Iterator[Document]:
        return (self[int(ordinal)] for ordinal in self.ordinals)

    @property
    def ordinals(self) -> NDArray[np.int64]:
        """Those of the documents there are, ascending."""
        return np.arange(self.rows) if self.live is None else np.flatnonzero(self.live)

    def ids(self, ordinals: NDArray[np.int64] | Sequence[int]) -> list[str]:
        """The external ids of many documents, in the order of the ordinals."""
        return self._strings("id", ordinals)

    def document_ids(self, ordinals: NDArray[np.int64] | Sequence[int]) -> list[str]:
        """The ids of the documents that passages are from, in the order of the ordinals."""
        return self._strings("document", ordinals)

    def _strings(self, column: str, ordinals: NDArray[np.int64] | Sequence[int]) -> list[str]:
        wanted = np.asarray(ordinals, dtype=np.int64)
        if wanted.ndim != 1 or (len(wanted) and not 0 <= wanted.min() <= wanted.max() < self.rows):
            raise IndexError(f"ordinals must be one row of numbers from 0 to below {self.rows}; see Hits.row")
        if len(self.stores) == 1:
            return self.stores[0].ids.take(column, wanted)
        numbers = np.searchsorted(self.firsts, wanted, side="right") - 1
        values = np.empty(len(wanted), dtype=object)
        for number in np.unique(numbers):
            here = numbers == number
            values[here] = self.stores[number].ids.take(column, wanted[here] - self.firsts[number])
        return list(values)

    def metadata_of(self, ordinals: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Some documents' metadata, in no order."""
        parts = self._by_store(ordinals)
        return [metadata for store, rows in parts for metadata in store.metadata_of(rows)]

    def digests_of(self, ordinals: NDArray[np.int64]) -> list[bytes]:
        """Some documents' digests, in no order."""
        parts = self._by_store(ordinals)
        return [digest.tobytes() for store, rows in parts for digest in store.digests.all()[rows]]

    def _by_store(self, ordinals: NDArray[np.int64]) -> Iterator[tuple[StoreReader, NDArray[np.int64]]]:
        for number, store in enumerate(self.stores):
            rows = ordinals - self.firsts[number]
            yield store, rows[(rows >= 0) & (rows < store.rows)]

    def all_document_ids(self) -> Iterator[str]:
        """Every document's external id, in order, one batch in memory at a time; of passages, the documents' ids."""
        for store, live in self._parts():
            yield from (name for name, alive in zip(store.document_ids(), live, strict=True) if alive)

    def _parts(self) -> Iterator[tuple[StoreReader, NDArray[np.bool_]]]:
        """Each segment, and which of its rows are live."""
        for number, store in enumerate(self.stores):
            first = self.firsts[number]
            live = np.ones(store.rows, dtype=bool) if self.live is None else self.live[first : first + store.rows]
            yield store, live

    def find(self, ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where documents are: pairs of a place in `ids` and an ordinal; of one in passages, as many as it has."""
        hashes = hashes_of(ids)
        found = [np.empty((2, 0), dtype=np.int64)]
        for number, store in enumerate(self.stores):
            places, rows = store.find(ids, hashes)
            found.append(np.stack([places, rows + self.firsts[number]]))
        places, ordinals = np.concatenate(found, axis=1)
        alive = slice(None) if self.live is None else self.live[ordinals]
        return places[alive], ordinals[alive]

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """For each passage the number of its document, (rows,)."""
        documents = pa.chunked_array(
            [batch.column("document") for store in self.stores for batch in store.ids.batches()], pa.large_string()
        )
        groups = documents.combine_chunks().dictionary_encode().indices
        return np.asarray(groups.to_numpy(zero_copy_only=False), dtype=np.int64)

    @cached_property
    def field_counts(self) -> FieldCounts:
        """What the fields of the metadata hold."""
        try:
            return FieldCounts(orjson.loads(self._fields.read(0, self._fields.size)))
        except (orjson.JSONDecodeError, AttributeError) as error:
            raise damaged(self._fields.path, f"not counts of fields ({error})") from error

    @cached_property
    def _columns(self) -> tuple[pa.Table, dict[str, str]]:
        schema, untyped = self.field_counts.schema()
        tables = [store.columns(schema, live) for store, live in self._parts()]
        return pa.concat_tables([pa.table([[]] * len(schema), schema=schema), *tables]), untyped

    def allowed(self, filter_: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which documents a metadata filter allows, (rows,); see `retrieval.index.documents.filters`.

        Raises:
            FilterError: the filter cannot be understood; it names the place.
        """
        mask = allowed_documents(filter_, *self._columns, self.rows)
        return mask if self.live is None else mask & self.live

    def problems(self, fingerprint: str, *, with_text: bool = True) -> list[str]:
        """Read all of it, and name what cannot be, or does not fit the rest.

        Args:
            fingerprint: that of all documents.
            with_text: whether texts are kept, so that each document can be compared with its digest.
        """
        found = [problem for store in self.stores for problem in store.problems(with_text=with_text)]
        return found or [*self._problems_of_ids(), *self._problems_of_fields(), *self._problems_of_digests(fingerprint)]

    def _problems_of_ids(self) -> list[str]:
        different = len(set(self.ids(self.ordinals)))
        if different == len(self):
            return []
        return [f"{self._fields.path.parent}: holds {different} different ids of {len(self)} documents"]

    def _problems_of_fields(self) -> list[str]:
        counts = FieldCounts()
        for store, live in self._parts():
            for metadata, alive in zip(store.metadata(), live, strict=True):
                if alive:
                    counts.add(metadata)
        if counts.content() != self.field_counts.content():
            return [f"{self._fields.path}: does not fit the documents' metadata"]
        try:
            self._columns  # noqa: B018 - reads them
        except ArtifactDamagedError as error:
            return [str(error)]
        return []

    def _problems_of_digests(self, fingerprint: str) -> list[str]:
        digests = (store.digests.all()[live] for store, live in self._parts())
        if str(Fingerprint.of(row.tobytes() for part in digests for row in part)) == fingerprint:
            return []
        return [f"{self._fields.path.parent}: the documents' digests are not those of the fingerprint"]

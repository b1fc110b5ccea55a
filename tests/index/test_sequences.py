"""Whatever has been done to an index, it is the index that its documents would have been built into."""

import pickle
import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.chunking import ByWords, Chunking, passages_of
from retrieval.errors import DocumentExistsError, DocumentMissingError, FilterError, RetrievalError
from retrieval.index.lexical.bm25 import BM25
from retrieval.indexing import Index, LexicalOptions
from retrieval.types import Document
from tests.index.changing import ADDED, BUILT, FILTERS, answers, document, quick_folder, small_pieces


class Add(NamedTuple):
    """Documents by their numbers, all of one version and those after it."""

    numbers: list[int]
    version: int
    replace: bool
    shard: int


class Delete(NamedTuple):
    """Documents by their numbers, by a filter, or both."""

    numbers: list[int]
    filter: Mapping[str, Any] | None
    missing_ok: bool


class Compact(NamedTuple):
    """Make one segment of all."""


class Reopen(NamedTuple):
    """Open it again, from its path or from a pickle."""

    pickled: bool


class Look(NamedTuple):
    """Compare it in full."""


Operation = Add | Delete | Compact | Reopen | Look


@dataclass(frozen=True)
class Settings:
    """How an index is built."""

    store_text: bool = True
    chunking: Chunking | None = None
    method: str = "lucene"

    def build(self, documents: Iterable[Document], path: Path, shard: int = 100) -> Index:
        """An index with both parts, replacing the one at `path`."""
        return Index.build(
            list(documents),
            path,
            lexical=LexicalOptions(bm25=BM25(method=self.method)),
            **BUILT,
            store_text=self.store_text,
            chunking=self.chunking,
            shard_documents=shard,
            overwrite=True,
        )

    def stored(self, documents: Iterable[Document]) -> list[Document]:
        """The documents or passages that an index of these documents gives back."""
        parts = passages_of(documents, self.chunking) if self.chunking else documents
        return [part if self.store_text else replace(part, text="") for part in parts]


@dataclass
class Twin:
    """An index, and beside it the documents that it must hold, in order."""

    settings: Settings
    folder: Path
    index: Index
    documents: dict[str, Document]
    first: Index
    opened_before: list[tuple[Index, dict[str, Any]]] = field(default_factory=list)

    @classmethod
    def of(cls, documents: Sequence[Document], how: Settings, folder: Path, shard: int) -> "Twin":
        """Build the index."""
        index = how.build(documents, folder / "index", shard)
        return cls(how, folder, index, {one.id: one for one in documents}, first=index)

    @property
    def handle(self) -> Index:
        """What the index is changed by: also one that was opened long ago changes what is there now."""
        return self.first if len(self.documents) % 3 == 0 else self.index

    def fresh(self) -> Index:
        """The index as it would be if it was built of the documents now."""
        return self.settings.build(self.documents.values(), self.folder / "fresh")

    def do(self, operation: Operation) -> None:
        """Do it to both."""
        match operation:
            case Add():
                self.add(operation)
            case Delete():
                self.delete(operation)
            case Compact():
                self.index = self.handle.compact()
                assert self.index.manifest.deleted == 0
                assert len(self.index.manifest.segments) <= 1
            case Reopen(pickled):
                self.index = pickle.loads(pickle.dumps(self.index)) if pickled else Index.open(self.index.path)
            case Look():
                self.compare()

    def add(self, add: Add) -> None:
        """New documents go to the end, and so do those that take another's place."""
        new = [document(number, add.version + place) for place, number in enumerate(add.numbers)]
        if not add.replace and any(one.id in self.documents for one in new):
            with pytest.raises(DocumentExistsError, match="already holds document"):
                self.handle.add(new, **ADDED, shard_documents=add.shard)
            self.index = Index.open(self.index.path)
            return
        self.index = self.handle.add(new, replace=add.replace, **ADDED, shard_documents=add.shard)
        for one in new:
            self.documents.pop(one.id, None)
            self.documents[one.id] = one

    def delete(self, delete: Delete) -> None:
        """What a filter deletes is what it allows in a fresh index."""
        ids = [f"d{number}" for number in delete.numbers]
        kind: type[RetrievalError] | None = None
        gone = set(ids)
        if not delete.missing_ok and not gone <= set(self.documents):
            kind = DocumentMissingError
        elif delete.filter is not None:
            fresh = self.fresh().documents
            try:
                ordinals = fresh.allowed(delete.filter).nonzero()[0]
                gone |= {*(fresh.document_ids(ordinals) if self.settings.chunking else fresh.ids(ordinals))}
            except FilterError:
                kind = FilterError
        if kind:
            with pytest.raises(kind):
                self.handle.delete(ids, filter=delete.filter, missing_ok=delete.missing_ok)
            self.index = Index.open(self.index.path)
            return
        self.index = self.handle.delete(ids, filter=delete.filter, missing_ok=delete.missing_ok)
        self.documents = {id_: one for id_, one in self.documents.items() if id_ not in gone}

    def compare(self) -> None:
        """Documents, their order, every answer and every refusal are those of a fresh index."""
        fresh = self.fresh()
        expected = self.settings.stored(self.documents.values())
        assert list(self.index.documents) == list(fresh.documents) == expected
        assert len(self.index) == len(fresh) == len(expected)
        here = answers(self.index)
        assert here == answers(fresh)
        assert self.index.problems() == []
        self.compare_places(expected)
        self.opened_before.append((self.index, here))

    def compare_places(self, expected: Sequence[Document]) -> None:
        """Every document is found by its id, where it is, and no other."""
        ids = [f"d{number}" for number in NUMBERS]
        places, ordinals = self.index.documents.find(ids)
        pairs = sorted((int(ordinal), ids[place]) for place, ordinal in zip(places, ordinals, strict=True))
        assert [id_ for _, id_ in pairs] == [one.passage.document if one.passage else one.id for one in expected]
        assert [ordinal for ordinal, _ in pairs] == self.index.documents.ordinals.tolist()

    def compare_with_before(self) -> None:
        """What was opened earlier answers as it did then, though its files are gone."""
        for index, before in self.opened_before:
            assert answers(index) == before


NUMBERS = range(30)

numbers = st.lists(st.sampled_from(NUMBERS), max_size=6, unique=True)
shards = st.sampled_from([2, 7, 100])
operations = st.one_of(
    st.builds(Add, numbers, st.integers(0, 200), st.booleans(), shards),
    st.builds(Add, numbers, st.integers(0, 200), st.just(True), shards),
    st.builds(Delete, numbers, st.none(), st.just(True)),
    st.builds(Delete, numbers, st.none() | st.sampled_from(FILTERS), st.booleans()),
    st.builds(Delete, st.just([]), st.sampled_from(FILTERS), st.just(True)),
    st.builds(Compact),
    st.builds(Reopen, st.booleans()),
    st.builds(Look),
)
lives = st.lists(operations, min_size=1, max_size=8)


def live(life: Sequence[Operation], how: Settings, size: int, version: int, shard: int, *, small: bool = False) -> None:
    """Build an index, do all of it, and compare."""
    with quick_folder() as folder, small_pieces() if small else nullcontext():
        twin = Twin.of([document(number, version + number) for number in range(size)], how, folder, shard)
        for operation in life:
            twin.do(operation)
        twin.compare()
        twin.compare_with_before()


@given(
    life=lives,
    size=st.integers(0, 24),
    version=st.integers(0, 200),
    shard=shards,
    store_text=st.booleans(),
    method=st.sampled_from(["lucene", "bm25l", "robertson"]),
    small=st.booleans(),
)
@settings(max_examples=40)
def test_a_changed_index_is_a_fresh_one(
    life: list[Operation],
    size: int,
    version: int,
    shard: int,
    store_text: bool,
    method: str,
    small: bool,
) -> None:
    """In any order: additions, replacements, deletions by id and by filter, compaction, reopening."""
    live(life, Settings(store_text=store_text, method=method), size, version, shard, small=small)


@given(
    life=lives,
    size=st.integers(0, 12),
    version=st.integers(0, 200),
    shard=shards,
    store_text=st.booleans(),
    overlap=st.integers(0, 1),
    small=st.booleans(),
)
@settings(max_examples=20)
def test_a_changed_index_of_passages_is_a_fresh_one(
    life: list[Operation],
    size: int,
    version: int,
    shard: int,
    store_text: bool,
    overlap: int,
    small: bool,
) -> None:
    """All passages of a document come and go with it."""
    how = Settings(store_text=store_text, chunking=ByWords(size=3, overlap=overlap))
    live(life, how, size, version, shard, small=small)


@pytest.mark.parametrize("seed", range(2))
def test_a_long_life(seed: int, tmp_path: Path) -> None:
    """Hundreds of documents, in several segments, changed a few at a time and many at a time."""
    rng = random.Random(seed)
    size = 400

    def some(most: int) -> list[int]:
        return rng.sample(range(size + 100), rng.randint(1, most))

    life: list[Operation] = []
    for _ in range(10):
        life += [
            Add(some(40), rng.randrange(1000), replace=True, shard=rng.choice((7, 100))),
            Delete(some(100), None, missing_ok=True),
            Add(some(3), rng.randrange(1000), replace=True, shard=100),
        ]
    twin = Twin.of([document(number, 9 * number) for number in range(size)], Settings(), tmp_path, shard=64)
    segments = set()
    for operation in life:
        twin.do(operation)
        segments.add(len(twin.index.manifest.segments))
    assert max(segments) > 2
    expected = [one.id for one in twin.documents.values()]
    assert [one.id for one in twin.index.documents] == expected
    assert answers(twin.index) == answers(twin.fresh())
    assert twin.index.problems() == []
    assert answers(twin.index.compact()) == answers(twin.fresh())


@pytest.mark.parametrize("odd", ["x", {"deep": 1}, [["nested"]], True])
def test_a_field_is_typed_again_when_what_was_odd_is_gone(odd: object, tmp_path: Path) -> None:
    """A filter is refused while a document holds something else there, and works as soon as that is gone."""
    plain = [Document(id=f"p{i}", text="wind", metadata={"n": i}) for i in range(4)]
    index = Index.build([*plain, Document(id="odd", text="wind", metadata={"n": odd})], tmp_path / "index")
    if isinstance(odd, dict):
        assert index.documents.allowed({"n.deep": 1}).tolist() == [False, False, False, False, True]
    else:
        with pytest.raises(FilterError, match="field 'n' cannot be filtered, as it holds"):
            index.documents.allowed({"n": {"$gte": 2}})
    for better in (
        index.add([Document(id="odd", text="wind", metadata={"n": 9})], replace=True).delete(["odd"]),
        index.compact(),
    ):
        assert better.documents.ids(better.documents.allowed({"n": {"$gte": 2}}).nonzero()[0]) == ["p2", "p3"]
        with pytest.raises(FilterError, match=r"no document has a field 'n\.deep'"):
            better.documents.allowed({"n.deep": 1})
        assert better.problems() == []


@pytest.mark.parametrize("store_text", [True, False])
def test_segments_without_a_vector_are_merged_as_others_are(store_text: bool, tmp_path: Path) -> None:
    """Documents without a word have no vector; a segment can be of such alone."""
    how = Settings(store_text=store_text)
    twin = Twin.of([Document(id="d0", text="")], how, tmp_path, shard=1)
    assert twin.index.problems() == []
    for life in (Add([1], 0, replace=False, shard=1), Delete([1], None, missing_ok=False), Compact()):
        twin.do(life)
        twin.compare()

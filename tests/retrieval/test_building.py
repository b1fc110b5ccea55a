"""Builds and additions that were interrupted: what goes on, what is refused, and what is discarded."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from retrieval import building
from retrieval.chunking import ByWords
from retrieval.errors import ArtifactError, ArtifactMissingError, CorpusError, UnfinishedBuildError
from retrieval.index.lexical.bm25 import BM25
from retrieval.index.sparse.options import SparseOptions
from retrieval.indexing import Index, LexicalOptions
from retrieval.types import Document, EncoderCard
from tests.index.changing import ToyEncoder, ToySparseEncoder, answers, document
from tests.index.killing import BLOCK, CORPUS, MORE, SHARD, small_blocks


def filled(documents: list[Document]) -> int:
    """How many documents an encoder sees."""
    return sum(1 for one in documents if one.contents)


class _StopError(Exception):
    """A build comes to an end, as by a key that is pressed."""


def interrupted_build(path: Path, corpus: list[Document] = CORPUS, **settings: Any) -> None:
    """A build that stops when its second block is encoded."""
    encoder = stopping_encoder(BLOCK + 1)
    with small_blocks(), pytest.raises(_StopError):
        Index.build(corpus, path, dense=encoder, shard_documents=SHARD, **settings)
    with pytest.raises(ArtifactMissingError):
        Index.open(path)


def stopping_encoder(most: int) -> ToyEncoder:
    """An encoder that stops when it is given more than some texts."""
    seen = 0

    def stop(texts: Any) -> None:
        nonlocal seen
        seen += len(texts)
        if seen > most:
            raise _StopError

    return ToyEncoder(stop)


class _OtherEncoder(ToyEncoder):
    card = EncoderCard(model="toy", dimensions=8, similarity="dot", weights="others")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"store_text": False}, "store_text was true, is false"),
        ({"shard_documents": SHARD + 1}, f"shard_documents was {SHARD}, is {SHARD + 1}"),
        ({"lexical": LexicalOptions(bm25=BM25(k1=0.9))}, "lexical.bm25.k1 was 1.5, is 0.9"),
        ({"lexical": False}, "lexical was {"),
        ({"dense": None}, "encoder was {"),
        ({"dense": _OtherEncoder()}, 'encoder.weights was null, is "others"'),
        ({"chunking": ByWords(size=5, overlap=1)}, "chunking was null, is {"),
        ({"on_error": "skip"}, 'on_error was "stop", is "skip"'),
    ],
)
def test_other_settings_do_not_go_on(settings: dict[str, Any], named: str, tmp_path: Path) -> None:
    """What differs is named, and the work is still there for those that it was begun with."""
    interrupted_build(tmp_path / "index")
    usual: dict[str, Any] = {"dense": ToyEncoder(), "shard_documents": SHARD}
    with pytest.raises(UnfinishedBuildError) as error:
        Index.build(CORPUS, tmp_path / "index", **{**usual, **settings})
    assert named in str(error.value)
    assert str(tmp_path / "index") in str(error.value)
    assert "--restart" in str(error.value.hint)
    with small_blocks():
        Index.build(CORPUS, tmp_path / "index", **{**usual, "dense": stopping_encoder(filled(CORPUS[BLOCK:]))})
    shutil.rmtree(tmp_path / "index")
    interrupted_build(tmp_path / "index")
    anew = Index.build(CORPUS, tmp_path / "index", restart=True, **{**usual, **settings})
    fresh = Index.build(CORPUS, tmp_path / "fresh", **{**usual, **settings})
    encoder = settings.get("dense")
    assert answers(anew, encoder=encoder) == answers(fresh, encoder=encoder)


@pytest.mark.parametrize(
    ("corpus", "named"),
    [
        ([*CORPUS[:3], document(3, 999), *CORPUS[4:]], "document 4, 'd3', is not the one it read"),
        ([*CORPUS[:3], *CORPUS[4:]], "document 4, 'd4', is not the one it read"),
        (CORPUS[::-1], f"document 1, 'd{len(CORPUS) - 1}', is not the one it read"),
        (CORPUS[:-1], f"it read {len(CORPUS)} documents, and there are {len(CORPUS) - 1}"),
        ([], f"it read {len(CORPUS)} documents, and there are 0"),
        ([*CORPUS, MORE[0]], f"it read {len(CORPUS)} documents, and there are more"),
    ],
)
def test_another_corpus_does_not_go_on(corpus: list[Document], named: str, tmp_path: Path) -> None:
    """What differs is named, and the work is still there for the corpus that it was begun with."""
    interrupted_build(tmp_path / "index")
    with pytest.raises(UnfinishedBuildError) as error:
        Index.build(corpus, tmp_path / "index", dense=ToyEncoder(), shard_documents=SHARD)
    assert named in str(error.value)
    with small_blocks():
        encoder = stopping_encoder(filled(CORPUS[BLOCK:]))
        built = Index.build(CORPUS, tmp_path / "index", dense=encoder, shard_documents=SHARD)
    assert answers(built) == answers(Index.build(CORPUS, tmp_path / "fresh", dense=ToyEncoder()))


def test_a_restart_discards_what_was_done(tmp_path: Path) -> None:
    """Of any corpus and settings; every document is encoded."""
    interrupted_build(tmp_path / "index")
    seen: list[str] = []
    built = Index.build(MORE, tmp_path / "index", dense=ToyEncoder(seen.extend), restart=True)
    assert len(seen) == filled(MORE)
    assert answers(built) == answers(Index.build(MORE, tmp_path / "fresh", dense=ToyEncoder()))


def test_work_goes_on_whatever_its_encoder_tells(tmp_path: Path) -> None:
    """An encoder that does not say how far it is loses nobody's work, and no document gets two vectors."""

    class Silent(ToyEncoder):
        def encode_documents(self, texts: Any, on_batch: Any) -> Any:
            return super().encode_documents(texts, lambda more: None)

    interrupting = Silent(stopping_encoder(3 * BLOCK)._on_batch)
    with small_blocks():
        with pytest.raises(_StopError):
            Index.build(CORPUS, tmp_path / "index", dense=interrupting, shard_documents=SHARD)
        built = Index.build(CORPUS, tmp_path / "index", dense=Silent(), shard_documents=SHARD)
    assert built.problems() == []
    assert answers(built) == answers(Index.build(CORPUS, tmp_path / "fresh", dense=ToyEncoder()))


def test_an_error_in_the_corpus_keeps_whole_shards(tmp_path: Path) -> None:
    """The corrected corpus goes on from them; of less than a shard nothing is kept."""
    with pytest.raises(CorpusError):
        Index.build([*CORPUS, CORPUS[0]], tmp_path / "index", dense=ToyEncoder(), shard_documents=len(CORPUS) + 2)
    assert not (tmp_path / "index").exists()
    with pytest.raises(CorpusError):
        Index.build([*CORPUS, CORPUS[0]], tmp_path / "index", dense=ToyEncoder(), shard_documents=SHARD)
    assert (tmp_path / "index" / "building" / "shard-3").exists()
    built = Index.build(CORPUS, tmp_path / "index", dense=ToyEncoder(), shard_documents=SHARD)
    assert answers(built) == answers(Index.build(CORPUS, tmp_path / "fresh", dense=ToyEncoder()))


def test_a_mistyped_path_costs_no_work(tmp_path: Path) -> None:
    """The error is about the path, and the build goes on when it is right."""
    interrupted_build(tmp_path / "index")
    with pytest.raises(CorpusError, match="no such file"):
        Index.build("nosuch.jsonl", tmp_path / "index", dense=ToyEncoder(), shard_documents=SHARD)
    seen: list[str] = []
    Index.build(CORPUS, tmp_path / "index", dense=ToyEncoder(seen.extend), shard_documents=SHARD)
    assert len(seen) < filled(CORPUS)


@pytest.mark.parametrize("name", ["texts.arrow", "ids_batches.npy", "digests.npy", "vectors.npy", "starts.npy"])
def test_unfinished_work_that_was_damaged_is_not_gone_on_with(name: str, tmp_path: Path) -> None:
    """A flipped bit, a cut or a missing file in it is named, and a restart helps."""
    path = tmp_path / "index"
    interrupted_build(path)
    file = sorted(path.rglob(name))[0]
    sound = file.read_bytes()
    # Byte 130 is the third behind an array's header.
    for damage in (sound[:130] + bytes([sound[130] ^ 1]) + sound[131:], sound[:130], None):
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage)
        with pytest.raises(UnfinishedBuildError, match=name) as error:
            Index.build(CORPUS, path, dense=ToyEncoder(), shard_documents=SHARD)
        assert error.value.hint == "discard it: --restart"
        file.write_bytes(sound)
    file.unlink()
    built = Index.build(CORPUS, path, dense=ToyEncoder(), shard_documents=SHARD, restart=True)
    assert built.problems() == []


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """An index to add to."""
    return Index.build(CORPUS, tmp_path / "index", dense=ToyEncoder())


def interrupted_addition(index: Index, corpus: list[Document] = MORE) -> None:
    """An addition that stops when its second block is encoded."""
    with small_blocks(), pytest.raises(_StopError):
        index.add(corpus, encoder=stopping_encoder(BLOCK + 1), shard_documents=SHARD)
    assert answers(Index.open(index.path)) == answers(index)


def test_a_small_addition_that_was_interrupted_is_in_nobodys_way(index: Index, tmp_path: Path) -> None:
    """Other documents can be added, also those of a generator, and with other settings."""
    interrupted_addition(index)
    other = index.add((document(number) for number in range(60, 70)), encoder=ToyEncoder(), shard_documents=SHARD)
    interrupted_addition(other, [document(90 + number) for number in range(20)])
    again = other.add([document(80)], encoder=ToyEncoder())
    expected = [*CORPUS, *(document(number) for number in range(60, 70)), document(80)]
    assert answers(again) == answers(Index.build(expected, tmp_path / "fresh", dense=ToyEncoder()))
    assert again.problems() == []


def test_an_addition_that_was_interrupted_is_gone_on_with(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same call; other documents are refused, and a restart takes any."""
    interrupted_addition(index)
    monkeypatch.setattr(building, "_WORTH_KEEPING", 1)
    with pytest.raises(UnfinishedBuildError, match="of other documents: document 1, 'd41', is not the one it read"):
        index.add(MORE[1:], encoder=ToyEncoder(), shard_documents=SHARD)
    seen: list[str] = []
    added = index.add(MORE, encoder=ToyEncoder(seen.extend), shard_documents=SHARD)
    assert len(seen) == filled(MORE[BLOCK:])
    assert answers(added) == answers(Index.build([*CORPUS, *MORE], tmp_path / "fresh", dense=ToyEncoder()))
    interrupted_addition(added, [document(90 + number) for number in range(20)])
    again = added.add([document(80)], encoder=ToyEncoder(), restart=True)
    assert [one.id for one in again.documents][-1] == "d80"
    assert again.problems() == []


def test_another_change_between_an_interrupted_addition_and_its_end(index: Index, tmp_path: Path) -> None:
    """The addition still makes what it makes of the index as it is then."""
    interrupted_addition(index)
    changed = index.delete(["d0", "d7"]).compact()
    assert changed.problems() == []
    added = changed.add(MORE, encoder=ToyEncoder(), shard_documents=SHARD)
    kept = [one for one in CORPUS if one.id not in ("d0", "d7")]
    assert answers(added) == answers(Index.build([*kept, *MORE], tmp_path / "fresh", dense=ToyEncoder()))
    assert added.problems() == []


def test_a_document_that_came_while_an_addition_was_interrupted(index: Index) -> None:
    """It is not there twice: the addition is refused as it would be if it began now."""
    interrupted_addition(index)
    both = index.add([MORE[2]], encoder=ToyEncoder(), restart=True)
    with pytest.raises(ArtifactError, match="already holds document 'd42'"):
        both.add(MORE, encoder=ToyEncoder(), shard_documents=SHARD)
    assert Index.open(index.path).problems() == []


class _StoppingSparse(ToySparseEncoder):
    """Stops when it is given more than some texts; knows how many it encoded."""

    def __init__(self, most: int = 10**9) -> None:
        self.seen = 0
        self._most = most

    def encode_documents(self, texts: Any, on_batch: Any) -> Any:
        self.seen += len(texts)
        if self.seen > self._most:
            raise _StopError
        return super().encode_documents(texts, on_batch)


@pytest.mark.parametrize("name", [None, "sparse_weights.npy", "sparse_tokens.json"])
def test_sparse_vectors_are_gone_on_with(name: str | None, tmp_path: Path) -> None:
    """Nothing that was made durable is encoded again, neither densely nor sparsely; if it was damaged, it is named."""
    path, dense, sparse = tmp_path / "index", ToyEncoder(), _StoppingSparse()
    with small_blocks():
        with pytest.raises(_StopError):
            Index.build(CORPUS, path, dense=dense, sparse=_StoppingSparse(3 * BLOCK), shard_documents=SHARD)
        if name:
            file = path / "building" / name
            file.write_bytes(file.read_bytes()[:-3])
            with pytest.raises(UnfinishedBuildError, match=name):
                Index.build(CORPUS, path, dense=dense, sparse=sparse, shard_documents=SHARD)
            return
        seen: list[str] = []
        built = Index.build(CORPUS, path, dense=ToyEncoder(seen.extend), sparse=sparse, shard_documents=SHARD)
    assert not seen
    assert 0 < sparse.seen < filled(CORPUS)
    assert answers(built) == answers(Index.build(CORPUS, tmp_path / "fresh", dense=dense, sparse=ToySparseEncoder()))


def test_another_source_of_sparse_vectors_does_not_go_on(tmp_path: Path) -> None:
    """As another dense model does not."""
    with small_blocks(), pytest.raises(_StopError):
        Index.build(CORPUS, tmp_path / "index", sparse=_StoppingSparse(3 * BLOCK), shard_documents=SHARD)
    with pytest.raises(UnfinishedBuildError, match=r"sparse was \{"):
        Index.build(CORPUS, tmp_path / "index", shard_documents=SHARD)
    options = SparseOptions(impacts="u8")
    with pytest.raises(UnfinishedBuildError, match=r'sparse\.impacts was "exact", is "u8"'):
        Index.build(
            CORPUS, tmp_path / "index", sparse=ToySparseEncoder(), sparse_options=options, shard_documents=SHARD
        )

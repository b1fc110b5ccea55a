"""The kinds of index that are approximate, through a whole artifact."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.errors import ArtifactDamagedError, InputError
from retrieval.index.dense.kinds import KINDS
from retrieval.index.dense.options import DenseOptions
from retrieval.indexing import Index
from retrieval.types import Document, EncoderCard, Hits

N, D = 1600, 64
KINDS_TRIED = (*KINDS, "IVF16,SQ8", "PCA16,IVF16,Flat")


def clustered(n: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors around thirty directions."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).standard_normal((30, D))
    vectors = directions[rng.integers(0, 30, n)] + 0.8 * rng.standard_normal((n, D))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


VECTORS, QUERIES = clustered(N, 0), clustered(64, 1)


class Lookup:
    """An encoder of texts that are the numbers of vectors."""

    card = EncoderCard(model="lookup", dimensions=D, similarity="cosine")

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> NDArray[np.float32]:
        """The vectors themselves."""
        on_batch(len(texts))
        return VECTORS[[int(text) for text in texts]]

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As of documents."""
        return self.encode_documents(texts, lambda more: None)


def documents(numbers: Sequence[int]) -> list[Document]:
    return [Document(str(number), str(number)) for number in numbers]


def build(path: Path, kind: str, numbers: Sequence[int] = range(N), **options: object) -> Index:
    dense = DenseOptions(index=kind, **{"recall": 0.95, **options})  # type: ignore[arg-type]
    return Index.build(documents(numbers), path, lexical=False, dense=Lookup(), dense_options=dense)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A graph that several threads build differs from run to run."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


def recall(found: Hits, exact: Hits) -> float:
    shares = [
        len(set(one) & set(other)) / len(other) for one, other in zip(found.ordinals, exact.ordinals, strict=True)
    ]
    return float(np.mean(shares))


@pytest.mark.parametrize("kind", KINDS_TRIED)
def test_a_kind_lives_through_a_whole_life(kind: str, tmp_path: Path) -> None:
    """Built, filtered, deleted from, added to and compacted: recall holds, and nothing comes that may not."""
    asked = 0.7 if kind == "binary" else 0.95  # one bit of each of 64 dimensions is little
    index = build(tmp_path / "index", kind, recall=asked)
    assert index.dense
    assert index.manifest.dense
    entry = index.manifest.dense.segments["segment-1"]
    assert entry.kind == kind
    assert {10} <= {effort.depth for effort in entry.efforts} <= {10, 100}
    assert all(effort.recall >= asked for effort in entry.efforts)
    found, exact = index.dense.search(QUERIES, 10), index.dense.search(QUERIES, 10, exact=True)
    assert recall(found, exact) >= asked - 0.05
    assert_scored_alike(found, exact)

    allowed = np.arange(N) % 3 == 0
    filtered = index.dense.search(QUERIES, 10, allowed=allowed)
    assert allowed[filtered.ordinals].all()
    assert recall(filtered, index.dense.search(QUERIES, 10, allowed=allowed, exact=True)) >= asked - 0.05

    fewer = index.delete([str(number) for number in range(0, N, 4)])
    assert fewer.dense
    assert (fewer.dense.search(QUERIES, 100).ordinals % 4).all()

    more = fewer.add(documents(range(0, N, 8)), encoder=Lookup())
    assert more.dense
    assert set(more.manifest.dense.segments) == {"segment-1"}  # type: ignore[union-attr]
    assert recall(more.dense.search(QUERIES, 10), more.dense.search(QUERIES, 10, exact=True)) >= asked - 0.05

    compacted = more.compact()
    kept = [number for number in range(N) if number % 4] + list(range(0, N, 8))
    fresh = build(tmp_path / "fresh", kind, kept, recall=asked)
    assert compacted.dense
    assert fresh.dense
    one, other = (part.dense.search(QUERIES, 10) for part in (compacted, fresh))  # type: ignore[union-attr]
    np.testing.assert_array_equal(one.ordinals, other.ordinals)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert compacted.problems() == []


def assert_scored_alike(found: Hits, exact: Hits) -> None:
    """A document has one score, whatever found it; and hits stand in order."""
    for ordinals, scores, others, theirs in zip(
        found.ordinals, found.scores, exact.ordinals, exact.scores, strict=True
    ):
        known = dict(zip(others.tolist(), theirs.tolist(), strict=True))
        same = [place for place, ordinal in enumerate(ordinals.tolist()) if ordinal in known]
        assert [known[int(ordinals[place])] for place in same] == scores[same].tolist()
        assert np.lexsort((ordinals, -scores)).tolist() == list(range(len(scores)))


def test_hits_do_not_depend_on_the_batch_or_the_number(tmp_path: Path) -> None:
    """Alone as in a batch, and fewer hits are the first of more."""
    index = build(tmp_path / "index", "hnsw")
    assert index.dense
    together = index.dense.search(QUERIES, 10, threads=2)
    alone = index.dense.search(QUERIES[3:4], 10)
    np.testing.assert_array_equal(alone.scores[0], together.scores[3])
    np.testing.assert_array_equal(index.dense.search(QUERIES, 4).ordinals, together.ordinals[:, :4])


def test_a_graph_is_stored_without_the_vectors(tmp_path: Path) -> None:
    """They are those of the segment, where they are."""
    index = build(tmp_path / "index", "hnsw")
    size = index.manifest.files["segment-1/dense.faiss"].bytes
    assert size < N * 300  # 32 links of 4 bytes, twice as many in the lowest layer


def test_deep_searches_and_rare_filters_are_exact(tmp_path: Path) -> None:
    """Deeper than what was tuned, and where few documents are allowed."""
    index = build(tmp_path / "index", "ivf-rabitq")
    assert index.dense
    rare = np.arange(N) % 40 == 0
    for k, allowed in ((1000, None), (10, rare), (200, rare)):
        found, exact = (index.dense.search(QUERIES, k, allowed=allowed, exact=way) for way in (False, True))
        np.testing.assert_array_equal(found.ordinals, exact.ordinals)


def test_a_reader_goes_on_after_its_index_was_replaced(tmp_path: Path) -> None:
    """Its first search comes after a writer removed the files that it opened."""
    opened = Index.open(build(tmp_path / "index", "hnsw").path)
    opened.delete(["7"]).compact()
    assert not (tmp_path / "index" / "segment-1").exists()
    assert opened.dense
    assert opened.dense.search(VECTORS[7:8], 1).ordinals[0, 0] == 7


@pytest.mark.parametrize("kind", ["hnsw", "ivf-pq"])
def test_an_altered_index_is_an_error_that_names_it(kind: str, tmp_path: Path) -> None:
    """One byte in the middle."""
    build(tmp_path / "index", kind)
    file = tmp_path / "index" / "segment-1" / "dense.faiss"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    index = Index.open(tmp_path / "index")
    assert index.dense
    with pytest.raises(ArtifactDamagedError, match=r"dense\.faiss"):
        index.dense.search(QUERIES, 10)


def test_few_vectors_need_no_index(tmp_path: Path) -> None:
    """Neither where a kind is named, nor where one is chosen."""
    for kind in ("hnsw", "auto"):
        index = build(tmp_path / kind, kind, range(300))
        assert index.manifest.dense
        assert index.manifest.dense.segments == {}


def test_auto_takes_what_fits_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error if nothing fits."""
    monkeypatch.setattr("retrieval.index.dense.kinds._EXACT", 1000)
    monkeypatch.setattr("retrieval.index.dense.kinds._BY_SPEED", ("hnsw", "ivf-pq", "ivf-rabitq"))
    for name, memory, kinds in (("large", None, {"hnsw"}), ("small", N * 33, {"ivf-pq", "ivf-rabitq"})):
        part = build(tmp_path / name, "auto", memory=memory).manifest.dense
        assert part
        assert part.segments["segment-1"].kind in kinds
        assert part.segments["segment-1"].efforts[0].recall >= 0.95
    monkeypatch.setattr(Lookup, "encode_documents", None)  # it is told before anything is encoded
    with pytest.raises(InputError, match="do not fit into 1,000 bytes"):
        build(tmp_path / "none", "auto", memory=1000)


def test_an_index_that_cannot_be_made_is_told_before_anything_is_encoded(tmp_path: Path) -> None:
    """A name that is none, a factory string that does not suit the vectors, and options that make no sense."""
    for kind in ("hsnw", "IVF16,PQ7", "IVF16,Flat,RFlat"):
        with pytest.raises(InputError, match=kind.split(",")[0]):
            build(tmp_path / "index", kind)
    assert not (tmp_path / "index").exists()
    for options in ({"recall": 0.0}, {"recall": 1.5}, {"recall_at": 0}, {"memory": 5, "index": "hnsw"}):
        with pytest.raises(InputError):
            DenseOptions(**options)  # type: ignore[arg-type]


def test_a_recall_out_of_reach_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One bit of each dimension does not find all of the best."""
    with caplog.at_level("WARNING", logger="retrieval"):
        index = build(tmp_path / "index", "binary", recall=1.0)
    assert "reaches a recall of" in caplog.text
    assert index.dense
    assert index.dense.search(QUERIES, 10).counts.tolist() == [10] * len(QUERIES)


@pytest.mark.parametrize("factory", ["IVF2000,Flat", "PCA128,Flat", "ZnLattice2x4_4"])
def test_what_faiss_refuses_later_is_searched_exactly(
    factory: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """More lists than vectors, more dimensions than there are, and what it writes and cannot read: nothing is lost."""
    with caplog.at_level("WARNING", logger="retrieval"):
        index = build(tmp_path / "index", factory)
    assert f"FAISS makes no index {factory}" in caplog.text
    assert index.manifest.dense
    assert index.manifest.dense.segments == {}
    assert index.dense
    assert index.dense.search(QUERIES, 3).counts.tolist() == [3] * len(QUERIES)
    assert index.add(documents([5]), replace=True, encoder=Lookup()).problems() == []


def test_a_build_that_was_killed_may_go_on_with_another_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What searches the vectors is made after all is encoded, which is not done twice."""
    with monkeypatch.context() as patch:
        patch.setattr("retrieval.index.generation.write_dense_index", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "index", "hnsw")
    calls: list[int] = []
    monkeypatch.setattr(Lookup, "encode_documents", lambda self, texts, on_batch: calls.append(len(texts)))
    dense = build(tmp_path / "index", "ivf").manifest.dense
    assert dense
    assert dense.segments["segment-1"].kind == "ivf"
    assert calls == []


def _interrupted(*arguments: object) -> None:
    raise KeyboardInterrupt

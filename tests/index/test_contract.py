"""What every kind of index promises, held for each of them alike."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.errors import CorpusError
from retrieval.index.kernels import postings_reference
from retrieval.index.kernels.layout import new_scratch
from retrieval.index.lucene.options import LuceneOptions
from retrieval.indexing import Index
from retrieval.types import Document, EncoderCard, Hits, ScoreKind
from tests.index.lucene import reference as lucene_reference
from tests.index.lucene.reference import needs_lucene

WORDS = ["wind", "storm", "sky", "plasma", "aurora", "night"]
DIMENSIONS = len(WORDS)


class CountingEncoder:
    """Counts words: vectors with many exact ties, as retrieval with duplicates has them."""

    card = EncoderCard(model="counting", dimensions=DIMENSIONS, similarity="dot")

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> NDArray[np.float32]:
        """One dimension for each word."""
        on_batch(len(texts))
        return self.encode_queries(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One dimension for each word."""
        counts = [[text.split().count(word) for word in WORDS] for text in texts]
        return np.array(counts, dtype=np.float32).reshape(len(texts), DIMENSIONS)


KINDS = ("lexical", "dense", pytest.param("lucene", marks=needs_lucene))
LEXICAL = {"lexical": True, "dense": False, "lucene": LuceneOptions()}

texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)


def build(kind: str, contents: Sequence[str], path: Path) -> Index:
    """An index of one kind, replacing the one at `path`."""
    documents = [Document(id=f"d{i}", text=text) for i, text in enumerate(contents)]
    dense = CountingEncoder() if kind == "dense" else None
    return Index.build(documents, path, lexical=LEXICAL[kind], dense=dense, overwrite=True)


def search(
    index: Index, kind: str, queries: Sequence[str], k: int, threads: int = 1, allowed: NDArray[np.bool_] | None = None
) -> Hits:
    """Hits of the one part the index has, by the kernel that serves all but a process' first question."""
    if kind != "dense":
        assert index.lexical
        index.lexical.search(["the first question of a process, which another path answers"], 1)
        return index.lexical.search(queries, k, threads, allowed)
    assert index.dense
    return index.dense.search(CountingEncoder().encode_queries(queries), k, threads, allowed)


def reference(index: Index, kind: str, queries: Sequence[str], k: int) -> Hits:
    """The same hits, by plain NumPy over the files of the index, or for Lucene over its texts."""
    if kind == "lucene":
        return lucene_reference.search([one.contents for one in index.documents], queries, k, LuceneOptions())
    if kind == "lexical":
        assert index.lexical
        hits = Hits.empty(len(queries), min(k, len(index)), ScoreKind.BM25)
        if hits.scores.size:
            postings_reference.search_postings(
                index.lexical.postings.arrays,
                index.lexical.encode(queries),
                new_scratch(),
                hits.ordinals,
                hits.scores,
                hits.counts,
            )
        return hits
    assert index.dense
    segment = next(index.path.glob("segment-*"), None)  # an index without documents has none
    vectors = np.load(segment / "vectors.npy") if segment else np.empty((0, DIMENSIONS), dtype=np.float32)
    ordinals = np.load(segment / "vector_rows.npy") if segment else np.empty(0, dtype=np.int64)
    hits = Hits.empty(len(queries), min(k, len(vectors)), ScoreKind.DOT)
    for i, query in enumerate(CountingEncoder().encode_queries(queries)):
        scores = (vectors * query).sum(axis=1)
        best = np.lexsort((ordinals, -scores))[: hits.scores.shape[1]]
        hits.ordinals[i], hits.scores[i], hits.counts[i] = ordinals[best], scores[best], len(best)
    return hits


def assert_same(one: Hits, other: Hits) -> None:
    """The same ordinals, scores and counts."""
    np.testing.assert_array_equal(one.counts, other.counts)
    for (ordinals, scores), (others, theirs) in zip(one.rows(), other.rows(), strict=True):
        np.testing.assert_array_equal(ordinals, others)
        np.testing.assert_array_equal(scores, theirs)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of index in turn."""
    return str(request.param)


@given(contents=st.lists(texts, max_size=12), queries=st.lists(texts, max_size=4), k=st.integers(0, 15))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hits_equal_the_numpy_reference(
    kind: str, contents: list[str], queries: list[str], k: int, tmp_path: Path
) -> None:
    """For any documents, empty ones and equal ones among them, any queries and any k."""
    index = build(kind, contents, tmp_path / "index")
    assert_same(search(index, kind, queries, k), reference(index, kind, queries, k))


def test_ties_stand_in_order_of_ordinals(kind: str, tmp_path: Path) -> None:
    """Also when they reach beyond k: the lowest ordinals are kept."""
    index = build(kind, ["wind sky"] * 50, tmp_path / "index")
    hits = search(index, kind, ["wind"], 7)
    assert hits.ordinals[0].tolist() == list(range(7))


def test_k_above_the_number_of_documents(kind: str, tmp_path: Path) -> None:
    """All matches come, and no padding."""
    index = build(kind, ["wind", "wind sky", "storm wind"], tmp_path / "index")
    hits = search(index, kind, ["wind"], 1000)
    assert hits.counts.tolist() == [3]
    assert set(hits.row(0)[0]) == {0, 1, 2}


def test_k_of_zero(kind: str, tmp_path: Path) -> None:
    """No hits, and no error."""
    index = build(kind, ["wind"], tmp_path / "index")
    assert search(index, kind, ["wind", "sky"], 0).counts.tolist() == [0, 0]


def test_an_empty_corpus(kind: str, tmp_path: Path) -> None:
    """It can be built, opened and searched."""
    build(kind, [], tmp_path / "index")
    assert search(Index.open(tmp_path / "index"), kind, ["wind"], 5).counts.tolist() == [0]


def test_an_empty_document_is_never_found(kind: str, tmp_path: Path) -> None:
    """It is stored, and no query returns it, however deep."""
    index = build(kind, ["", "wind", "   ", "wind"], tmp_path / "index")
    assert index.documents[0].text == ""
    hits = search(index, kind, ["wind"], 10)
    assert set(hits.row(0)[0]) == {1, 3}


def test_no_queries(kind: str, tmp_path: Path) -> None:
    """An empty batch has an empty answer."""
    index = build(kind, ["wind"], tmp_path / "index")
    assert len(search(index, kind, [], 5)) == 0


def test_duplicate_ids_are_refused(kind: str, tmp_path: Path) -> None:
    """The message names the second of them, and nothing is left on disk."""
    documents = [Document(id="same", text="wind"), Document(id="same", text="sky")]
    dense = CountingEncoder() if kind == "dense" else None
    with pytest.raises(CorpusError, match="documents:2: duplicate id 'same'"):
        Index.build(documents, tmp_path / "index", lexical=LEXICAL[kind], dense=dense)
    assert not (tmp_path / "index").exists()


def test_an_opened_index_answers_as_the_one_that_was_built(kind: str, tmp_path: Path) -> None:
    """Save, open, search."""
    contents = ["wind sky", "storm", "sky sky night", "aurora wind"]
    built = build(kind, contents, tmp_path / "index")
    opened = Index.open(tmp_path / "index")
    queries = ["wind", "sky night", "aurora storm"]
    assert_same(search(built, kind, queries, 3), search(opened, kind, queries, 3))


def test_threads_and_batches_change_nothing(kind: str, tmp_path: Path) -> None:
    """One query at a time, all at once, with several threads, and from several threads: the same hits."""
    rng = np.random.default_rng(7)
    contents = [" ".join(rng.choice(WORDS, size=rng.integers(1, 9))) for _ in range(400)]
    queries = [" ".join(rng.choice(WORDS, size=3)) for _ in range(150)]
    index = build(kind, contents, tmp_path / "index")
    together = search(index, kind, queries, 20)
    assert_same(together, search(index, kind, queries, 20, threads=4))
    with ThreadPoolExecutor(4) as pool:
        singles = list(pool.map(lambda query: search(index, kind, [query], 20), queries))
    for i, single in enumerate(singles):
        np.testing.assert_array_equal(single.ordinals[0], together.ordinals[i])
        np.testing.assert_array_equal(single.scores[0], together.scores[i])


def test_a_smaller_k_is_a_prefix_of_a_larger_one(kind: str, tmp_path: Path) -> None:
    """The best of the best."""
    rng = np.random.default_rng(3)
    contents = [" ".join(rng.choice(WORDS, size=4)) for _ in range(100)]
    index = build(kind, contents, tmp_path / "index")
    many, few = search(index, kind, ["wind sky"], 50), search(index, kind, ["wind sky"], 5)
    assert many.ordinals[0, :5].tolist() == few.ordinals[0].tolist()


@given(
    contents=st.lists(texts, max_size=30),
    query=texts,
    k=st.integers(0, 12),
    share=st.sampled_from([0.0, 0.03, 0.3, 0.9, 1.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_allowed_documents_are_hits(
    kind: str, contents: list[str], query: str, k: int, share: float, seed: int, tmp_path: Path
) -> None:
    """They are all the hits without the filter that it allows, in the same order with the same scores, to k of them."""
    index = build(kind, contents, tmp_path / "index")
    allowed = np.random.default_rng(seed).random(len(contents)) < share
    everything = search(index, kind, [query], len(contents))
    ordinals, scores = everything.row(0)
    kept = allowed[ordinals]
    filtered = search(index, kind, [query], k, allowed=allowed)
    np.testing.assert_array_equal(filtered.row(0)[0], ordinals[kept][:k])
    np.testing.assert_array_equal(filtered.row(0)[1], scores[kept][:k])

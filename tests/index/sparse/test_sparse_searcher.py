"""Sparse search is the exact inner product, however weights are stored and whatever was done to the index."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from retrieval.errors import InputError
from retrieval.index.sparse.options import SparseOptions
from retrieval.indexing import Index
from retrieval.types import Document, Hits, SparseVectors
from retrieval.vectors import VectorFile, format_vectors

TOKENS = [f"t{number}" for number in range(60)]


def vectors(n: int, seed: int, kind: str = "float", sizes: tuple[int, int] = (0, 20)) -> SparseVectors:
    """Random vectors over TOKENS, some of them empty."""
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.permutation(len(TOKENS))[: rng.integers(*sizes)]) for _ in range(n)]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    whole = rng.integers(1, 200 if kind == "bytes" else 60_000, size=offsets[-1])
    weights = rng.gamma(1.0, size=offsets[-1]) + 0.01 if kind == "float" else whole
    return SparseVectors(TOKENS, offsets, np.concatenate(rows).astype(np.int32), weights.astype(np.float32))


def matrix(sparse: SparseVectors) -> csr_matrix:
    """The same in double precision."""
    return csr_matrix(
        (sparse.weights.astype(np.float64), sparse.columns, sparse.offsets), shape=(len(sparse), len(TOKENS))
    )


def part_of(sparse: SparseVectors, first: int, last: int) -> SparseVectors:
    """Some of the vectors."""
    offsets = sparse.offsets[first : last + 1]
    part = slice(offsets[0], offsets[-1])
    return SparseVectors(sparse.tokens, offsets - offsets[0], sparse.columns[part], sparse.weights[part])


def vector_file(folder: Path, ids: Sequence[str], sparse: SparseVectors) -> VectorFile:
    """The vectors of these documents in a file."""
    path = folder / f"{ids[0]}-{len(ids)}.jsonl"
    path.write_bytes(b"".join(format_vectors(ids, sparse)))
    return VectorFile(path)


def documents(n: int, first: int = 0) -> list[Document]:
    return [Document(id=f"d{number}", text=f"text {number}") for number in range(first, first + n)]


def build(folder: Path, sparse: SparseVectors, *, first: int = 0, name: str = "index", **options: object) -> Index:
    """An index of such vectors alone."""
    made = documents(len(sparse), first)
    return Index.build(
        made,
        folder / name,
        lexical=False,
        sparse=vector_file(folder, [one.id for one in made], sparse),
        sparse_options=SparseOptions(**options),  # type: ignore[arg-type]
    )


def search(index: Index, queries: SparseVectors, k: int, allowed: NDArray[np.bool_] | None = None) -> Hits:
    assert index.sparse
    return index.sparse.search(queries, k, 1, allowed)


@pytest.mark.parametrize("kind", ["float", "bytes", "words"])
@pytest.mark.parametrize("reorder", [False, True])
def test_hits_are_those_of_a_sparse_product(kind: str, reorder: bool, tmp_path: Path) -> None:
    """scipy's, for every k, with and without a filter."""
    sparse, queries = vectors(300, 1, kind), vectors(40, 2)
    index = build(tmp_path, sparse, reorder=reorder)
    products = (matrix(queries) @ matrix(sparse).T).toarray()
    even = np.arange(300) % 2 == 0
    for k in (1, 10, 1000):
        for allowed in (None, even):
            hits = search(index, queries, k, allowed)
            for query, (ordinals, scores) in enumerate(hits.rows()):
                expected = products[query] * (1 if allowed is None else allowed)
                count = min(k, int((expected > 0).sum()))
                assert len(ordinals) == count
                np.testing.assert_allclose(scores, np.sort(expected)[::-1][:count], rtol=1e-5)
                np.testing.assert_allclose(expected[ordinals], scores, rtol=1e-5)
    assert index.problems() == []


@pytest.mark.parametrize(("kind", "stored"), [("bytes", "u8"), ("words", "u16"), ("float", "exact")])
def test_exact_impacts_take_as_few_bytes_as_they_need(kind: str, stored: str, tmp_path: Path) -> None:
    """Whole numbers are stored in one or two bytes, and lose nothing."""
    part = build(tmp_path, vectors(50, 3, kind)).manifest.sparse
    assert part
    assert (part.impacts, part.stored, part.scale) == ("exact", stored, 1.0)


@pytest.mark.parametrize(("impacts", "tolerance"), [("u16", 1e-4), ("u8", 0.03)])
def test_impacts_in_steps(impacts: str, tolerance: float, tmp_path: Path) -> None:
    """Scores are near the exact ones, and no document that matches is lost."""
    sparse, queries = vectors(300, 1), vectors(40, 2)
    hits = search(build(tmp_path, sparse, impacts=impacts), queries, 300)
    products = (matrix(queries) @ matrix(sparse).T).toarray()
    for query, (ordinals, scores) in enumerate(hits.rows()):
        assert len(ordinals) == (products[query] > 0).sum()
        np.testing.assert_allclose(scores, products[query][ordinals], atol=tolerance * products.max())


@pytest.mark.parametrize("options", [{}, {"impacts": "u8", "scale": 0.05}, {"impacts": "u16", "scale": 0.0001}])
def test_a_changed_index_is_a_fresh_one(options: dict[str, object], tmp_path: Path) -> None:
    """After documents were added, replaced and deleted; in steps, where the fresh one has the same steps."""
    sparse, queries = vectors(120, 4), vectors(30, 5)
    later = part_of(sparse, 60, 120)
    fresh = build(tmp_path, later, first=60, name="fresh", **options)
    index = build(tmp_path, part_of(sparse, 0, 80), **options)
    new = documents(60, 60)
    index = index.add(new, replace=True, sparse=vector_file(tmp_path, [one.id for one in new], later))
    index = index.delete([f"d{number}" for number in range(60)])
    changed, built = search(index, queries, 60), search(fresh, queries, 60)
    np.testing.assert_array_equal(changed.counts, built.counts)
    np.testing.assert_array_equal(changed.scores, built.scores)
    for one, other in zip(changed.rows(), built.rows(), strict=True):
        assert index.documents.ids(one[0]) == fresh.documents.ids(other[0])


@pytest.mark.parametrize("engine", ["native", "seismic"])
@pytest.mark.parametrize("kind", ["bytes", "float"])
def test_approximate_search_finds_what_exact_search_finds(engine: str, kind: str, tmp_path: Path) -> None:
    """Nearly all of it, with exact scores; after changes too. Many hits, and exact search, are all of it."""
    if engine == "seismic":
        pytest.importorskip("seismic")
    sparse, queries = vectors(400, 1, kind, sizes=(0, 40)), vectors(60, 2, sizes=(1, 20))
    index = build(tmp_path, sparse, recall=0.95, engine=engine)
    part = index.manifest.sparse
    assert part
    assert part.tuned
    assert part.tuned.recall >= 0.9
    for changed in (index, index.delete([f"d{number}" for number in range(0, 400, 2)]).compact()):
        assert changed.problems() == []
        assert changed.sparse
        exact = changed.sparse.search(queries, 10, exact=True)
        found = changed.sparse.search(queries, 10)
        for one, other in zip(found.rows(), exact.rows(), strict=True):
            scores = dict(zip(other[0].tolist(), other[1].tolist(), strict=True))
            shared = [
                (scores[ordinal], score) for ordinal, score in zip(*map(list, one), strict=True) if ordinal in scores
            ]
            np.testing.assert_allclose([a for a, _ in shared], [b for _, b in shared], rtol=1e-5)
            assert np.all(np.diff(one[1]) <= 0)
        recall = np.mean(
            [np.isin(other[0], one[0]).mean() for one, other in zip(found.rows(), exact.rows(), strict=True)]
        )
        assert recall >= 0.85
        np.testing.assert_array_equal(
            changed.sparse.search(queries, 11).ordinals, changed.sparse.search(queries, 11, exact=True).ordinals
        )
        allowed = np.arange(changed.documents.rows) % 3 == 0
        filtered = changed.sparse.search(queries, 10, 1, allowed)
        assert all(allowed[ordinals].all() for ordinals, _ in filtered.rows())
        assert filtered.counts.tolist() == changed.sparse.search(queries, 10, 1, allowed, exact=True).counts.tolist()


@pytest.mark.parametrize("engine", ["native", "seismic"])
def test_an_index_without_vectors_has_nothing_to_search_approximately(engine: str, tmp_path: Path) -> None:
    """It is built, changed, verified and searched all the same."""
    if engine == "seismic":
        pytest.importorskip("seismic")
    index = build(tmp_path, vectors(3, 1, sizes=(0, 1)), recall=0.9, engine=engine)
    assert search(index, vectors(2, 2, sizes=(1, 5)), 5).counts.tolist() == [0, 0]
    assert index.problems() == []
    more = documents(4, 10)
    index = index.add(more, sparse=vector_file(tmp_path, [one.id for one in more], vectors(4, 3, sizes=(5, 9))))
    assert index.problems() == []
    assert search(index, SparseVectors.of([dict.fromkeys(TOKENS, 1.0)]), 5).counts.tolist() == [4]


def test_contributions_add_up_to_the_score(tmp_path: Path) -> None:
    """Of every hit, the largest first, and of tokens that the document has."""
    sparse, queries = vectors(50, 6), vectors(5, 7, sizes=(5, 20))
    index = build(tmp_path, sparse, reorder=True)
    assert index.sparse
    hits = search(index, queries, 50)
    for query, (ordinals, scores) in enumerate(hits.rows()):
        for ordinal, score in zip(ordinals.tolist(), scores.tolist(), strict=True):
            parts = index.sparse.contributions(queries.row(query), ordinal)
            assert sum(parts.values()) == pytest.approx(score, rel=1e-5)
            assert list(parts.values()) == sorted(parts.values(), reverse=True)
            assert set(parts) <= set(sparse.row(ordinal))


def test_unknown_tokens_and_empty_queries_find_nothing(tmp_path: Path) -> None:
    """And do not disturb the queries beside them."""
    sparse = vectors(50, 8)
    hits = search(build(tmp_path, sparse), SparseVectors.of([{"nobody": 2.0}, {}, {"t1": 1.0, "nobody": 1.0}]), 50)
    assert hits.counts.tolist() == [0, 0, (sparse.columns == 1).sum()]


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, 1e30])
def test_weights_must_be_finite_and_above_zero(weight: float, tmp_path: Path) -> None:
    """Of a query."""
    index = build(tmp_path, vectors(5, 9))
    with pytest.raises(InputError, match="above 0 and at most"):
        search(index, SparseVectors.of([{"t1": weight}]), 5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"impacts": "u9"}, "impacts must be one of"),
        ({"impacts": "u8", "scale": 0.0}, "scale must be a number above 0"),
        ({"scale": 1.0}, "exact impacts have no scale"),
        ({"engine": "psychic"}, "engine must be one of native, seismic"),
        ({"engine": "seismic"}, "Seismic searches approximately"),
        ({"recall": 0.0}, "recall must be above 0 and at most 1"),
        ({"recall": 1.5}, "recall must be above 0 and at most 1"),
        ({"recall": 0.9, "recall_at": 0}, "recall is measured at 1 hit or more"),
        ({"recall": 0.9, "reorder": True}, "an order of its own"),
    ],
)
def test_options_are_checked(options: dict[str, object], named: str) -> None:
    """Each by name."""
    with pytest.raises(InputError, match=named):
        SparseOptions(**options)  # type: ignore[arg-type]

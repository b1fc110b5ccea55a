"""The search of blocks equals its reference, and without pruning the exact search."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.index.kernels import blocks_reference
from retrieval.index.kernels.block_layout import Blocks, Pruning, Rows, WeightedQueries, new_block_scratch
from retrieval.index.kernels.blocks import search_blocks
from retrieval.index.kernels.layout import WINDOW
from retrieval.index.sparse.blocks import BlockOptions, build_blocks

EVERYTHING = Pruning(0.0, 1.0, 1 << 20, 1.0)
TYPES = (np.uint8, np.uint16, np.float32)
N_TERMS = 12

Results = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]


def rows_of(documents: list[dict[int, int]], dtype: Any, entries: Any = np.uint16) -> Rows:
    """Vectors as an index has them; weights of 16 bits and floats are other multiples."""
    factor = {np.uint8: 1, np.uint16: 200, np.float32: 0.37}[dtype]
    flat = [pair for document in documents for pair in sorted(document.items())]
    offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    terms = np.array([term for term, _ in flat], dtype=entries)
    return Rows(offsets, terms, (np.array([weight for _, weight in flat], dtype=np.float64) * factor).astype(dtype))


def laid_out(folder: Path, rows: Rows, options: BlockOptions | None = None, n_terms: int = N_TERMS) -> Blocks:
    """Blocks as an index of these vectors has them."""
    build_blocks(folder, rows, n_terms, options)
    names = ("offsets", "posting_offsets", "tops", "floors", "windows", "levels", "lasts", "ordinals")
    arrays = [np.load(folder / f"block_{name}.npy") for name in names]
    for array in (*arrays, *rows):
        array.flags.writeable = False  # as those of an index, so that the kernel is the one that users run
    return Blocks(*arrays, float(np.load(folder / "block_weight.npy")[0]))


def asked(queries: list[dict[int, float]], allowed: NDArray[np.bool_] | None = None, scale: float = 0.5) -> Any:
    """Queries as the kernel takes them."""
    return WeightedQueries(
        terms=np.array([term for query in queries for term in query], dtype=np.int64),
        weights=np.array([weight for query in queries for weight in query.values()], dtype=np.float32),
        offsets=np.cumsum([0, *map(len, queries)]).astype(np.int64),
        scale=np.float32(scale),
        allowed=np.zeros(0, dtype=bool) if allowed is None else allowed,
    )


def run(search: Any, blocks: Blocks, rows: Rows, queries: Any, pruning: Pruning, k: int) -> Results:
    """Ordinals, scores and counts; cells beyond the counts blanked."""
    n = len(queries.offsets) - 1
    ordinals, scores = np.full((n, k), -1, dtype=np.int64), np.full((n, k), -np.inf, dtype=np.float32)
    counts = np.zeros(n, dtype=np.int64)
    scratch = new_block_scratch(len(blocks.tops))
    search(blocks, rows, queries, pruning, scratch, ordinals, scores, counts)
    assert not scratch.sums.any()
    assert not scratch.weights.any()
    assert not scratch.present.any()
    return ordinals, scores, counts


def brute(rows: Rows, queries: Any, k: int) -> Results:
    """Every document's inner product, products added in float32 in ascending order of terms."""
    offsets, terms, values = rows
    n = len(queries.offsets) - 1
    ordinals, scores = np.full((n, k), -1, dtype=np.int64), np.full((n, k), -np.inf, dtype=np.float32)
    counts = np.zeros(n, dtype=np.int64)
    for query in range(n):
        weights = np.zeros(1 << 17, dtype=np.float32)
        part = slice(queries.offsets[query], queries.offsets[query + 1])
        np.add.at(weights, queries.terms[part], queries.weights[part])
        products = weights[terms] * values.astype(np.float32)
        ends = [products[first:stop].cumsum(dtype=np.float32) for first, stop in pairwise(offsets)]
        found = np.array([end[-1] if len(end) else 0 for end in ends], dtype=np.float32)
        if len(queries.allowed):
            found[~queries.allowed] = 0
        found = found * queries.scale
        best = np.lexsort((np.arange(len(found)), -found))[:k]
        best = best[found[best] > 0]
        counts[query] = len(best)
        ordinals[query, : len(best)], scores[query, : len(best)] = best, found[best]
    return ordinals, scores, counts


def assert_equal(ours: Results, expected: Results) -> None:
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rows, Any, int, Any]:
    """A few documents, some empty, with few distinct weights, so that ties are common; queries; k; options."""
    vector = st.dictionaries(st.integers(0, N_TERMS - 1), st.sampled_from([1, 2, 40, 41, 250]), max_size=8)
    documents = draw(st.lists(vector, min_size=1, max_size=25))
    query = st.dictionaries(st.integers(0, N_TERMS - 1), st.sampled_from([0.0, 0.5, 1.0, 3.25, 100.0]), max_size=6)
    queries = draw(st.lists(query, max_size=4))
    allowed = np.array(draw(st.lists(st.booleans(), min_size=len(documents), max_size=len(documents))))
    batch = asked(queries, allowed if draw(st.booleans()) else None)
    options = BlockOptions(levels=draw(st.sampled_from([1, 4, 255])), longest=draw(st.sampled_from([None, 1, 5])))
    return rows_of(documents, draw(st.sampled_from(TYPES))), batch, draw(st.integers(1, 30)), options


@settings(deadline=None, max_examples=60)
@given(cases())
def test_without_pruning_the_search_is_exact(tmp_path_factory: Any, case: Any) -> None:
    """It equals brute force to the bit, ties, filters, empty documents and queries included."""
    rows, queries, k, options = case
    blocks = laid_out(tmp_path_factory.mktemp("blocks"), rows, BlockOptions(levels=options.levels))
    assert_equal(run(search_blocks, blocks, rows, queries, EVERYTHING, k), brute(rows, queries, k))


@settings(deadline=None, max_examples=60)
@given(
    cases(),
    st.sampled_from([0.0, 0.2, 0.9]),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.8, 1.0]),
)
def test_the_kernel_equals_its_reference(
    tmp_path_factory: Any, case: Any, share: float, fill: float, depth: int, patience: float
) -> None:
    """With any pruning, of lists and of queries; and what it finds has its exact score and is allowed."""
    rows, queries, k, options = case
    blocks = laid_out(tmp_path_factory.mktemp("blocks"), rows, options)
    pruning = Pruning(share, fill, depth, patience)
    found = run(search_blocks, blocks, rows, queries, pruning, k)
    assert_equal(found, run(blocks_reference.search_blocks, blocks, rows, queries, pruning, k))
    every = brute(rows, queries, len(rows[0]))
    for query in range(len(found[2])):
        exact = dict(zip(every[0][query], every[1][query], strict=True))
        for ordinal, score in zip(found[0][query][: found[2][query]], found[1][query], strict=False):
            assert exact[ordinal] == score


@settings(deadline=None, max_examples=40)
@given(cases())
def test_levels_are_upper_bounds(tmp_path_factory: Any, case: Any) -> None:
    """A posting's level is at least its weight and less than a level above; what was left out is below all that is."""
    rows, _, _, options = case
    blocks = laid_out(tmp_path_factory.mktemp("blocks"), rows, options)
    offsets, terms, values = rows
    documents = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    weights = dict(zip(zip(terms.tolist(), documents.tolist(), strict=True), values.astype(np.float64), strict=True))
    posting = 0
    for term in range(N_TERMS):
        for block in range(blocks.block_offsets[term], blocks.block_offsets[term + 1]):
            for ordinal in blocks.postings[posting : posting + blocks.lasts[block] + 1]:
                weight, level = weights.pop((term, int(ordinal))), blocks.levels[block]
                assert (level - 1) * blocks.level_weight <= weight * (1 + 1e-6)
                assert weight <= level * blocks.level_weight * (1 + 1e-6)
            posting += int(blocks.lasts[block]) + 1
    for (term, _), weight in weights.items():
        assert weight <= blocks.floors[term] * blocks.level_weight * (1 + 1e-6)


@pytest.mark.parametrize(("dtype", "entries"), [(np.uint8, np.uint16), (np.float32, np.int32)])
def test_more_documents_than_a_window_holds(tmp_path: Path, dtype: Any, entries: Any) -> None:
    """Blocks of several windows are searched as one; small pruning finds nearly all, and a filter is respected."""
    rng, n = np.random.default_rng(5), 2 * WINDOW + 77
    sizes = rng.integers(0, 4, n)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    first = rng.integers(0, 6, n)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    terms = (np.repeat(first, sizes) + within * 2).astype(entries)
    rows = Rows(offsets, terms, rng.integers(1, 250, len(terms)).astype(dtype))
    blocks = laid_out(tmp_path, rows)
    queries = asked([{0: 3.0, 2: 1.5, 7: 2.25}, {11: 1.0}, {5: 1.0, 3: 7.0}])
    expected = brute(rows, queries, 20)
    assert expected[0].max() > WINDOW
    assert_equal(run(search_blocks, blocks, rows, queries, EVERYTHING, 20), expected)
    found = run(search_blocks, blocks, rows, queries, Pruning(0.3, 0.3, 2000, 0.0), 20)
    assert (found[1] >= expected[1][:, -1:]).mean() > 0.9
    allowed = rng.random(n) < 0.001
    some = queries._replace(allowed=allowed)
    assert_equal(run(search_blocks, blocks, rows, some, EVERYTHING, 20), brute(rows, some, 20))
    ordinals, _, counts = run(search_blocks, blocks, rows, some, Pruning(0.9, 0.3, 20, 0.9), 20)
    assert allowed[ordinals[ordinals >= 0]].all()
    np.testing.assert_array_equal(counts, brute(rows, some, 20)[2])


def test_a_repeated_term_counts_as_often_as_it_is_asked(tmp_path: Path) -> None:
    """Its weights are added up."""
    rows = rows_of([{0: 3, 1: 100}, {0: 50}], np.uint8)
    blocks = laid_out(tmp_path, rows)
    twice = asked([{0: 1.0}])._replace(
        terms=np.array([0, 1, 0]), weights=np.array([1, 0.5, 2], np.float32), offsets=np.array([0, 3])
    )
    assert_equal(
        run(search_blocks, blocks, rows, twice, EVERYTHING, 2),
        run(search_blocks, blocks, rows, asked([{0: 3, 1: 0.5}]), EVERYTHING, 2),
    )

"""The search kernel equals its reference, compiled or, with NUMBA_DISABLE_JIT=1, as Python."""

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.index.kernels import postings_reference
from retrieval.index.kernels.layout import WINDOW, Postings, Queries, new_scratch
from retrieval.index.kernels.postings import search_postings
from retrieval.index.postings.runs import RunsWriter

Results = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]

NAMES = ("starts", "run_starts", "run_windows", "run_lasts", "run_maxima", "run_buckets")
LATER = ("bucket_starts", "bucket_maxima", "ordinals", "impacts")


def laid_out(
    folder: Path, columns: list[NDArray], impacts: NDArray, n: int, stored: str, scale: float, *, reorder: bool
) -> Postings:
    """Postings as an index of n documents has them."""
    starts = np.cumsum([0, *map(len, columns)]).astype(np.int64)
    with RunsWriter(folder, n, stored, scale) as writer:
        writer.append(starts, np.concatenate(columns).astype(np.int32), impacts)
    order = np.random.default_rng(n).permutation(n if reorder else 0).astype(np.int32)
    arrays = (starts, *(np.load(folder / f"{name}.npy") for name in (*NAMES[1:], *LATER)), order)
    for array in arrays:
        array.flags.writeable = False  # as those of an index, so that the kernel is the one that users run
    return Postings(*arrays)


def run(search: Any, postings: Postings, queries: Queries, k: int) -> Results:
    """Ordinals, scores and counts; cells beyond the counts blanked."""
    n = len(queries.shifts)
    ordinals = np.full((n, k), -1, dtype=np.int64)
    scores = np.full((n, k), -np.inf, dtype=np.float32)
    counts = np.zeros(n, dtype=np.int64)
    scratch = new_scratch()
    search(postings, queries, scratch, ordinals, scores, counts)
    assert not scratch.sums.any()
    return ordinals, scores, counts


def assert_equal(ours: Results, expected: Results) -> None:
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[NDArray], NDArray, Queries, int, str]:
    """A few terms in up to three windows, with few distinct impacts, so that ties are common; queries; k."""
    place = st.tuples(st.integers(0, 2), st.integers(0, 30)).map(lambda pair: pair[0] * WINDOW + pair[1])
    columns = draw(st.lists(st.sets(place, min_size=1), min_size=1, max_size=6))
    n = max(map(max, columns)) + draw(st.integers(1, 10))
    size = sum(map(len, columns))
    impact = st.sampled_from([0.5, 1.0, 1.5, 0.1])
    impacts = np.array(draw(st.lists(impact, min_size=size, max_size=size)), dtype=np.float32)
    asked = draw(st.lists(st.lists(st.integers(0, len(columns) - 1), max_size=5), max_size=5))
    shift = st.sampled_from([0.0, 2.5])
    terms = np.array([term for query in asked for term in query], dtype=np.int64)
    weights = np.array([1.0, 1.0, 0.3, 2.5, 1e-4, 7.0], dtype=np.float32)  # a term's own, wherever it is asked for
    queries = Queries(
        terms=terms,
        weights=weights[terms] if draw(st.booleans()) else np.ones(len(terms), dtype=np.float32),
        offsets=np.cumsum([0, *map(len, asked)]).astype(np.int64),
        shifts=np.array(draw(st.lists(shift, min_size=len(asked), max_size=len(asked))), dtype=np.float32),
        scale=np.float32(draw(st.sampled_from([1.0, 0.25]))),
        n_documents=n,
        allowed=np.arange(n) % draw(st.integers(2, 4)) > 0 if draw(st.booleans()) else np.empty(0, dtype=bool),
    )
    ordered = [np.array(sorted(column)) for column in columns]
    return ordered, impacts, queries, draw(st.integers(1, 40)), draw(st.sampled_from(["exact", "u8", "u16"]))


@given(case=cases())
def test_the_kernel_equals_its_reference(
    case: tuple[list[NDArray], NDArray, Queries, int, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Ordinals, scores and counts agree to the bit, ties and cells beyond the counts included."""
    columns, impacts, queries, k, stored = case
    postings = laid_out(
        tmp_path_factory.mktemp("p"), columns, impacts, queries.n_documents, stored, 0.5, reorder=k % 2 == 0
    )
    assert_equal(
        run(search_postings, postings, queries, k), run(postings_reference.search_postings, postings, queries, k)
    )


@pytest.mark.parametrize("stored", ["exact", "u8"])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.001])
@pytest.mark.parametrize(("k", "reorder"), [(1, False), (10, False), (10, True), (100, True), (1000, False)])
def test_skipping_changes_nothing(k: int, reorder: bool, share: float, stored: str, tmp_path: Path) -> None:
    """Three windows and terms of every frequency, so that each way through the kernel is taken; filters; repeats."""
    rng = np.random.default_rng(k)
    n = 2 * WINDOW + 4321
    slow = 50 if numba.config.DISABLE_JIT else 1
    columns = [np.flatnonzero(rng.random(n) < rate / slow) for rate in (0.3, 0.2, 0.1, 0.02, 0.005, 1e-3, 1e-4, 3e-5)]
    columns = [column if len(column) else np.array([7]) for column in columns]
    weights = np.concatenate([np.full(len(column), np.log1p(n / len(column))) for column in columns])
    impacts = (weights * rng.choice([0.3, 0.35, 0.4, 0.6, 0.9], size=len(weights))).astype(np.float32)
    asked = [[0], [7], [0, 1], [0, 5], [6, 7], [0, 3, 6], [2, 1, 0, 4], [*range(8)], [3, 3, 0], [*range(8)] * 12, []]
    terms = np.array([term for query in asked for term in query], dtype=np.int64)
    queries = Queries(
        terms=terms,
        weights=np.ones(len(terms), dtype=np.float32) if k % 10 else rng.random(len(columns), dtype=np.float32)[terms],
        offsets=np.cumsum([0, *map(len, asked)]).astype(np.int64),
        shifts=np.linspace(0, 1e4, len(asked), dtype=np.float32),  # the largest of which make most scores equal
        scale=np.float32(1),
        n_documents=n,
        allowed=np.empty(0, dtype=bool) if share == 1 else rng.random(n) < share,
    )
    postings = laid_out(tmp_path, columns, impacts, n, stored, 0.05, reorder=reorder)
    assert_equal(
        run(search_postings, postings, queries, k), run(postings_reference.search_postings, postings, queries, k)
    )

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.index.kernels import postings_reference
from retrieval.index.kernels.postings import search_postings

Arrays = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[NDArray], int, NDArray, int]:
    """Postings of a few terms with few distinct impacts, so that ties are common; queries; n; a filter or none; k."""
    n = draw(st.integers(1, 30))
    columns = draw(st.lists(st.sets(st.integers(0, n - 1)), min_size=1, max_size=6))
    ordinals = np.array([ordinal for column in columns for ordinal in sorted(column)], dtype=np.int32)
    impact = st.sampled_from([0.5, 1.0, 1.5, 0.1])
    impacts = np.array(draw(st.lists(impact, min_size=len(ordinals), max_size=len(ordinals))), dtype=np.float32)
    starts = np.cumsum([0, *map(len, columns)]).astype(np.int64)
    queries = draw(st.lists(st.lists(st.integers(0, len(columns) - 1), max_size=5), max_size=5))
    terms = np.array([term for query in queries for term in query], dtype=np.int64)
    offsets = np.cumsum([0, *map(len, queries)]).astype(np.int64)
    shift = st.sampled_from([0.0, 2.5, 1e8])
    shifts = np.array(draw(st.lists(shift, min_size=len(queries), max_size=len(queries))), dtype=np.float32)
    allowed = np.array(draw(st.one_of(st.just([]), st.lists(st.booleans(), min_size=n, max_size=n))), dtype=bool)
    return [starts, ordinals, impacts, terms, offsets, shifts], n, allowed, draw(st.integers(1, n + 5))


def run(search: object, arrays: list[NDArray], n: int, allowed: NDArray, k: int) -> Arrays:
    """Ordinals, scores and counts; cells beyond the counts blanked."""
    queries = len(arrays[-1])
    ordinals = np.full((queries, k), -1, dtype=np.int64)
    scores = np.full((queries, k), -np.inf, dtype=np.float32)
    counts = np.zeros(queries, dtype=np.int64)
    search(*arrays, n, allowed, ordinals, scores, counts)  # type: ignore[operator]
    return ordinals, scores, counts


@given(cases())
def test_the_kernel_equals_its_reference(case: tuple[list[NDArray], int, NDArray, int]) -> None:
    """Ordinals, scores and counts agree to the bit, ties and cells beyond the counts included."""
    for ours, reference in zip(
        run(search_postings, *case), run(postings_reference.search_postings, *case), strict=True
    ):
        np.testing.assert_array_equal(ours, reference)


@given(cases())
def test_the_kernel_equals_its_own_source_uncompiled(case: tuple[list[NDArray], int, NDArray, int]) -> None:
    """What numba compiles means what Python says: nothing relies on wrap-around or fast math."""
    uncompiled = getattr(search_postings, "py_func", search_postings)
    for ours, python in zip(run(search_postings, *case), run(uncompiled, *case), strict=True):
        np.testing.assert_array_equal(ours, python)

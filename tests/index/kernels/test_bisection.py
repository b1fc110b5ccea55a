from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.index.kernels import bisection, bisection_reference
from retrieval.index.kernels.bisection import Run

LOGS = np.rint(np.log2(np.arange(1, 64)) * 512).astype(np.int16)
FILLER = 9


@st.composite
def runs(draw: st.DrawFn) -> tuple[Run, int, int, int]:
    """Documents of few terms amid those of other runs, so that ties are common; number of terms; middle; rounds."""
    n_terms = draw(st.integers(1, 6))
    texts = draw(st.lists(st.sets(st.integers(0, n_terms - 1)), min_size=2, max_size=30))
    lengths = np.array([len(text) for text in texts], dtype=np.int32)
    before = draw(st.integers(0, 3))
    terms = [FILLER] * before + [term for text in texts for term in sorted(text)] + [FILLER] * 2
    begins = before + np.cumsum(lengths, dtype=np.int64) - lengths
    documents = np.array(draw(st.permutations(range(len(texts)))), dtype=np.int32)
    run = Run(documents, begins, lengths, np.array(terms, dtype=draw(st.sampled_from([np.uint16, np.uint32]))))
    return run, n_terms, draw(st.integers(1, len(texts) - 1)), draw(st.integers(0, 5))


def split(bisect: Callable[..., Any], case: tuple[Run, int, int, int]) -> tuple[tuple[int, int], Run]:
    """The terms of either half, and what was written."""
    run, n_terms, middle, rounds = case
    out = Run(*(np.full_like(array, FILLER) for array in run))
    return bisect(run, n_terms, middle, LOGS, rounds, out), out


@given(runs())
def test_the_kernel_equals_its_reference(case: tuple[Run, int, int, int]) -> None:
    """Every array agrees, and what belongs to other runs stays as it was."""
    (ours, out), (theirs, expected) = split(bisection.bisect, case), split(bisection_reference.bisect, case)
    assert ours == theirs
    for array, reference in zip(out, expected, strict=True):
        np.testing.assert_array_equal(array, reference)


@given(runs())
def test_equal_documents_never_pass_one_another(case: tuple[Run, int, int, int]) -> None:
    """Whatever the rounds, and wherever the border falls among them."""
    run = case[0]
    places = np.argsort(split(bisection.bisect, case)[1].documents)[run.documents]
    texts = [tuple(run.terms[begin : begin + n]) for begin, n in zip(run.begins, run.lengths, strict=True)]
    for text in set(texts):
        assert np.all(np.diff(places[[other == text for other in texts]]) > 0)


def test_two_subjects_are_told_apart() -> None:
    """Documents of two vocabularies, mixed seven to three and three to seven, end in two halves of three terms each."""
    subjects = [0] * 7 + [1] * 3 + [0] * 3 + [1] * 7
    terms = np.array([3 * subject + term for subject in subjects for term in range(3)], dtype=np.uint16)
    lengths = np.full(20, 3, dtype=np.int32)
    run = Run(np.arange(20, dtype=np.int32), np.arange(0, 60, 3), lengths, terms)
    found, out = split(bisection.bisect, (run, 6, 10, 10))
    assert found == (3, 3)
    assert [subjects[document] for document in out.documents] == [0] * 10 + [1] * 10


@given(st.lists(st.integers(-(10**12), 10**12) | st.integers(-2, 2), min_size=1), st.data())
def test_selection_equals_sorting(values: list[int], data: st.DataObject) -> None:
    """The n-th smallest, with ties and over wide ranges."""
    n = data.draw(st.integers(0, len(values) - 1))
    assert bisection._nth(np.array(values, dtype=np.int64), n) == sorted(values)[n]


@st.composite
def postings(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], int]:
    """Postings of a few terms, some of these in some order, and the number of documents."""
    n = draw(st.integers(1, 20))
    columns = draw(st.lists(st.sets(st.integers(0, n - 1)), min_size=1, max_size=6))
    ordinals = np.array([ordinal for column in columns for ordinal in sorted(column)], dtype=np.int32)
    chosen = draw(st.permutations(range(len(columns))))[: draw(st.integers(0, len(columns)))]
    starts = np.cumsum([0, *map(len, columns)]).astype(np.int64)
    return starts, ordinals, np.array(chosen, dtype=np.int64), n


@given(postings())
@pytest.mark.parametrize("module", [bisection, bisection_reference])
def test_postings_become_documents(
    module: Any, case: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], int]
) -> None:
    """Each document has just the chosen terms that it stands under, in their order."""
    starts, ordinals, chosen, n = case
    lengths = np.zeros(n, dtype=np.int32)
    module.count_terms(starts, ordinals, chosen, lengths)
    ends = np.cumsum(lengths, dtype=np.int64) - lengths
    terms = np.empty(lengths.sum(), dtype=np.uint16)
    module.invert(starts, ordinals, chosen, ends, terms)
    for document, (end, length) in enumerate(zip(ends, lengths, strict=True)):
        held = [i for i, term in enumerate(chosen) if document in ordinals[starts[term] : starts[term + 1]]]
        assert terms[end - length : end].tolist() == held

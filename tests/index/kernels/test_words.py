from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.index.kernels import words, words_reference
from retrieval.index.lexical.words import small_letters

# Few letters, so that words come again: of one to four bytes, of which K and Ⱥ take fewer and more in lower case.
LETTERS = st.sampled_from("aAb_9éßσΩЖKȺ字𐐀 \0-́\ud800😀")
WORDS = st.text(LETTERS, max_size=6) | st.text("ab", min_size=7, max_size=25)
TEXTS = st.lists(st.lists(WORDS, max_size=8).map(" ".join) | st.text(st.characters()), max_size=6)


def table(slots: int, room: int) -> tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.uint8], NDArray[np.int64]]:
    """Slots, keys, pool and ends of an empty table."""
    return (
        np.full(slots, -1, dtype=np.int32),
        np.zeros(slots // 2, dtype=np.uint64),
        np.zeros(room, dtype=np.uint8),
        np.zeros(slots // 2 + 1, dtype=np.int64),
    )


def widened(
    slots: NDArray[np.int32], keys: NDArray[np.uint64], pool: NDArray[np.uint8], ends: NDArray[np.int64], n_words: int
) -> tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.uint8], NDArray[np.int64]]:
    """A table twice as wide with the same words."""
    wider = table(2 * len(slots), len(pool))
    wider[1][: len(keys)], wider[2][:], wider[3][: len(ends)] = keys, pool, ends
    words.rehash(wider[1], n_words, wider[0])
    return wider


def number(kernel: object, texts: list[str]) -> list[object]:
    """All that a kernel does to texts: where it stopped each time, and what it wrote; the table begins with 2 slots."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    starts = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    counts, offsets = np.zeros(3, dtype=np.int64), np.zeros(len(texts) + 1, dtype=np.int64)
    numbers = np.zeros(len(data) // 2, dtype=np.int32)
    state, document, stops = table(2, 4 * len(data)), 0, []
    while True:
        document = kernel(data, starts, document, small_letters(), *state, counts, numbers, offsets)  # type: ignore[operator]
        stops.append((document, *counts.tolist()))
        if document == len(texts):
            break
        state = widened(*state, counts[0])
    pool = state[2][: counts[1]].tobytes()
    return [stops, numbers[: counts[2]].tolist(), offsets.tolist(), pool, state[3][: counts[0] + 1].tolist()]


@given(TEXTS)
def test_words_are_numbered_as_the_reference_does(texts: list[str]) -> None:
    """Numbers, offsets and the words' bytes, and each place where the table was full."""
    assert number(words.number_words, texts) == number(words_reference.number_words, texts)


@given(TEXTS)
def test_the_kernel_equals_its_own_source_uncompiled(texts: list[str]) -> None:
    """What numba compiles means what Python says: nothing relies on wrap-around."""
    compiled = number(words.number_words, texts)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in vars(words).items():
            patch.setattr(words, name, getattr(value, "py_func", value))
        assert compiled == number(words.number_words, texts)


def test_words_with_one_key_are_told_apart() -> None:
    """Words of more than 8 bytes can share a key and a place in the table."""
    append = getattr(words._append, "py_func", words._append)

    def key(word: bytes) -> int:
        value = np.uint64(0)
        for byte in word:
            value = append(value, np.uint64(byte))
        return int(value) | 0xFF << 56

    # Keys are linear: a byte that is pushed out comes back in two places, where other letters can undo it.
    one, other = b"aaaaaaaaa", b"qaaaaaaaa"
    change = key(one) ^ key(other)
    undone = bytes(a ^ b for a, b in zip(other[1:], change.to_bytes(8, "big"), strict=True))
    other = other[:1] + undone
    assert one != other
    assert key(one) == key(other)
    texts = [one.decode("latin-1"), other.decode("latin-1"), one.decode("latin-1")]
    small = np.arange(0x110000, dtype=np.uint32)  # every character is a word's, so that any bytes are words
    data = np.frombuffer(b"".join(text.encode("latin-1") for text in texts), dtype=np.uint8)
    assert data.max() < 128
    counts, offsets, numbers = np.zeros(3, dtype=np.int64), np.zeros(4, dtype=np.int64), np.zeros(13, dtype=np.int32)
    starts = np.array([0, 9, 18, 27], dtype=np.int64)
    assert words.number_words(data, starts, 0, small, *table(8, 100), counts, numbers, offsets) == 3
    assert numbers[:3].tolist() == [0, 1, 0]


@st.composite
def terms_of_documents(draw: st.DrawFn) -> tuple[NDArray[np.int32], NDArray[np.int64], int]:
    """Term numbers of some documents, stop words among them."""
    n_terms = draw(st.integers(0, 5))
    documents = draw(st.lists(st.lists(st.integers(-1, n_terms - 1), max_size=12), max_size=8))
    numbers = np.array([term for document in documents for term in document], dtype=np.int32)
    return numbers, np.cumsum([0, *map(len, documents)]).astype(np.int64), n_terms


@given(terms_of_documents())
def test_postings_are_counted_as_the_reference_does(case: tuple[NDArray[np.int32], NDArray[np.int64], int]) -> None:
    """Starts, ordinals, frequencies and lengths, types included; terms and documents may be none."""
    for ours, reference in zip(words.count_postings(*case), words_reference.count_postings(*case), strict=True):
        assert ours.dtype == reference.dtype
        np.testing.assert_array_equal(ours, reference)


@given(terms_of_documents())
def test_every_term_of_every_document_is_counted(case: tuple[NDArray[np.int32], NDArray[np.int64], int]) -> None:
    """Held to counting by hand."""
    numbers, offsets, n_terms = case
    starts, ordinals, frequencies, lengths = words.count_postings(*case)
    documents = [numbers[start:stop].tolist() for start, stop in pairwise(offsets)]
    for term in range(n_terms):
        own = slice(starts[term], starts[term + 1])
        found = dict(zip(ordinals[own].tolist(), frequencies[own].tolist(), strict=True))
        assert found == {i: terms.count(term) for i, terms in enumerate(documents) if term in terms}
        assert ordinals[own].tolist() == sorted(found)
    assert lengths.tolist() == [sum(term >= 0 for term in terms) for terms in documents]

"""Splits UTF-8 into words and numbers them, and sorts the numbers of documents into postings.

A word is a run of two or more word characters; `small` says which these are and how they are in lower case, so that the
rule is Python's own. Words get their numbers in the order in which they are first met. No step relies on wrap-around,
so these kernels and their reference, `words_reference.py`, agree to the bit.
"""

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.compiling import kernel

__all__ = ["count_postings", "number_words", "rehash"]

# Unsigned, as a signed index is looked at twice: numba asks whether it counts from the end.
_0, _1, _2, _3 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)

# A word of so many bytes is its own key; the key of a longer one begins with a byte that no UTF-8 has.
_KEY_BYTES = np.uint64(8)
_LONG = np.uint64(0xFF << 56)

# Odd 32-bit multipliers, from xxHash: the product with half a key fits in 64 bits.
_PRIME_1, _PRIME_2 = np.uint64(2654435761), np.uint64(2246822519)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@kernel
def _append(key: np.uint64, byte: np.uint64) -> np.uint64:
    """The key of a word with one byte more; what is pushed out of it comes back in two places."""
    out = key >> np.uint64(56)
    return (key << np.uint64(8) | byte) ^ out ^ (out << np.uint64(29))


@kernel
def _slot(key: np.uint64, mask: np.uint64) -> np.uint64:
    """Where the search for a key begins."""
    return (((key & _LOW) * _PRIME_1 ^ (key >> _HALF) * _PRIME_2) >> _HALF) & mask


@kernel
def _decode(data: NDArray[np.uint8], i: np.uint64) -> tuple[np.int64, np.uint64]:
    """The code point that begins at a byte of 128 or more, and its width in bytes."""
    byte, second = np.int64(data[i]), np.int64(data[i + _1]) & 63
    if byte < 0xE0:
        return (byte & 31) << 6 | second, _2
    third = np.int64(data[i + _2]) & 63
    if byte < 0xF0:
        return (byte & 15) << 12 | second << 6 | third, _3
    return (byte & 7) << 18 | second << 12 | third << 6 | (np.int64(data[i + _3]) & 63), np.uint64(4)


@kernel
def _encode(point: np.int64, pool: NDArray[np.uint8], place: np.uint64) -> np.uint64:
    """Write a code point; its width in bytes."""
    last = 0x80 | point & 63
    if point < 0x80:
        pool[place] = point
        return _1
    if point < 0x800:
        pool[place], pool[place + _1] = 0xC0 | point >> 6, last
        return _2
    if point < 0x10000:
        pool[place], pool[place + _1], pool[place + _2] = 0xE0 | point >> 12, 0x80 | point >> 6 & 63, last
        return _3
    pool[place], pool[place + _1] = 0xF0 | point >> 18, 0x80 | point >> 12 & 63
    pool[place + _2], pool[place + _3] = 0x80 | point >> 6 & 63, last
    return np.uint64(4)


@kernel
def _copy_wide(
    data: NDArray[np.uint8], i: np.uint64, small: NDArray[np.uint32], pool: NDArray[np.uint8], place: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Copy a character of several bytes in lower case; bytes read and written, none if it is no word character."""
    point, width = _decode(data, i)
    letter = np.int64(small[point])
    return width, _0 if letter == 0 else _encode(letter, pool, place)


@kernel
def _same(pool: NDArray[np.uint8], one: np.uint64, other: np.uint64, size: np.uint64) -> bool:
    i = _0
    while i < size and pool[one + i] == pool[other + i]:
        i += _1
    return bool(i == size)


@kernel
def number_words(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    first: int,
    small: NDArray[np.uint32],
    slots: NDArray[np.int32],
    keys: NDArray[np.uint64],
    pool: NDArray[np.uint8],
    ends: NDArray[np.int64],
    counts: NDArray[np.int64],
    numbers: NDArray[np.int32],
    offsets: NDArray[np.int64],
) -> int:
    """Number the words of documents; the document in which the table was full, or how many documents there are.

    The caller then widens the table, and goes on with that document; the words that were met keep their numbers.

    Args:
        data: documents as valid UTF-8, where surrogates may stand.
        starts: (documents + 1,) where each begins.
        first: the document to begin with.
        small: (0x110000,) each code point in lower case, 0 for those that are no word characters.
        slots: (a power of two,) hash table of words' numbers, -1 where none is; at most half of it is used.
        keys: (half of the slots,) what words are compared by.
        pool: the bytes of all words, one after the other, and behind them room for twice the bytes of data.
        ends: (half of the slots + 1,) where each word ends in the pool, behind a 0.
        counts: (3,) words, their bytes, and numbers written.
        numbers: words of the documents, one document after the other; room for half of the bytes of data.
        offsets: (documents + 1,) where each document's numbers begin; the first is 0.
    """
    n_words, end, n_numbers = counts[0], np.uint64(counts[1]), np.uint64(counts[2])
    mask, most = np.uint64(len(slots) - 1), len(slots) // 2
    for document in range(first, len(starts) - 1):
        i, stop = np.uint64(starts[document]), np.uint64(starts[document + 1])
        while i < stop:
            # The word stands behind the pool until it turns out to be a new one.
            key, place, surplus = _0, end, _0
            while i < stop:
                byte = data[i]
                if byte < 128:
                    i += _1
                    letter = small[byte]
                    if letter == 0:
                        break
                    pool[place] = letter
                    place += _1
                    key = _append(key, np.uint64(letter))
                else:
                    read, written = _copy_wide(data, i, small, pool, place)
                    i += read
                    if written == 0:
                        break
                    surplus += written - _1
                    for _ in range(written):
                        key = _append(key, np.uint64(pool[place]))
                        place += _1
            size = place - end
            if size < _2 + surplus:
                continue
            if size > _KEY_BYTES:
                key |= _LONG
            slot = _slot(key, mask)
            while True:
                number = slots[slot]
                if number < 0:
                    if n_words == most:
                        counts[0], counts[1], counts[2] = n_words, end, offsets[document]
                        return document
                    slots[slot] = number = n_words
                    keys[number] = key
                    n_words += 1
                    ends[n_words] = end = place
                    break
                if keys[number] == key:
                    if size <= _KEY_BYTES:
                        break
                    begin = np.uint64(ends[number])
                    if np.uint64(ends[number + 1]) - begin == size and _same(pool, begin, end, size):
                        break
                slot = (slot + _1) & mask
            numbers[n_numbers] = number
            n_numbers += _1
        offsets[document + 1] = n_numbers
    counts[0], counts[1], counts[2] = n_words, end, n_numbers
    return len(starts) - 1


@kernel
def rehash(keys: NDArray[np.uint64], n_words: int, slots: NDArray[np.int32]) -> None:
    """Put the first words into a hash table, which is all -1."""
    mask = np.uint64(len(slots) - 1)
    for number in range(n_words):
        slot = _slot(keys[number], mask)
        while slots[slot] >= 0:
            slot = (slot + _1) & mask
        slots[slot] = number


@kernel
def count_postings(
    terms: NDArray[np.int32], offsets: NDArray[np.int64], n_terms: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Each term's documents and how often it stands in them, by counting sort.

    Args:
        terms: of the documents, one document after the other; -1 is none.
        offsets: (documents + 1,) where each document begins.
        n_terms: terms are below it.

    Returns:
        (terms + 1,) int64 where each term's postings begin; (postings,) int32 documents, ascending within a term;
        (postings,) int32 frequencies; (documents,) int32 how many terms each has.
    """
    n_documents = len(offsets) - 1
    starts = np.zeros(n_terms + 1, dtype=np.int64)
    lengths = np.zeros(n_documents, dtype=np.int32)
    last = np.full(n_terms, -1, dtype=np.int32)
    for document in range(n_documents):
        length = 0
        for i in range(offsets[document], offsets[document + 1]):
            term = terms[i]
            if term >= 0:
                length += 1
                if last[term] != document:
                    last[term] = document
                    starts[term + 1] += 1
        lengths[document] = length
    for term in range(n_terms):
        starts[term + 1] += starts[term]
    ordinals = np.empty(starts[n_terms], dtype=np.int32)
    frequencies = np.empty(starts[n_terms], dtype=np.int32)
    ends = starts[:n_terms].copy()
    last[:] = -1
    for document in range(n_documents):
        for i in range(offsets[document], offsets[document + 1]):
            term = terms[i]
            if term < 0:
                continue
            if last[term] == document:
                frequencies[ends[term] - 1] += 1
            else:
                last[term] = document
                ordinals[ends[term]] = document
                frequencies[ends[term]] = 1
                ends[term] += 1
    return starts, ordinals, frequencies, lengths

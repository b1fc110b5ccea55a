"""Exact top-k over eager postings, window by window, passing over what cannot be among the best.

A query's terms stand in descending order of their largest impacts, each times the term's weight in the query, and a
document's score is the sum of its impacts times those weights, in float32 and in that order, whichever way it is
computed; so this kernel and its reference, `postings_reference.py`, agree to the bit.

In each window, terms whose largest impacts together cannot lift a document to the k best are not needed to find
candidates (Turtle and Flood's MaxScore, 1995, with the maxima of windows). The impacts of the others are added up;
documents that can still be among the best are candidates, and each further term is looked up for those alone, or,
where there are many of them, added up as well. How good the k best are at least is first told by the maxima of the
terms' runs and buckets, each of a document of its own; under a filter, or with one window, by the first window's sums.
"""

import numpy as np
from numpy.typing import NDArray

from retrieval.index.kernels.compiling import kernel
from retrieval.index.kernels.layout import BUCKETS, WINDOW, WINDOW_BITS, Postings, Queries, Scratch
from retrieval.index.kernels.lookups import add_term
from retrieval.index.kernels.topk import floor_of_values, key_of, order_ties, ordinal_of, select, sort_descending

__all__ = ["search_postings"]

# Of documents per posting: from here on it is faster to look at every sum of a window than at those touched.
_SPARSE = 8
# With few hits wanted, the k-th largest of the maxima of this many groups of documents is a good floor.
_GROUPS = 256
_FEW = 32
# Up to so many terms insertion is the fastest way to sort them.
_MANY_TERMS = 64
# Room for hits between two selections of the best k.
_ROOM = 32
_LANES = 64

_EPSILON = 2.0**-23


@kernel
def search_postings(
    postings: Postings,
    queries: Queries,
    scratch: Scratch,
    out_ordinals: NDArray[np.int64],
    out_scores: NDArray[np.float32],
    out_counts: NDArray[np.int64],
) -> None:
    """Write the best k documents of each query into the out arrays, where k is their width, at least 1.

    A document matches a query if it holds one of its terms. Order: score descending, then ordinal ascending; which are
    the best is decided before the shift is added, whose rounding can make scores equal.

    Args:
        postings: the index.
        queries: what is asked.
        scratch: of this thread.
        out_ordinals: (n, k).
        out_scores: (n, k).
        out_counts: (n,) hits found.
    """
    k = out_ordinals.shape[1]
    keys, spare = np.empty(2 * k + _ROOM, dtype=np.uint64), np.empty(2 * k + _ROOM, dtype=np.uint64)
    bits = np.empty(k, dtype=np.uint32)
    scores = bits.view(np.float32)
    for query in range(len(queries.offsets) - 1):
        part = slice(queries.offsets[query], queries.offsets[query + 1])
        terms, weights = _by_impact(postings, queries.terms[part], queries.weights[part])
        size = _search_one(postings, terms, weights, queries, scratch, keys, k)
        best = sort_descending(keys, size, spare)
        size = min(size, k)
        for i in range(size):
            bits[i] = np.uint32(best[i] >> np.uint64(32))
            out_ordinals[query, i] = ordinal_of(best[i])
        for i in range(size):
            out_scores[query, i] = scores[i] * queries.scale + queries.shifts[query]
        order_ties(out_scores[query, :size], out_ordinals[query, :size])
        out_counts[query] = size


@kernel
def _by_impact(
    postings: Postings, terms: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The terms, and their weights, in descending order of what they can add at most, then in ascending order."""
    largest = np.empty(len(terms), dtype=np.float32)
    for i in range(len(terms)):
        first, stop = postings.run_starts[terms[i]], postings.run_starts[terms[i] + 1]
        largest[i] = postings.maxima[first:stop].max() * weights[i]
    if len(terms) > _MANY_TERMS:
        by_number = np.argsort(terms, kind="mergesort")
        order = by_number[np.argsort(-largest[by_number], kind="mergesort")]
        return terms[order], weights[order]
    ordered, theirs = terms.copy(), weights.copy()
    for i in range(1, len(ordered)):
        term, weight, best, j = ordered[i], theirs[i], largest[i], i
        while j > 0 and (largest[j - 1] < best or (largest[j - 1] == best and ordered[j - 1] > term)):
            largest[j], ordered[j], theirs[j] = largest[j - 1], ordered[j - 1], theirs[j - 1]
            j -= 1
        largest[j], ordered[j], theirs[j] = best, term, weight
    return ordered, theirs


@kernel
def _search_one(
    postings: Postings,
    terms: NDArray[np.int64],
    weights: NDArray[np.float32],
    queries: Queries,
    scratch: Scratch,
    keys: NDArray[np.uint64],
    k: int,
) -> int:
    """Put documents into the front of `keys`, the best k and perhaps others, in any order; how many they are."""
    n = len(terms)
    begin, end = postings.starts[terms], postings.starts[terms]
    run, rest = np.empty(n, dtype=np.int64), np.zeros(n + 1, dtype=np.float64)
    for i in range(n):
        run[i] = np.int64(postings.run_starts[terms[i]]) - 1
    last = (queries.n_documents - 1) >> WINDOW_BITS
    floor = _floor_of_terms(postings, terms, weights, scratch, k) if last > 0 and len(queries.allowed) == 0 else 0.0
    size, limit = 0, _key_below(floor)
    for window in range(last + 1):
        _enter(postings, terms, weights, window, run, begin, end, rest)
        # Sums are rounded and bounds are not; what is within the rounding of the floor is looked at.
        slack = floor * (n + 2) * _EPSILON
        if rest[0] <= floor - slack:
            continue
        needed = n
        while rest[needed - 1] < floor - slack:
            needed -= 1
        found = _candidates(
            postings,
            queries,
            scratch,
            weights[:needed],
            begin[:needed],
            end[:needed],
            window,
            k,
            floor - rest[needed] - slack,
        )
        if floor == 0 and found > len(keys):
            floor = floor_of_values(scratch.values, found, k, rest[0])
            limit = _key_below(floor)
        for i in range(needed, n):
            if begin[i] < end[i] and found > 0:
                need = floor - rest[i + 1] - slack
                found = add_term(postings, scratch, found, weights[i], run[i], begin[i], end[i], need)
        size, limit = _offer(postings, scratch, found, window << WINDOW_BITS, keys, size, limit, k)
        if size >= k and floor == 0 and window < last:
            size, limit = _cut(keys, size, k)
        floor = max(floor, _score_of(limit))
    return size


@kernel
def _floor_of_terms(
    postings: Postings, terms: NDArray[np.int64], weights: NDArray[np.float32], scratch: Scratch, k: int
) -> float:
    """A score that at least k documents reach by one of the terms alone, as the maxima of its runs and buckets say."""
    floor = 0.0
    for term, weight in zip(terms, weights):  # noqa: B905 - which numba does not know otherwise
        first, stop = postings.run_starts[term], postings.run_starts[term + 1]
        found = 0
        for run in range(first, stop):
            if found + BUCKETS > WINDOW:
                break  # no more room, and enough said
            row, largest = postings.buckets[run], postings.maxima[run] * weight
            # The maxima of runs say nearly as much where there are enough of them.
            if row < 0 or k <= stop - first:
                scratch.values[found] = largest
                found += 1
            else:
                for bucket in range(BUCKETS):
                    # Maxima of buckets were rounded up.
                    scratch.values[found] = largest * max(np.int64(postings.bucket_maxima[row, bucket]) - 1, 0) / 255
                    found += 1
        if found >= k:
            floor = max(floor, floor_of_values(scratch.values, found, k, postings.maxima[first:stop].max() * weight))
    return floor


@kernel
def _enter(
    postings: Postings,
    terms: NDArray[np.int64],
    weights: NDArray[np.float32],
    window: int,
    run: NDArray[np.int64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    rest: NDArray[np.float64],
) -> None:
    """Go on to each term's run in this window, which may be empty; `rest[i]` is the most that terms i, ... can add."""
    for i in range(len(terms) - 1, -1, -1):
        begin[i], rest[i] = end[i], rest[i + 1]
        following = run[i] + 1
        if following < postings.run_starts[terms[i] + 1] and postings.windows[following] == window:
            run[i] = following
            end[i] = begin[i] + np.int64(postings.lasts[following]) + 1
            rest[i] += np.float64(postings.maxima[following]) * weights[i]


@kernel
def _candidates(
    postings: Postings,
    queries: Queries,
    scratch: Scratch,
    weights: NDArray[np.float32],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    window: int,
    k: int,
    need: float,
) -> int:
    """Find the documents to which some terms' postings give more than `need`; how many they are."""
    first = window << WINDOW_BITS
    allowed = queries.allowed[first : first + WINDOW]
    if len(begin) == 1:
        return _of_one_term(postings, allowed, scratch, weights[0], begin[0], end[0], need)
    touched = (end - begin).sum()
    for i in range(len(begin)):
        weight = weights[i]
        for posting in range(begin[i], end[i]):
            scratch.sums[postings.ordinals[posting]] += weight * np.float32(postings.impacts[posting])
    n_documents = min(WINDOW, queries.n_documents - first)
    if touched * _SPARSE < n_documents:
        return _of_touched(postings, allowed, scratch, begin, end, need)
    sums = scratch.sums[: (n_documents + _LANES - 1) // _LANES * _LANES]
    for i in range(len(allowed)):
        sums[i] *= allowed[i]
    if need == 0 and k <= _FEW:
        need = _floor_of_groups(sums, k)
    return _of_all(sums, scratch, need)


@kernel
def _of_one_term(
    postings: Postings,
    allowed: NDArray[np.bool_],
    scratch: Scratch,
    weight: np.float32,
    begin: int,
    end: int,
    need: float,
) -> int:
    least, found = np.float32(need), 0
    for posting in range(begin, end):
        ordinal, value = postings.ordinals[posting], weight * np.float32(postings.impacts[posting])
        scratch.candidates[found], scratch.values[found] = ordinal, value
        found += int(value > least and (len(allowed) == 0 or allowed[ordinal]))
    return found


@kernel
def _of_touched(
    postings: Postings,
    allowed: NDArray[np.bool_],
    scratch: Scratch,
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    need: float,
) -> int:
    """Those of few documents; each sum is set back as it is read, so that a document is found once."""
    least, found = np.float32(need), 0
    for i in range(len(begin)):
        for posting in range(begin[i], end[i]):
            ordinal = postings.ordinals[posting]
            value = scratch.sums[ordinal]
            scratch.sums[ordinal] = 0
            scratch.candidates[found], scratch.values[found] = ordinal, value
            found += int(value > least and (len(allowed) == 0 or allowed[ordinal]))
    return found


@kernel
def _of_all(sums: NDArray[np.float32], scratch: Scratch, need: float) -> int:
    """Those of a window in which most documents are touched."""
    least, found = np.float32(need), 0
    for start in range(0, len(sums), _LANES):
        lanes = sums[start : start + _LANES]
        above = 0
        for i in range(_LANES):
            above += lanes[i] > least
        if above:
            for i in range(_LANES):
                scratch.candidates[found], scratch.values[found] = start + i, lanes[i]
                found += lanes[i] > least
        lanes[:] = 0
    return found


@kernel
def _floor_of_groups(sums: NDArray[np.float32], k: int) -> float:
    """A value just below one that at least k sums reach: the k-th largest of the maxima of groups of documents."""
    # The bits of floats above zero ascend with them, and integers are compared many at a time.
    maxima, bits = np.zeros(_GROUPS, dtype=np.int32), sums.view(np.int32)
    for start in range(0, len(bits) - _GROUPS + 1, _GROUPS):
        row = bits[start : start + _GROUPS]
        for i in range(_GROUPS):
            maxima[i] = max(maxima[i], row[i])
    select(maxima, _GROUPS, k)
    return np.float64(maxima[:k].view(np.float32).min()) * (1 - _EPSILON)


@kernel
def _offer(
    postings: Postings,
    scratch: Scratch,
    found: int,
    first: int,
    keys: NDArray[np.uint64],
    size: int,
    limit: np.uint64,
    k: int,
) -> tuple[int, np.uint64]:
    """Keep the candidates whose keys are above the limit; how many keys there are, and the new limit."""
    bits = scratch.values.view(np.uint32)
    for i in range(found):
        place = first + scratch.candidates[i]
        key = key_of(bits[i], postings.order[place] if len(postings.order) else place)
        if key > limit:
            keys[size] = key
            size += 1
            if size == len(keys):
                size, limit = _cut(keys, size, k)
    return size, limit


@kernel
def _cut(keys: NDArray[np.uint64], size: int, k: int) -> tuple[int, np.uint64]:
    """Leave the k best; how many there are, and the worst of them where they are k."""
    if size > k:
        select(keys, size, k)
        size = k
    return size, (keys[:k].min() if size == k else np.uint64(0))


@kernel
def _score_of(key: np.uint64) -> float:
    """The score in a key."""
    bits = np.array([key >> np.uint64(32)]).astype(np.uint32)
    return np.float64(bits.view(np.float32)[0])


@kernel
def _key_below(score: float) -> np.uint64:
    """A key that every hit of at least this score is above."""
    bits = np.array([score]).astype(np.float32).view(np.uint32)
    return np.uint64(bits[0]) << np.uint64(32)

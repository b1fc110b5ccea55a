"""The kinds of index by name: what FAISS makes each of, what it takes, and which one suits a goal."""

from collections.abc import Callable
from dataclasses import dataclass

from retrieval.errors import InputError
from retrieval.index.dense.options import AUTO, FLAT, DenseOptions

__all__ = ["CAGRA", "KINDS", "Kind", "candidates", "check_kind", "check_memory", "kind_of", "names"]

# Below so many vectors a segment is searched exactly: nothing is faster, and there is too little to learn from.
_FEWEST = 1_000

VECTORS_PER_HIT = 10
"""So many times as many vectors as hits make looking for them approximately worth while."""

# `auto` searches fewer exactly: a few milliseconds of one core.
_EXACT = 20_000


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of index.

    Attributes:
        factory: FAISS' string for n vectors of d dimensions.
        bytes_per_vector: of d dimensions, in memory while it is searched, as far as it can be told beforehand.
    """

    factory: Callable[[int, int], str]
    bytes_per_vector: Callable[[int], float]


def _lists(n: int) -> int:
    """Inverted lists for n vectors: about four times their square root, of 39 vectors at least each."""
    return max(1, min(1 << round((16 * n).bit_length() / 2), n // 39))


def _codes(d: int) -> str:
    """Four bits for each pair of dimensions, where they come in pairs."""
    return f"PQ{d // 2 if d % 2 == 0 else d}x4fs"


_HNSW_LINKS = 32

CAGRA = "cagra"
"""The kind that takes a GPU to build."""

KINDS = {
    # The graph alone is stored: its vectors are those of the segment, where they are.
    "hnsw": Kind(
        factory=lambda n, d: f"HNSW{_HNSW_LINKS},Flat", bytes_per_vector=lambda d: 4 * d + 8 * _HNSW_LINKS + 16
    ),
    "ivf": Kind(factory=lambda n, d: f"IVF{_lists(n)},Flat", bytes_per_vector=lambda d: 4 * d + 8),
    "ivf-pq": Kind(
        factory=lambda n, d: f"IVF{_lists(n)},{_codes(d)}", bytes_per_vector=lambda d: d / (4 if d % 2 == 0 else 2) + 8
    ),
    "ivf-rabitq": Kind(factory=lambda n, d: f"IVF{_lists(n)},RaBitQfs", bytes_per_vector=lambda d: d / 8 + 24),
    "fp16": Kind(factory=lambda n, d: "SQfp16", bytes_per_vector=lambda d: 2 * d),
    "sq8": Kind(factory=lambda n, d: "SQ8", bytes_per_vector=lambda d: d),
    "binary": Kind(factory=lambda n, d: "LSH", bytes_per_vector=lambda d: d / 8),
}
"""All but `flat`. Codes that lose something propose documents, which are scored again from the stored vectors."""

# Built on a GPU, searched on either; without one it is made as hnsw.
KINDS[CAGRA] = KINDS["hnsw"]

# The fastest first, as benchmarks/dense.py had them.
_BY_SPEED = ("ivf-pq", "hnsw", "ivf-rabitq")


def names() -> list[str]:
    """What can be asked for by name."""
    return [AUTO, FLAT, *KINDS]


def check_kind(options: DenseOptions, dimensions: int) -> None:
    """An error for an index that FAISS cannot make of vectors of so many dimensions, before any is encoded."""
    if options.index in names():
        return
    from retrieval.index.dense.faiss_index import new_index

    try:
        new_index(options.index, dimensions)
    except RuntimeError as error:
        raise InputError(
            f"{options.index!r} is no index of {dimensions} dimensions: FAISS says {_reason(error)}",
            hint=f"one of {', '.join(names())}, or a factory string of FAISS",
        ) from error


def _reason(error: RuntimeError) -> str:
    """What FAISS says, without the place in its source."""
    return str(error).split(": ", 1)[-1].split("\n")[0]


def candidates(options: DenseOptions, n: int, dimensions: int) -> list[str]:
    """The kinds to try on n vectors, the first that reaches the recall to be taken; none where exact search is better.

    Where none fits the memory, as after additions, it is the smallest.
    """
    fewest = max(_EXACT if options.index == AUTO else _FEWEST, VECTORS_PER_HIT * options.recall_at)
    if options.index == FLAT or n < fewest:
        return []
    if options.index != AUTO:
        return [options.index]
    sizes = _sizes(n, dimensions)
    fitting = [name for name in _BY_SPEED if options.memory is None or sizes[name] <= options.memory]
    return fitting or [min(sizes, key=lambda name: sizes[name])]


def check_memory(options: DenseOptions, n: int, dimensions: int) -> None:
    """An error if no index of n vectors would fit the memory, before they are encoded."""
    for name in candidates(options, n, dimensions):
        size = _sizes(n, dimensions).get(name, 0)
        if options.memory is not None and size > options.memory:
            raise InputError(
                f"{n:,} vectors of {dimensions} dimensions do not fit into {options.memory:,} bytes: "
                f"the smallest index, {name}, takes about {size:,}",
                hint="allow more: --memory",
            )


def _sizes(n: int, dimensions: int) -> dict[str, int]:
    return {name: int(n * KINDS[name].bytes_per_vector(dimensions)) for name in _BY_SPEED}


def kind_of(name: str, n: int, dimensions: int) -> str:
    """FAISS' factory string of a kind for n vectors; a name that is none is such a string."""
    return KINDS[name].factory(n, dimensions) if name in KINDS else name

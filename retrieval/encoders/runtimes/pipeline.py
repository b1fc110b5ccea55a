"""Texts through a model, for every kind of encoder: sorted, tokenised beside the model, batched by tokens, in order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from retrieval.encoders.runtimes.batching import longest_first, padded, token_batches
from retrieval.streams import windows

__all__ = ["TOKENIZING", "Batching", "run_model", "tokenized_batches"]

TOKENIZING = Lock()
"""Held by whoever tokenises: how texts are cut and padded is a state of a tokenizer, which threads may share."""

Features = dict[str, Any]
"""What a tokenizer makes: tensors of (texts, length) by name, an attention mask among them, and whatever else."""

S = TypeVar("S")
T = TypeVar("T")
H = TypeVar("H")

# Texts tokenised at a time, in the order of their characters; within them they are sorted by tokens.
_TOKENIZED_AT_ONCE = 256
# Characters of a token, at least, in most texts: bounds what goes through the model whole.
_TOKEN_CHARACTERS = 4


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How many tokens go through a model together.

    Attributes:
        tokens: of a batch, padding included.
        multiple: what a batch's length is rounded up to, where there is that much padding.
        whole: whether texts come out of the tokenizer as one batch that cannot be taken apart, as without padding.
    """

    tokens: int
    multiple: int = 1
    whole: bool = False


def run_model(
    texts: Sequence[S],
    tokenize: Callable[[list[S]], Features],
    forward: Callable[[Features], H],
    fetch: Callable[[H], Sequence[T]],
    batching: Batching,
    on_batch: Callable[[int], None] = lambda done: None,
    *,
    length: Callable[[Any], int] = len,
) -> list[T]:
    """What the model makes of each text, in the order of the texts.

    The next texts are tokenised in a thread while the model works, one chunk ahead and no more. A batch is fetched
    after the next has been handed over, so that a device is never idle. Batches depend on the texts alone.

    Args:
        texts: in any order; or pairs of texts, or whatever else is tokenised.
        tokenize: some texts to features, on the CPU.
        forward: features to what may be still on its way.
        fetch: waits for that, and takes it apart by texts.
        batching: how much goes through the model together.
        on_batch: told how many more texts are done.
        length: characters of a text.

    Raises:
        Exception: whatever `tokenize`, `forward` or `fetch` raise.
    """
    results: list[T | None] = [None] * len(texts)

    def keep(places: list[int], handle: H) -> None:
        for place, result in zip(places, fetch(handle), strict=True):
            results[place] = result
        on_batch(len(places))

    pending: tuple[list[int], H] | None = None
    for places, features in tokenized_batches(texts, tokenize, batching, length):
        handle = forward(features)
        if pending:
            keep(*pending)
        pending = places, handle
    if pending:
        keep(*pending)
    return results  # type: ignore[return-value] # every place has been filled


def tokenized_batches(
    texts: Sequence[S], tokenize: Callable[[list[S]], Features], batching: Batching, length: Callable[[Any], int] = len
) -> Iterator[tuple[list[int], Features]]:
    """Places of texts and their features, batch by batch, the longest first; a thread tokenises one chunk ahead."""
    order = longest_first(texts, length)
    characters = _TOKEN_CHARACTERS * batching.tokens if batching.whole else sum(map(length, texts)) + 1
    chunks = list(windows(order, lambda place: length(texts[place]), _TOKENIZED_AT_ONCE, characters))

    def prepared(chunk: list[int]) -> list[tuple[list[int], Features]]:
        with TOKENIZING:
            found = tokenize([texts[place] for place in chunk])
        parts = _taken_apart(found, len(chunk), batching)
        return [([chunk[row] for row in rows], features) for rows, features in parts]

    if len(chunks) == 1:  # not worth a thread
        yield from prepared(chunks[0])
        return
    with ThreadPoolExecutor(1, thread_name_prefix="tokenize") as thread:
        coming = thread.submit(prepared, chunks[0]) if chunks else None
        for number in range(len(chunks)):
            assert coming
            batches = coming.result()
            coming = thread.submit(prepared, chunks[number + 1]) if number + 1 < len(chunks) else None
            yield from batches


def _taken_apart(features: Features, n: int, batching: Batching) -> Iterator[tuple[list[int], Features]]:
    """Rows and features of each batch; without an attention mask of (texts, length) all are one."""
    mask = features.get("attention_mask")
    if batching.whole or mask is None or mask.ndim != 2 or len(mask) != n:
        yield list(range(n)), features
        return
    lengths, from_left = _lengths(mask)
    width = mask.shape[1]
    for rows in token_batches(lengths, batching.tokens, batching.multiple):
        length = min(width, padded(max(1, lengths[rows[0]]), batching.multiple))
        kept = slice(0, length) if from_left else slice(width - length, width)
        yield rows, {name: _part(values, mask.shape, rows, kept) for name, values in features.items()}


def _part(values: Any, shape: Any, rows: list[int], kept: slice) -> Any:
    """Those rows and columns of a tensor of the mask's shape; those rows of one of its height; all of anything else."""
    sizes = tuple(getattr(values, "shape", ()))
    if sizes[:2] == tuple(shape):
        return values[rows, kept]
    return values[rows] if sizes[:1] == tuple(shape[:1]) and sizes else values


def _lengths(mask: Any) -> tuple[list[int], bool]:
    """Tokens of each text, and whether padding stands to the right; all of the width where it is on neither side."""
    width = mask.shape[1]
    if not width:
        return [0] * len(mask), True
    there = mask.bool()
    last = width - there.flip(1).int().argmax(1)
    first = there.int().argmax(1)
    empty = ~there.any(1)
    last[empty], first[empty] = 0, width
    if (first[~empty] == 0).all():
        return last.tolist(), True
    if (last[~empty] == width).all():
        return (width - first).tolist(), False
    return [width] * len(mask), True

"""The likeliest false negatives, for a person to read."""

import heapq
import math
from collections.abc import Mapping, Sequence

from retrieval.training.mining import Asked, Candidate

__all__ = ["Audit"]

_COLUMNS = (
    *("outcome", "query_id", "query", "positive_id", "positive", "document_id", "document"),
    *("source", "rank", "relative", "probability"),
)
_KEPT = frozenset({"kept", "fallback"})
_DROPPED = frozenset({"near-duplicate", "margin", "denoised", "pseudo-positive"})

# Rows of one query among the kept, and among the dropped.
_ROWS = 3

# Characters of a text that are shown.
_START = 300


class Audit:
    """Of all queries, the documents likeliest to be relevant that nobody judged: among those kept, and those dropped.

    First those with the highest probability by the cross-encoder; then those that it did not read, or all without one,
    by how near their score is to that of the query's best positive, on either side, discounted by rank as in nDCG: far
    above the positive, or deep in a list beside it, a document says that the search finds that positive badly.

    Args:
        count: how many of each kind.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._number = 0
        self._nearest: dict[bool, list[tuple[tuple[bool, float], int, str]]] = {True: [], False: []}

    def add(self, asked: Asked, candidates: Sequence[Candidate], texts: Mapping[str, str]) -> None:
        """Look at one query's candidates; of a document that several sources found, at the nearest."""
        nearest: dict[str, tuple[tuple[bool, float], Candidate]] = {}
        for candidate in candidates:
            key = _nearness(candidate)
            id_ = candidate.hit.id
            if key is None or candidate.outcome not in _KEPT | _DROPPED:
                continue
            if id_ not in nearest or key > nearest[id_][0]:
                nearest[id_] = key, candidate
        for kept in (True, False):
            of_kind = [pair for pair in nearest.values() if (pair[1].outcome in _KEPT) == kept]
            for key, candidate in heapq.nlargest(_ROWS, of_kind, key=lambda pair: pair[0]):
                self._add(self._nearest[kept], key, asked, candidate, texts)

    def _add(
        self,
        heap: list[tuple[tuple[bool, float], int, str]],
        key: tuple[bool, float],
        asked: Asked,
        candidate: Candidate,
        texts: Mapping[str, str],
    ) -> None:
        if self._count and (len(heap) < self._count or key > heap[0][0]):
            # Of equals the earlier stays; the number also keeps rows from being compared.
            self._number -= 1
            heapq.heappush(heap, (key, self._number, _row(asked, candidate, texts)))
            if len(heap) > self._count:
                heapq.heappop(heap)

    def content(self) -> str:
        """A table with tabs and a header: what was kept and then what was dropped, each with the nearest first."""
        rows = [row for kept in (True, False) for *_, row in sorted(self._nearest[kept], reverse=True)]
        return "".join(f"{row}\n" for row in ("\t".join(_COLUMNS), *rows))


def _nearness(candidate: Candidate) -> tuple[bool, float] | None:
    if candidate.probability is not None:
        return True, candidate.probability
    if candidate.relative is None:
        return None
    return False, 1 / (1 + abs(candidate.relative - 1)) / math.log2(1 + candidate.hit.rank)


def _row(asked: Asked, candidate: Candidate, texts: Mapping[str, str]) -> str:
    positive = candidate.best[0] if candidate.best else next(d for d, grade in asked.grades.items() if grade > 0)
    relative, probability = (
        "" if value is None else f"{value:.4f}" for value in (candidate.relative, candidate.probability)
    )
    document = candidate.hit.id
    fields = (
        *(candidate.outcome, asked.query.id, asked.query.text, positive, texts.get(positive, "")),
        *(document, texts[document], candidate.source, str(candidate.hit.rank), relative, probability),
    )
    return "\t".join(map(_shown, fields))


def _shown(text: str) -> str:
    """The start of a text, on one line and without what a terminal would obey."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * _START]).split())
    return line if len(line) <= _START else f"{line[:_START]}…"

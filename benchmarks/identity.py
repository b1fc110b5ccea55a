"""Whether two engines gave the same answers: the same documents with the same scores, except among equals."""

from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE = 1e-5
"""Of a score, relative to it where it is above 1."""

Row = tuple[Sequence[str], Sequence[float]]


@dataclass(frozen=True)
class Identity:
    """How many queries were answered alike, and of the first that was not, how.

    Attributes:
        queries: compared.
        differences: of each query that differs, its number and what differs.
    """

    queries: int
    differences: list[tuple[int, str]]

    @property
    def same(self) -> int:
        """Queries answered alike."""
        return self.queries - len(self.differences)


def compare(ours: Sequence[Row], theirs: Sequence[Row], k: int) -> Identity:
    """Compare the top k of each query; both must answer the same queries."""
    pairs = zip(ours, theirs, strict=True)
    found = [(number, difference(one, other, k)) for number, (one, other) in enumerate(pairs)]
    return Identity(len(found), [(number, what) for number, what in found if what])


def difference(ours: Row, theirs: Row, k: int) -> str:
    """What differs between two lists of one query's hits, best first; empty where nothing does.

    Ranks must have equal scores, and every document must be in both lists, with the same score. Only where both lists
    are cut at k may they differ: among the documents whose score is the last one, which ones are in is up to the order
    of ties.
    """
    (ids, scores), (their_ids, their_scores) = ours, theirs
    if len(ids) != len(their_ids):
        return f"{len(ids)} hits, theirs {len(their_ids)}"
    for rank, (one, other) in enumerate(zip(scores, their_scores, strict=True), 1):
        if not close(one, other):
            return f"score {one:.7g} at rank {rank}, theirs {other:.7g}"
    least = their_scores[-1] if len(ids) == k and k else None
    for mine, other, whose in ((ours, theirs, "ours"), (theirs, ours, "theirs")):
        there = dict(zip(*other, strict=True))
        for id_, score in zip(*mine, strict=True):
            if least is not None and close(score, least):
                continue
            if id_ not in there:
                return f"{id_} ({score:.7g}) only in {whose}"
            if not close(score, there[id_]):
                return f"{id_} has {score:.7g} in {whose}, {there[id_]:.7g} in the other"
    return ""


def close(one: float, other: float) -> bool:
    """Whether two scores are equal."""
    return abs(one - other) <= TOLERANCE * max(1.0, abs(other))

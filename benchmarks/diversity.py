"""Near-duplicates that are planted among candidates, and how a ranking that repeats itself is measured."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from math import log2

import numpy as np

Subtopics = Mapping[str, frozenset[str]]
"""Document → the sub-topics that it is relevant to."""


def alpha_ndcg(ranked: Sequence[str], about: Subtopics, *, k: int = 10, alpha: float = 0.5) -> float:
    """α-nDCG@k: of each document that says what was said before, a part alpha counts less each time.

    The ideal ranking is made greedily, as is usual. Source: Clarke et al., "Novelty and diversity in information
    retrieval evaluation" (SIGIR 2008).

    Args:
        ranked: document ids, best first.
        about: of all documents that are relevant; 0 where there are none.
        k: documents that are looked at.
        alpha: in 0..1.
    """
    best = _gain(_ideal(about, k, alpha), about, alpha)
    return _gain(ranked[:k], about, alpha) / best if best else 0.0


def _gain(ranked: Sequence[str], about: Subtopics, alpha: float) -> float:
    """With a discount by rank."""
    seen: Counter[str] = Counter()
    total = 0.0
    for rank, document in enumerate(ranked, 1):
        total += _novelty(about.get(document, frozenset()), seen, alpha) / log2(1 + rank)
        seen.update(about.get(document, ()))
    return total


def _novelty(subtopics: frozenset[str], seen: Mapping[str, int], alpha: float) -> float:
    return sum((1 - alpha) ** seen.get(one, 0) for one in subtopics)


def _ideal(about: Subtopics, k: int, alpha: float) -> list[str]:
    """At each rank the document that adds most; of equal ones the first."""
    left, seen, found = list(about), Counter[str](), list[str]()
    while left and len(found) < k:
        best = max(left, key=lambda document: _novelty(about[document], seen, alpha))
        found.append(best)
        left.remove(best)
        seen.update(about[best])
    return found


def edited(text: str, random: np.random.Generator, share: float) -> str:
    """The text with some of its words left out, exchanged with the next, or said twice; at least one of them.

    Args:
        text: of two different words at least, or it may come back as it is.
        random: what draws them.
        share: of the words.
    """
    words = text.split()
    for _ in range(max(1, round(share * len(words)))):
        if len(words) < 2:
            break
        place = int(random.integers(len(words) - 1))
        what = int(random.integers(3))
        pair = words[place : place + 2]
        words[place : place + 2] = [pair[1:], pair[::-1], [pair[0], *pair]][what]
    return " ".join(words)


def planted(ranked: Sequence[str], sources: Collection[str], *, copies: int) -> tuple[list[str], dict[str, str]]:
    """A ranking with copies behind some of its documents, by ids of their own; and of which document each copy is.

    Args:
        ranked: document ids, best first.
        sources: those among them that get copies.
        copies: of each.
    """
    made = {one: [f"{one}~{number}" for number in range(1, copies + 1)] for one in ranked if one in sources}
    return (
        [one for document in ranked for one in (document, *made.get(document, ()))],
        {copy: document for document, own in made.items() for copy in own},
    )

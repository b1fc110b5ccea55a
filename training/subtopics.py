"""What documents are about: judgements of the sub-topics of queries, as TREC's diversity tasks write them."""

from collections.abc import Mapping
from pathlib import Path

from retrieval.errors import CollectionError

__all__ = ["Subtopics", "read_subtopics"]

Subtopics = Mapping[str, Mapping[str, frozenset[str]]]
"""Query id → document id → the sub-topics that it is relevant to; one that is not there speaks for itself alone."""


def read_subtopics(path: Path) -> Subtopics:
    """Of lines `query subtopic document grade`, where a grade above 0 says that the document is relevant.

    Raises:
        CollectionError: the file cannot be read, or a line is not of that form; or no document is relevant.
    """
    found: dict[str, dict[str, frozenset[str]]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CollectionError(f"{path}: cannot be read as judgements of sub-topics ({error})") from error
    for position, line in enumerate(lines, 1):
        if line.strip():
            _add(found, line.split(), f"{path}:{position}")
    if not found:
        raise CollectionError(f"{path}: no document is relevant to any sub-topic")
    return found


def _add(found: dict[str, dict[str, frozenset[str]]], fields: list[str], place: str) -> None:
    try:
        query, subtopic, document, grade = fields
        is_relevant = int(grade) > 0
    except ValueError:
        raise CollectionError(
            f"{place}: expected query, sub-topic, document and grade; got {fields}",
            hint="as in qrels of TREC's diversity tasks",
        ) from None
    if is_relevant:
        own = found.setdefault(query, {})
        own[document] = own.get(document, frozenset()) | {subtopic}

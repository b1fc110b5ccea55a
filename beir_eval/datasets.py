"""Test collections in BEIR's layout: queries and judgements, checked before anything is run on them."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from retrieval.beir_eval.runs import is_word
from retrieval.beir_eval.wording import counted
from retrieval.corpus import read_queries
from retrieval.errors import CollectionError
from retrieval.types import Query

__all__ = [
    "Collection",
    "Fit",
    "Judgement",
    "check_fit",
    "collection_files",
    "judged_queries",
    "load_collection",
    "make_collection",
    "query_ids",
    "read_qrels",
]

# Up to nine digits, as trec_eval keeps grades in 32 bits.
_GRADE = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?")

_CORPUS = ("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst")
_QUERIES = ("queries.jsonl", "queries.jsonl.gz", "queries.jsonl.zst", "queries.tsv")

_HEADERS = ("query-id", "query_id", "qid")


@dataclass(frozen=True, slots=True)
class Judgement:
    """One line of a qrels file: a grade of 0 means judged and not relevant."""

    query: str
    document: str
    grade: int


@dataclass(frozen=True)
class Collection:
    """The judged queries of one split, and what was found wrong with them.

    Attributes:
        name: the folder's name.
        split: the qrels file's name.
        queries: in the order of the queries file, those with judgements only.
        qrels: query id → document id → grade.
        problems: what a reader of the figures should know, a sentence each.
    """

    name: str
    split: str
    queries: list[Query]
    qrels: Mapping[str, Mapping[str, int]]
    problems: list[str]


def load_collection(folder: str | Path, split: str = "test", *, on_error: str = "stop") -> Collection:
    """Queries and judgements of a folder in BEIR's layout: `queries.jsonl` and `qrels/<split>.tsv`.

    Raises:
        CollectionError: a file is not there or no table; or, unless `on_error` is "skip", a judged query is missing,
            a judgement has no whole number for a grade, or a pair is judged twice. All of them are named.
    """
    folder = Path(folder)
    path = _qrels_file(folder, split)
    problems: list[str] = []
    judgements = _judgements(path, problems)
    name = folder.resolve().name
    return make_collection(
        name, split, read_queries(_queries_file(folder)), judgements, str(path), problems=problems, on_error=on_error
    )


def make_collection(
    name: str,
    split: str,
    queries: Iterable[Query],
    judgements: Iterable[Judgement],
    source: str,
    *,
    problems: list[str],
    on_error: str = "stop",
) -> Collection:
    """Queries and judgements that have been read, once they fit together.

    Args:
        name: of the collection.
        split: of its judgements.
        queries: all there are.
        judgements: all there are.
        source: of the judgements, for errors.
        problems: what reading came upon; more is added to it, also while `judgements` are read.
        on_error: "stop" makes an error of them, "skip" leaves them out.

    Raises:
        CollectionError: see `load_collection`.
    """
    qrels = _collect(judgements, problems)
    queries = list(queries)
    known = {query.id for query in queries}
    if missing := [query for query in qrels if query not in known]:
        problems.append(f"{counted(len(missing), 'judged query')} not in the queries file: {_few(missing)}")
    if problems and on_error == "stop":
        raise CollectionError(
            f"{source}: " + "; ".join(problems), hint="mend the files, or leave these out with --on-error skip"
        )
    judged = [query for query in queries if query.id in qrels]
    if not judged:
        none = "none of its queries is in the queries file" if qrels else "holds no judgement"
        raise CollectionError(f"{source}: {none}")
    return Collection(
        name=name,
        split=split,
        queries=judged,
        qrels={query.id: qrels[query.id] for query in judged},
        problems=problems,
    )


def judged_queries(folder: Path, split: str) -> list[Query]:
    """The queries that a split judges; none where it is empty, or judges others than there are.

    Raises:
        CollectionError: a file is not there, or no table.
    """
    problems: list[str] = []
    qrels = _collect(_judgements(_qrels_file(folder, split), problems), problems)
    return [query for query in read_queries(_queries_file(folder)) if query.id in qrels]


def collection_files(folder: Path, split: str = "test") -> dict[str, Path]:
    """What a folder in BEIR's layout is read from, or would be: corpus, queries and judgements.

    The corpus is the folder where it has none of BEIR's files, and others hold its documents.
    """
    return {
        "corpus": _first(folder, _CORPUS) or folder,
        "queries": _first(folder, _QUERIES) or folder / _QUERIES[0],
        "judgements": folder / "qrels" / f"{split}.tsv",
    }


def query_ids(folder: str | Path) -> set[str]:
    """The ids of all queries of a folder in BEIR's layout, judged or not."""
    return {query.id for query in read_queries(_queries_file(Path(folder)))}


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Query id → document id → grade, of BEIR's three columns or TREC's four.

    Raises:
        CollectionError: the file is not there, is no table, or holds a judgement that cannot be used.
    """
    problems: list[str] = []
    try:
        qrels = _collect(_judgements(path, problems), problems)
    except OSError as error:
        raise CollectionError(f"{path}: cannot be read as judgements ({error})") from error
    if problems or not qrels:
        raise CollectionError(f"{path}: " + ("; ".join(problems) or "holds no judgement"))
    return qrels


@dataclass(frozen=True, slots=True)
class Fit:
    """How a collection and an index fit together.

    Attributes:
        unknown: judged documents that the index does not hold; nobody can find them, and they count all the same.
        own: queries that share their id with a document.
    """

    unknown: list[str]
    own: list[str]

    def notes(self, *, keep_self: bool) -> list[str]:
        """What a reader of the figures should know, a sentence each."""
        notes = []
        if self.unknown:
            notes.append(f"{counted(len(self.unknown), 'judged document')} not in the index: {_few(self.unknown)}")
        if self.own:
            done = "may be found" if keep_self else "is left out of its hits"
            notes.append(f"{counted(len(self.own), 'query')} with the id of a document, which {done}: {_few(self.own)}")
        return notes


def check_fit(collection: Collection, ids: Iterable[str]) -> Fit:
    """Compare a collection with the external ids of an index.

    Raises:
        CollectionError: an id holds white space, so that no TREC run can be written.
    """
    unknown = {document for grades in collection.qrels.values() for document in grades}
    queries = {query.id for query in collection.queries}
    own = []
    spaced = sorted(id_ for id_ in queries if not is_word(id_))
    for id_ in ids:
        unknown.discard(id_)
        if id_ in queries:
            own.append(id_)
        elif not is_word(id_):
            spaced.append(id_)
    if spaced:
        raise CollectionError(
            f"{counted(len(spaced), 'id')} with white space, which TREC runs cannot hold: {_few(spaced)}"
        )
    return Fit(sorted(unknown), sorted(own))


def _qrels_file(folder: Path, split: str) -> Path:
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        there = sorted(file.stem for file in (folder / "qrels").glob("*.tsv"))
        hint = f"splits here: {', '.join(there)}" if there else "expected BEIR's layout: queries.jsonl, qrels/test.tsv"
        raise CollectionError(f"{path}: no such file", hint=hint)
    return path


def _queries_file(folder: Path) -> Path:
    if found := _first(folder, _QUERIES):
        return found
    raise CollectionError(f"{folder}: no queries.jsonl here")


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of these files that is there."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _judgements(path: Path, problems: list[str]) -> Iterator[Judgement]:
    """Lines of query, document and grade, with or without a header; TREC's four columns as well."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for position, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if not row or (position == 1 and row[0] in _HEADERS):
                continue
            if len(row) == 1:
                row = row[0].split()
            if len(row) == 4:
                row = [row[0], *row[2:]]
            if len(row) != 3:
                raise CollectionError(f"{path}:{position}: expected query, document and grade; got {row}")
            if not row[0] or not row[1]:
                problems.append(f"line {position}: a query or a document without an id")
                continue
            try:
                yield Judgement(row[0], row[1], _grade(row[2].strip()))
            except ValueError:
                problems.append(f"line {position}: the grade {row[2]!r} is not a whole number")


def _grade(text: str) -> int:
    if not _GRADE.fullmatch(text):
        raise ValueError(text)
    return int(text.partition(".")[0])


def _collect(judgements: Iterable[Judgement], problems: list[str]) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    repeated: list[str] = []
    contradicted: list[str] = []
    for judgement in judgements:
        grades = qrels.setdefault(judgement.query, {})
        if judgement.document in grades:
            same = grades[judgement.document] == judgement.grade
            (repeated if same else contradicted).append(f"{judgement.query} {judgement.document}")
        else:
            grades[judgement.document] = judgement.grade
    if repeated:
        problems.append(f"{counted(len(repeated), 'pair')} judged more than once: {_few(repeated)}")
    if contradicted:
        problems.append(f"{counted(len(contradicted), 'pair')} judged with different grades: {_few(contradicted)}")
    return qrels


def _few(items: list[str]) -> str:
    return ", ".join(items[:5]) + (", …" if len(items) > 5 else "")

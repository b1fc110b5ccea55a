"""What a model learns from: queries, their positives and hard negatives, and a teacher's scores of both.

A source is a folder in BEIR's layout, whose judgements say what is relevant; a JSONL file of
`{"query", "pos": [], "neg": [], "pos_scores": [], "neg_scores": []}`; or a TSV file of query, positive and negative.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from retrieval.beir_eval.datasets import judged_queries, load_collection
from retrieval.corpus import read_documents
from retrieval.errors import CollectionError, CorpusError, InputError
from retrieval.files import is_unicode
from retrieval.formats import records_of
from retrieval.training.negatives import Mined, Teacher, read_negatives

__all__ = ["Example", "Sources", "TrainingData", "plain", "read_training_data"]

_LISTS = ("pos", "neg", "pos_scores", "neg_scores")
# What the three columns of triples are called by those who name them, as `query`, `positive_passage` and `"neg"`.
_HEADERS = [
    re.compile(rf"\W*({names})([ _-]?(text|passage|doc|document))?s?\W*", re.IGNORECASE)
    for names in ("query|querie|question|anchor", "positive|pos", "negative|neg")
]


@dataclass(frozen=True, slots=True)
class Example:
    """One training query; documents are rows of `TrainingData.texts`.

    Attributes:
        id: the query's.
        query: its text.
        positives: what is relevant, at least one.
        negatives: what is taken to be not relevant, hardest first; may be empty.
        scores: a teacher's, by row; empty without a teacher.
        weights: how much a negative counts, by row, where that is not 1.
        neither: what is no positive, and must not be a negative: the document with the query's own id, and
            pseudo-positives that are not learned from.
    """

    id: str
    query: str
    positives: tuple[int, ...]
    negatives: tuple[int, ...] = ()
    scores: Mapping[int, float] = field(default_factory=dict)
    weights: Mapping[int, float] = field(default_factory=dict)
    neither: tuple[int, ...] = ()


@dataclass
class TrainingData:
    """Documents with their ids, and examples, and what the preflight has to say of them, a sentence each."""

    texts: list[str]
    examples: list[Example]
    ids: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """A digest of every text and example: a run goes on only with the data it began with."""
        digest = hashlib.sha256()
        for part in self.texts:
            digest.update(part.encode() + b"\0")
        for example in self.examples:
            scores = sorted(example.scores.items())
            weights = sorted(example.weights.items())
            lists = (example.positives, example.negatives, example.neither)
            digest.update(repr((example.query, *lists, scores, weights)).encode())
        return f"sha256:{digest.hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What to read, and how.

    Attributes:
        data: BEIR folders, JSONL and TSV files.
        split: whose judgements train, in BEIR folders.
        negatives: TREC runs and mined files, from which the hard negatives of BEIR queries are taken.
        depth: how many documents of each list may be negatives.
        teacher: TREC runs whose scores teach, each rescaled to 0..1 within a query's list and then averaged over
            those that answer the query.
        pseudo_positives: learn from mined files' unjudged documents, too, that a cross-encoder takes for relevant.
        found_positives: learn only from positives that one of the negatives' lists holds; the others, which a reranker
            would not see, are neither positives nor negatives.
        held_out: queries, by id, that never train, beside those of the folders' other splits.
        held_texts: and by text, as dev data of other folders.
    """

    data: Sequence[Path]
    split: str = "train"
    negatives: Sequence[Path] = ()
    depth: int = 100
    teacher: Sequence[Path] = ()
    pseudo_positives: bool = False
    found_positives: bool = False
    held_out: frozenset[str] = frozenset()
    held_texts: frozenset[str] = frozenset()


def read_training_data(sources: Sources) -> TrainingData:
    """Read every source, and check that there is something to learn from it, and nothing of what is tested.

    Queries that stand in another split of a folder as well, by id or by text, are left out and noted; so are queries
    without a positive or a text, and judged documents or hits of a run that the corpus lacks. What is relevant to one
    query is so to all of the same text.

    Raises:
        CollectionError: no example is left, or a run knows none of the queries.
        CorpusError: a line that cannot be read.
    """
    reader = _Reader(sources)
    for source in sources.data:
        reader.read(source)
    return reader.finish()


class _Reader:
    """Examples of several sources over one list of texts, each text once per source."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._texts: list[str] = []
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._examples: list[Example] = []
        self._notes: list[str] = []
        self._held_ids: set[str] = set()
        self._held_texts: set[str] = set()
        self._mined = [read_negatives(path, sources.depth) for path in sources.negatives]
        self._teacher = Teacher(sources.teacher)

    def read(self, source: Path) -> None:
        """Add the examples of a source."""
        if source.is_dir():
            self._read_folder(source)
        elif not source.exists():
            raise InputError(f"{source}: no such file or folder")
        elif source.suffix == ".tsv":
            self._read_triples(source)
        elif ".jsonl" in source.suffixes:
            self._read_records(source)
        else:
            raise InputError(f"{source}: training data is a BEIR folder, a .jsonl or a .tsv file")

    def finish(self) -> TrainingData:
        """What was read, without what may not train."""
        examples = _agreeing([example for example in self._examples if example.id not in self._sources.held_out])
        leaked = [e for e in examples if e.id in self._held_ids or plain(e.query) in self._held_texts]
        self._note(leaked, "stand in another split as well, and are left out")
        held = {plain(text) for text in self._sources.held_texts}
        examples = _without(examples, leaked)
        asked = [example for example in examples if plain(example.query) in held]
        self._note(asked, "have the text of dev data, and are left out")
        examples = _without(examples, asked)
        silent = [example for example in examples if not example.query.strip()]
        self._note(silent, "have no text, and are left out")
        empty = [example for example in examples if not example.positives]
        self._note(empty, "have no positive, and are left out")
        examples = _without(examples, [*silent, *empty])
        if not examples:
            rest = ["all others are held out as dev data"] if self._sources.held_out else []
            hint = "; ".join([*self._notes, *rest]) or None
            raise CollectionError(f"{', '.join(map(str, self._sources.data))}: nothing to train on", hint=hint)
        self._check_runs(examples)
        return TrainingData(self._texts, examples, self._ids, self._notes)

    def _check_runs(self, kept: Sequence[Example]) -> None:
        if self._sources.negatives and not any(e.negatives for e in kept):
            raise CollectionError(
                f"{self._sources.negatives[0]}: holds no hit of any training query",
                hint="search with the training queries: retrieval search DIR --queries queries.jsonl --format trec",
            )
        if self._sources.teacher and not any(e.scores for e in kept):
            raise CollectionError(f"{self._sources.teacher[0]}: holds no score of any training query")

    def _note(self, which: Sequence[Example], what: str) -> None:
        if not which:
            return
        if len(which) == 1:
            what = what.replace("stand", "stands").replace("have", "has").replace(" are ", " is ")
        queries = "training query" if len(which) == 1 else "training queries"
        named = ", ".join(example.id for example in which[:3]) + (", …" if len(which) > 3 else "")
        self._notes.append(f"{len(which)} {queries} {what}: {named}")

    def _row(self, text: str, id_: str | None = None) -> int:
        """Where a text stands; one without an id is called by that."""
        row = self._rows.setdefault(text, len(self._texts))
        if row == len(self._texts):
            self._texts.append(text)
            self._ids.append(id_ or f"text {row}")
        return row

    def _read_folder(self, folder: Path) -> None:
        split = self._sources.split
        collection = load_collection(folder, split, on_error="skip")
        self._notes += [f"{folder.name}: {problem}" for problem in collection.problems]
        rows, blank = dict[str, int](), 0
        for document in read_documents(folder):
            if document.contents.strip():
                rows[document.id] = self._row(document.contents, document.id)
            else:
                blank += 1
        if blank:
            self._notes.append(f"{folder.name}: documents without a text, which play no part: {blank}")
        for other in sorted(path.stem for path in (folder / "qrels").glob("*.tsv")):
            if other != split:
                queries = judged_queries(folder, other)
                self._held_ids |= {query.id for query in queries}
                self._held_texts |= {plain(query.text) for query in queries}
        lacking, lost = 0, 0
        for query in collection.queries:
            grades = collection.qrels[query.id]
            lacking += sum(document not in rows for document in grades)
            found = [item.id for mined in self._mined if query.id in mined for item in mined[query.id].negatives]
            lost += sum(document not in rows for document in found)
            self._examples.append(self._judged(query.id, query.text, grades, rows))
        if lacking:
            self._notes.append(f"{folder.name}: judged documents that the corpus lacks: {lacking}")
        if lost:
            self._notes.append(f"{folder.name}: negatives that the corpus lacks: {lost}")

    def _judged(self, id_: str, query: str, grades: Mapping[str, int], rows: Mapping[str, int]) -> Example:
        lists = [mined[id_] for mined in self._mined if id_ in mined]
        relevant = [document for document, grade in grades.items() if grade > 0]
        if self._sources.pseudo_positives:
            relevant += [found.id for one in lists for found in one.positives]
        ranked = dict.fromkeys((document for document, grade in grades.items() if grade <= 0), 1.0)
        for found in _in_turns([one.negatives for one in lists]):
            ranked.setdefault(found.id, found.weight)
        doubtful = [id_, *(found.id for one in lists for found in one.positives)]
        if self._sources.found_positives:
            listed = {found.id for one in lists for found in (*one.negatives, *one.positives)}
            doubtful += [document for document in relevant if document not in listed]
            relevant = [document for document in relevant if document in listed]
        positives = _once(rows[document] for document in relevant if document in rows)
        neither = _once((rows[document] for document in doubtful if document in rows), positives)
        negatives = {
            rows[document]: weight
            for document, weight in ranked.items()
            if document in rows and rows[document] not in {*positives, *neither}
        }
        return Example(
            id=id_,
            query=query,
            positives=positives,
            negatives=tuple(negatives),
            scores={rows[d]: score for d, score in self._teacher.scores(id_).items() if d in rows},
            weights={row: weight for row, weight in negatives.items() if weight != 1},
            neither=neither,
        )

    def _read_triples(self, path: Path) -> None:
        found: dict[str, tuple[list[int], list[int]]] = {}
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for position, line in enumerate(file, 1):
                if not is_unicode(line):
                    raise CorpusError(str(path), position, "not UTF-8")
                fields = line.rstrip("\r\n").split("\t")
                if len(fields) != 3 or not all(map(str.strip, fields)):
                    raise CorpusError(str(path), position, "expected query, positive and negative, with tabs")
                if position == 1 and _names_columns(fields):
                    continue
                positives, negatives = found.setdefault(fields[0], ([], []))
                positives.append(self._row(fields[1]))
                negatives.append(self._row(fields[2]))
        for query, (positives, negatives) in found.items():
            self._examples.append(Example(query, query, _once(positives), _once(negatives, positives)))

    def _read_records(self, path: Path) -> None:
        for record in records_of(str(path)):
            try:
                self._examples.append(self._record(record.fields))
            except ValueError as error:
                raise CorpusError(str(path), record.position, str(error)) from None

    def _record(self, fields: Mapping[str, Any] | str) -> Example:
        if isinstance(fields, str):
            raise ValueError(fields)
        query = fields.get("query")
        if not isinstance(query, str) or not query.strip():
            raise ValueError("no query: expected a string under 'query'")
        lists = {name: fields.get(name) or [] for name in _LISTS}
        positives, negatives = (self._passages(name, lists[name]) for name in ("pos", "neg"))
        scores: dict[int, float] = {}
        for name, rows in (("pos", positives), ("neg", negatives)):
            given = lists[f"{name}_scores"]
            if given and not _are_numbers(given, len(rows)):
                raise ValueError(f"{name}_scores must be {len(rows)} numbers, one for each of {name}")
            scores.update(zip(rows, map(float, given), strict=False))
        id_ = fields.get("query_id")
        return Example(
            str(id_) if id_ is not None else query, query, _once(positives), _once(negatives, positives), scores
        )

    def _passages(self, name: str, texts: object) -> list[int]:
        if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ValueError(f"{name} must be a list of texts")
        return [self._row(text) for text in texts]


def _names_columns(fields: Sequence[str]) -> bool:
    """Whether a first line of three fields is a header, which is nothing to learn from."""
    return all(names.fullmatch(field) for field, names in zip(fields, _HEADERS, strict=True))


def _are_numbers(values: object, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(isinstance(one, int | float) for one in values)


def _without(examples: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    left_out = set(map(id, others))
    return [example for example in examples if id(example) not in left_out]


def _agreeing(examples: Sequence[Example]) -> list[Example]:
    """Each with what is relevant to any query of its text, which is a negative of none of them."""
    relevant: dict[str, dict[int, None]] = {}
    for example in examples:
        relevant.setdefault(plain(example.query), {}).update(dict.fromkeys(example.positives))
    return [_with_positives(example, tuple(relevant[plain(example.query)])) for example in examples]


def _with_positives(example: Example, positives: tuple[int, ...]) -> Example:
    if len(positives) == len(example.positives):
        return example
    negatives, neither = _once(example.negatives, positives), _once(example.neither, positives)
    return replace(example, positives=positives, negatives=negatives, neither=neither)


def _once(rows: Iterable[int], without: Iterable[int] = ()) -> tuple[int, ...]:
    left_out = set(without)
    return tuple(row for row in dict.fromkeys(rows) if row not in left_out)


def _in_turns(lists: Sequence[Sequence[Mined]]) -> Iterator[Mined]:
    """The first of each list, then the second of each, and so on."""
    for some in zip_longest(*lists):
        yield from (found for found in some if found is not None)


def plain(text: str) -> str:
    """A query's text as it is compared with held-out ones: case and spaces tell no queries apart."""
    return " ".join(text.lower().split())

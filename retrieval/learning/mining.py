"""Mine: what indexes and runs find for a collection's queries becomes a file of hard negatives."""

import tempfile
from array import array
from collections.abc import Collection as Container
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.beir_eval.datasets import Collection
from retrieval.beir_eval.runs import read_run
from retrieval.corpus import OnError, ReadReport, read_documents
from retrieval.errors import CollectionError
from retrieval.files import make_folder, write_stream, write_whole
from retrieval.pipeline import Retriever
from retrieval.protocols import Progress, silent
from retrieval.training.audit import Audit
from retrieval.training.mining import Asked, Found, Miner, MiningSettings, Ranking, Scorer
from retrieval.training.negatives import Mined, MinedLists
from retrieval.types import Document, Hits, Query

__all__ = ["IndexSource", "MiningReport", "RunSource", "Source", "mine"]

# Queries that are searched, and whose pairs a cross-encoder reads, together.
_BATCH = 64


class Source(Protocol):
    """What finds candidates."""

    name: str

    def rankings(self, queries: Sequence[Query], positives: Sequence[Container[str]], depth: int) -> list[Ranking]:
        """Each query's best `depth` documents, and the scores of its positives."""


class IndexSource:
    """A search over an index, under the name of its mode.

    Of a query none of whose positives is a hit, their scores are found by a search among them alone. Not so in fused
    search, whose scores depend on the other hits: there the positives are looked for as deep as fusion goes.

    Args:
        retriever: what searches; of an index of passages it should be grouped by document.
        name: another name.
    """

    def __init__(self, retriever: Retriever, name: str | None = None) -> None:
        self.name = name or retriever.using
        self._retriever = retriever
        self._is_fused = len(retriever.stages) > 1

    def rankings(self, queries: Sequence[Query], positives: Sequence[Container[str]], depth: int) -> list[Ranking]:
        """Each query's best `depth` documents, and the scores of its positives."""
        texts = [query.text for query in queries]
        hits = self._retriever.search_batch(texts, max(depth, self._retriever.fusion.depth if self._is_fused else 0))
        scores = [self._scores(hits, i, wanted) for i, wanted in enumerate(positives)]
        lacking = [i for i, wanted in enumerate(positives) if wanted and not scores[i]]
        if lacking and not self._is_fused:
            among = sorted({document for i in lacking for document in positives[i]})
            found = self._retriever.search_batch([texts[i] for i in lacking], len(among), among=among)
            for row, i in enumerate(lacking):
                scores[i] = self._scores(found, row, positives[i])
        return [Ranking(self.name, self._found(hits, i, depth), scores[i]) for i in range(len(queries))]

    def _scores(self, hits: Hits, row: int, positives: Container[str]) -> dict[str, float]:
        """Those of one query's positives that are among its hits."""
        ordinals, scores = hits.row(row)
        there = np.isin(ordinals, self._retriever.index.documents.find(list(positives))[1])
        return dict(zip(self._retriever.ids(ordinals[there]), scores[there].tolist(), strict=True))

    def _found(self, hits: Hits, row: int, depth: int) -> list[Found]:
        ordinals, scores = hits.row(row)
        pairs = zip(self._retriever.ids(ordinals[:depth]), scores[:depth].tolist(), strict=True)
        return [Found(document, rank, score) for rank, (document, score) in enumerate(pairs, 1)]


class RunSource:
    """A TREC run, under the name of its file; ranks are by its scores, and positives have one where it lists them.

    Args:
        path: the run.
        queries: ids of those to mine for; the lists of others are not kept.
        name: another name.

    Raises:
        CollectionError: it cannot be read, has a score that is not a number, or knows none of the queries.
    """

    def __init__(self, path: Path, queries: Container[str], name: str | None = None) -> None:
        self.name = name or path.stem
        self._run = read_run(path, frozenset(queries))
        if not self._run:
            raise CollectionError(
                f"{path}: holds no hit of any of the queries",
                hint="search with them: retrieval search DIR --queries queries.jsonl --out run.trec, or name a --split",
            )

    def rankings(self, queries: Sequence[Query], positives: Sequence[Container[str]], depth: int) -> list[Ranking]:
        """Each query's best `depth` documents, and the scores of its positives."""
        lists = [self._run.get(query.id, {}) for query in queries]
        return [
            Ranking(
                self.name,
                [Found(document, rank, score) for rank, (document, score) in enumerate(hits.items(), 1)][:depth],
                {document: hits[document] for document in wanted if document in hits},
            )
            for hits, wanted in zip(lists, positives, strict=True)
        ]


@dataclass
class MiningReport:
    """What came of it.

    Attributes:
        sources: the names of the sources, in order.
        queries: how many; see `retrieval.training.mining.Miner`.
        candidates: hits in the range of ranks, of all sources, by outcome; see `Candidate`.
        negatives: pairs that were written.
        positives: pseudo-positives that were written.
        unknown: hits left out as the corpus lacks the document.
        notes: what a reader should know beside, a sentence each.
    """

    sources: list[str]
    queries: Mapping[str, int] = field(default_factory=dict)
    candidates: Mapping[str, int] = field(default_factory=dict)
    negatives: int = 0
    positives: int = 0
    unknown: int = 0
    notes: list[str] = field(default_factory=list)


def mine(
    folder: str | Path,
    collection: Collection,
    sources: Sequence[Source],
    settings: MiningSettings,
    out: Path,
    *,
    scorer: Scorer | None = None,
    audit: int = 100,
    on_error: OnError = "stop",
    progress: Progress = silent,
) -> MiningReport:
    """Mine negatives for every query of a collection into `out`: each file is there whole or as it was before.

    `negatives.jsonl` is a mined file (`retrieval.training.negatives`), `audit.tsv` the likeliest false negatives,
    `mining.json` the settings and the report. The texts of the corpus are kept on disk meanwhile, beside 24 bytes of
    memory for each.

    Args:
        folder: the corpus, as `read_documents` takes it.
        collection: queries and judgements of `load_collection`.
        sources: what finds candidates; two of one name are numbered.
        settings: which candidates become negatives.
        out: a folder, made if it is not there.
        scorer: a cross-encoder, which denoises.
        audit: how many of the kept and of the dropped candidates a person shall read.
        on_error: `skip` leaves out hits that the corpus lacks, and records of it that cannot be read.
        progress: is told of the queries.

    Raises:
        CollectionError: a hit that the corpus lacks.
        InputError: see `Miner`; or `out` is no folder to write to.
    """
    make_folder(out)
    miner = Miner(settings, scorer)
    job = _Job(collection, _named(sources), miner, settings.last * (2 if scorer else 1), Audit(audit), on_error)
    with tempfile.TemporaryFile() as file:
        read = ReadReport()
        job.texts = _Texts(file, read_documents(folder, on_error=on_error, report=read), progress)
        job.note(read)
        write_stream(out / "negatives.jsonl", job.lines(progress))
    write_whole(out / "audit.tsv", job.audit.content().encode())
    report = job.report
    report.queries, report.candidates = dict(miner.queries), dict(miner.outcomes.most_common())
    about = {"data": collection.name, "split": collection.split, "settings": asdict(settings), **asdict(report)}
    write_whole(out / "mining.json", orjson.dumps(about, option=orjson.OPT_INDENT_2))
    return report


def _named(sources: Sequence[Source]) -> list[Source]:
    """The sources, the second of a name as `name-2`."""
    names: set[str] = set()
    for source in sources:
        plain, number = source.name, 1
        while source.name in names:
            number += 1
            source.name = f"{plain}-{number}"
        names.add(source.name)
    return [*sources]


class _Job:
    """One mining job: batches of queries through the sources, the rules and the audit."""

    texts: "_Texts"

    def __init__(
        self,
        collection: Collection,
        sources: Sequence[Source],
        miner: Miner,
        depth: int,
        audit: Audit,
        on_error: OnError,
    ) -> None:
        self.audit = audit
        self.report = MiningReport([source.name for source in sources], notes=[*collection.problems])
        self._collection = collection
        self._sources = sources
        self._miner = miner
        self._depth = depth
        self._skips = on_error == "skip"

    def note(self, read: ReadReport) -> None:
        """What is wrong with the corpus, or lacking from it."""
        if read.skipped:
            self.report.notes.append(f"{read.skipped} records of the corpus left out, as {read.examples[0]}")
        judged = {document for grades in self._collection.qrels.values() for document in grades}
        if lacking := sorted(document for document in judged if document not in self.texts):
            self.report.notes.append(f"judged documents that the corpus lacks: {len(lacking)}, as {lacking[0]}")

    def lines(self, progress: Progress) -> Iterator[bytes]:
        """The mined file."""
        queries = self._collection.queries
        for start in range(0, len(queries), _BATCH):
            yield from self._batch(queries[start : start + _BATCH])
            progress("mine", min(start + _BATCH, len(queries)), len(queries))

    def _batch(self, queries: Sequence[Query]) -> Iterator[bytes]:
        grades = [self._collection.qrels[query.id] for query in queries]
        positives = [[document for document, grade in of.items() if grade > 0] for of in grades]
        found = [source.rankings(queries, positives, self._depth) for source in self._sources]
        ids = {hit.id for rankings in found for ranking in rankings for hit in ranking.hits}
        texts = self.texts.of(ids.union(*positives))
        asked = [
            Asked(query, grades[i], [self._known(rankings[i], query, texts) for rankings in found])
            for i, query in enumerate(queries)
        ]
        for one, lists, candidates in self._miner.mine(asked, texts):
            self.audit.add(one, candidates, texts)
            self.report.negatives += len(lists.negatives)
            self.report.positives += len(lists.positives)
            yield _line(one.query, lists)

    def _known(self, ranking: Ranking, query: Query, texts: Mapping[str, str]) -> Ranking:
        """Without hits that the corpus lacks; the others keep their ranks."""
        known = [hit for hit in ranking.hits if hit.id in texts]
        if len(known) < len(ranking.hits):
            if not self._skips:
                unknown = next(hit.id for hit in ranking.hits if hit.id not in texts)
                raise CollectionError(
                    f"{ranking.source}: query {query.id}: document {unknown} is not in the corpus",
                    hint="search an index of this corpus, or leave such hits out: --on-error skip",
                )
            self.report.unknown += len(ranking.hits) - len(known)
        return Ranking(ranking.source, known, ranking.positives)


def _line(query: Query, lists: MinedLists) -> bytes:
    fields: dict[str, Any] = {"query_id": query.id, "negatives": [*map(_fields, lists.negatives)]}
    if lists.positives:
        fields["positives"] = [*map(_fields, lists.positives)]
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _fields(mined: Mined) -> dict[str, Any]:
    """Six digits of the score, which float32 has; pseudo-positives have no rank."""
    rank = {"rank": mined.rank} if mined.rank else {}
    return {
        **{"id": mined.id, "source": mined.source, **rank},
        **{"score": float(f"{mined.score:.6g}"), "weight": mined.weight},
    }


class _Texts:
    """The texts of a corpus by id, in a file; in memory, 24 bytes for each document."""

    def __init__(self, file: Any, documents: Iterable[Document], progress: Progress) -> None:
        digests, ends = array("Q"), array("Q", [0])
        for number, document in enumerate(documents, 1):
            ends.append(ends[-1] + file.write(orjson.dumps((document.id, document.contents))))
            digests.append(_digest(document.id))
            if number % 4096 == 0:
                progress("read", number, None)
        unsorted = np.frombuffer(digests, dtype=np.uint64) if digests else np.empty(0, dtype=np.uint64)
        self._file = file
        self._ends = np.frombuffer(ends, dtype=np.uint64)
        self._order: NDArray[np.int64] = np.argsort(unsorted, kind="stable")
        self._digests = unsorted[self._order]

    def __contains__(self, id_: str) -> bool:
        return self._get(id_) is not None

    def of(self, ids: Iterable[str]) -> dict[str, str]:
        """The texts of those documents that there are."""
        # In one order, so that two runs read and fail alike.
        found = ((id_, self._get(id_)) for id_ in sorted(ids))
        return {id_: text for id_, text in found if text is not None}

    def _get(self, id_: str) -> str | None:
        digest = np.uint64(_digest(id_))
        place = int(np.searchsorted(self._digests, digest))
        while place < len(self._digests) and self._digests[place] == digest:
            row = self._order[place]
            self._file.seek(int(self._ends[row]))
            there, text = orjson.loads(self._file.read(int(self._ends[row + 1] - self._ends[row])))
            if there == id_:
                return str(text)
            place += 1
        return None


def _digest(id_: str) -> int:
    return int.from_bytes(blake2b(id_.encode(), digest_size=8).digest())

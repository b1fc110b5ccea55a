"""The manifest: what an artifact holds, how it was made, and the size and digest of each of its files."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retrieval.errors import ArtifactMissingError, ArtifactVersionError
from retrieval.files import write_whole
from retrieval.index.dense.options import DEFAULT_RECALL, FLAT, DenseOptions, SegmentIndex
from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.index.lexical.bm25 import BM25
from retrieval.index.lucene.options import ANALYZER
from retrieval.index.postings.reader import Impacts
from retrieval.index.sparse.options import Engine, SparseOptions
from retrieval.index.storage.files import FileEntry, damaged
from retrieval.types import EncoderCard, ScoreKind

__all__ = [
    "FORMAT",
    "MANIFEST",
    "DensePart",
    "LexicalPart",
    "LucenePart",
    "Manifest",
    "Provenance",
    "SegmentEntry",
    "SparsePart",
    "Tuned",
    "checksum_of",
    "read_manifest",
    "write_manifest",
]

FORMAT = 5
"""Raised when an older version could not read what this one writes."""

_READABLE = (4, FORMAT)

MANIFEST = "manifest.json"


FileName = Annotated[str, Field(pattern=r"^(segment|generation)-\d+(/\w+)*/\w+(\.\w+)?$")]
"""Below the index' folder, and nowhere else."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LexicalPart(_Model):
    """What decides the lexical scores, and how postings lie; `scale` is what a stored impact of 1 stands for."""

    analyzer: AnalyzerSettings
    bm25: BM25
    impacts: Impacts = "exact"
    reorder: bool = False
    scale: float = 1.0


class LucenePart(_Model):
    """What decides the scores of a lexical part that is Lucene's, and what it holds; `version` is Lucene's."""

    engine: Literal["lucene"] = "lucene"
    analyzer: Literal["anserini-english"] = ANALYZER
    k1: float
    b: float
    version: str = ""
    terms: int = 0
    postings: int = 0


class Tuned(_Model):
    """Parameters of an approximate search, and the recall that they had on queries made of documents."""

    parameters: dict[str, float]
    recall: float


class SparsePart(_Model):
    """What decides the learned-sparse scores, and how postings lie.

    Attributes:
        impacts: how they were asked to be stored.
        stored: how they are: in fewer bits than asked, where that loses nothing.
        scale: what a stored impact of 1 stands for; None until the first impacts are stored.
        reorder: whether documents were put into another order than that of their ordinals.
        engine, recall, recall_at: of the approximate search, if a recall was asked for.
        tuned: the parameters that were found for it; None where there is nothing to search.
        vectors: documents that have a weight.
        encoder: what makes the vectors; None where they were computed elsewhere.
        vectors_from: then a digest of the file that they came from when the index was built.
    """

    impacts: Impacts = "exact"
    stored: Impacts = "exact"
    scale: float | None = None
    reorder: bool = False
    engine: Engine = "native"
    recall: float | None = None
    recall_at: int = 10
    tuned: Tuned | None = None
    vectors: int = 0
    encoder: EncoderCard | None = None
    vectors_from: str | None = None

    @property
    def options(self) -> SparseOptions:
        """As what is added is to be stored: in the steps of what is there, as what was rounded cannot be so anew."""
        scale = None if self.impacts == "exact" else self.scale
        kept = {name: getattr(self, name) for name in ("impacts", "reorder", "engine", "recall", "recall_at")}
        return SparseOptions(scale=scale, **kept)


class DensePart(_Model):
    """What decides the dense scores, beside the vectors themselves; those of deleted documents count.

    Attributes:
        encoder: what made the vectors of documents, and makes those of queries.
        query_encoder: what makes those of queries, where that has learned since; its documents' vectors are the same.
        index, recall, recall_at, memory: which index was asked for, see `DenseOptions`.
        segments: the index of each segment that has one, by its name, and the recall that it reached.
    """

    similarity: ScoreKind
    vectors: int
    dimensions: int
    largest_norm: float
    encoder: EncoderCard
    query_encoder: EncoderCard | None = None
    index: str = FLAT
    recall: float = DEFAULT_RECALL
    recall_at: int = 10
    memory: int | None = None
    segments: dict[str, SegmentIndex] = {}

    @property
    def options(self) -> DenseOptions:
        """What searches the vectors."""
        return DenseOptions(index=self.index, recall=self.recall, recall_at=self.recall_at, memory=self.memory)


class Provenance(_Model):
    """Where the content of an artifact comes from."""

    created: str
    command: list[str]
    corpus: list[str]
    versions: dict[str, str]


class SegmentEntry(_Model):
    """A folder of documents that never changes; `rows` counts the deleted ones too."""

    name: str = Field(pattern=r"^segment-\d+$")
    rows: int = Field(ge=0)


class Manifest(_Model):
    """All of `manifest.json`; names of files are relative to it.

    With `chunking`, what is indexed are passages, and `documents` counts those. `provenance` is that of the build,
    `changed` that of the latest change, if there was one. `work` names the journal of the latest build or addition.
    """

    format: int = FORMAT
    generation: int = Field(ge=1)
    documents: int = Field(ge=0)
    deleted: int = Field(ge=0)
    fingerprint: str
    segments: list[SegmentEntry]
    stores_text: bool = True
    chunking: dict[str, Any] | None = None
    lexical: LexicalPart | LucenePart | None = None
    sparse: SparsePart | None = None
    dense: DensePart | None = None
    provenance: Provenance
    changed: Provenance | None = None
    work: str | None = None
    files: dict[FileName, FileEntry]

    @property
    def folder(self) -> str:
        """The folder of what is derived from all segments."""
        return f"generation-{self.generation}"

    @property
    def rows(self) -> int:
        """Ordinals, those of deleted documents included."""
        return sum(segment.rows for segment in self.segments)


def checksum_of(content: dict[str, Any]) -> str:
    """The checksum that stands in a manifest of this content."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Make this the content of the artifact at `path`: the one step by which a change becomes visible."""
    content = manifest.model_dump(mode="json")
    content = orjson.loads(orjson.dumps(content))
    content["checksum"] = checksum_of(content)
    write_whole(path / MANIFEST, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")


def read_manifest(path: Path) -> Manifest:
    """The manifest of the artifact at `path`; an error if there is none, or none that this version can read."""
    file = path / MANIFEST
    if not file.is_file():
        raise ArtifactMissingError(f"no index at {path}", hint="build one: retrieval index build CORPUS --out DIR")
    try:
        content = orjson.loads(file.read_bytes())
        written, checksum = content["format"], content.pop("checksum", None)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise damaged(file, f"not a manifest ({error})") from error
    if isinstance(written, int) and written not in _READABLE:
        raise _other_format(file, written)
    if checksum != checksum_of(content):
        raise damaged(file, "is not as it was written")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise ArtifactVersionError(
                f"{file}: has a part {place!r}, which this version does not know", hint=_UPGRADE
            ) from error
        raise damaged(file, f"{place}: {first['msg']}") from error


_UPGRADE = "pip install --upgrade retrieval-engine"


def _other_format(file: Path, written: int) -> ArtifactVersionError:
    message = f"{file}: written in format {written}, this version reads format {FORMAT}"
    return ArtifactVersionError(message, hint=_UPGRADE if written > FORMAT else "build the index again")

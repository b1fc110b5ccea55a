"""The journal of a build: how far it has come, so that one which was interrupted goes on from there."""

import uuid
from pathlib import Path
from typing import Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retrieval.files import write_whole
from retrieval.index.storage.marks import Mark

__all__ = ["JOURNAL", "WORK", "Journal"]

WORK, JOURNAL = "building", "journal.json"


class Journal(BaseModel):
    """What has been written and made durable.

    Attributes:
        work: names this work; the manifest that it is committed with holds the same.
        settings: all that decides the result, beside the documents.
        segment: the folder that is being written.
        rows: documents stored.
        shards: postings written, one folder for each shard of documents.
        complete: whether the corpus has been read to its end.
        encoded: documents that have been through the encoder.
        largest_norm: of their vectors.
        quantised, sparse_quantised: the digests of the encoders' int8 models, where they have them.
        sparse_encoded: documents whose sparse vectors are there.
        store, vectors, postings, entries: the marks of files of documents, of vectors, of all shards' postings, and of
            sparse vectors.
    """

    model_config = ConfigDict(extra="forbid")

    work: str = Field(default_factory=lambda: uuid.uuid4().hex)
    settings: dict[str, Any]
    segment: str = Field(pattern=r"^segment-\d+$")
    rows: int = 0
    shards: int = 0
    complete: bool = False
    encoded: int = 0
    largest_norm: float = 0.0
    quantised: str | None = None
    sparse_quantised: str | None = None
    sparse_encoded: int = 0
    store: dict[str, Mark] = {}
    vectors: dict[str, Mark] = {}
    postings: dict[str, Mark] = {}
    entries: dict[str, Mark] = {}

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The journal of the artifact at `path`; None if there is none, or none that can be gone on with."""
        file = path / WORK / JOURNAL
        try:
            journal = cls.model_validate(orjson.loads(file.read_bytes()))
        except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError, ValidationError):
            return None
        return journal if (path / journal.segment).is_dir() else None

    def write(self, path: Path) -> None:
        """Make this the journal of the artifact at `path`."""
        write_whole(path / WORK / JOURNAL, orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2))

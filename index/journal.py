"""The journal of a build: how far it has come, so that one which was interrupted goes on from there."""

from pathlib import Path
from typing import Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from retrieval.files import write_whole
from retrieval.index.documents.store import StorePosition

__all__ = ["JOURNAL", "WORK", "Journal"]

WORK, JOURNAL = "building", "journal.json"


class Journal(BaseModel):
    """What has been written and made durable.

    Attributes:
        settings: all that decides the result, beside the documents.
        segment: the folder that is being written.
        position: documents stored.
        shards: postings written, one folder for each shard of documents.
        complete: whether the corpus has been read to its end.
        encoded: documents that have been through the encoder.
        vectors: vectors written.
        largest_norm: of them.
        generation: that which the work is committed with, once it is; 0 before.
    """

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, Any]
    segment: str
    position: StorePosition = StorePosition()
    shards: int = 0
    complete: bool = False
    encoded: int = 0
    vectors: int = 0
    largest_norm: float = 0.0
    generation: int = 0

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The journal of the artifact at `path`; None if there is none, or none that can be gone on with."""
        file = path / WORK / JOURNAL
        try:
            journal = cls.model_validate(orjson.loads(file.read_bytes()))
        except (FileNotFoundError, orjson.JSONDecodeError, ValidationError):
            return None
        return journal if (path / journal.segment).is_dir() else None

    def write(self, path: Path) -> None:
        """Make this the journal of the artifact at `path`."""
        write_whole(path / WORK / JOURNAL, orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2))

"""The manifest: what an artifact holds, how it was made, and the size and checksum of each of its files."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.index.lexical.bm25 import BM25
from retrieval.types import EncoderCard, ScoreKind

__all__ = ["FORMAT", "DensePart", "FileEntry", "LexicalPart", "Manifest", "Provenance"]

FORMAT = 1
"""Raised when an older version could not read what this one writes."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Model):
    """What a file must be."""

    bytes: int
    sha256: str


class LexicalPart(_Model):
    """What decides the lexical scores."""

    analyzer: AnalyzerSettings
    bm25: BM25


class DensePart(_Model):
    """What decides the dense scores, beside the vectors themselves."""

    similarity: ScoreKind
    vectors: int
    dimensions: int
    largest_norm: float
    encoder: EncoderCard


class Provenance(_Model):
    """Where an artifact comes from."""

    created: str
    command: list[str]
    corpus: list[str]
    versions: dict[str, str]


class Manifest(_Model):
    """All of `manifest.json`; its names of files are relative to `folder`.

    With `chunking`, what is indexed are passages, and `documents` counts those.
    """

    format: int = FORMAT
    generation: int = Field(ge=1)
    folder: str = Field(pattern=r"^generation-\d+$")
    documents: int = Field(ge=0)
    fingerprint: str
    chunking: dict[str, Any] | None = None
    lexical: LexicalPart | None = None
    dense: DensePart | None = None
    provenance: Provenance
    files: dict[str, FileEntry]

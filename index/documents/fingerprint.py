"""What stands for a document, and for all documents of an index."""

import hashlib
from collections.abc import Iterable
from dataclasses import astuple
from typing import Self

import orjson

from retrieval.types import Document

__all__ = ["DIGEST_BYTES", "Fingerprint", "digest_of", "metadata_json"]

DIGEST_BYTES = 16


def metadata_json(document: Document) -> str:
    """The metadata as it is stored."""
    return orjson.dumps(dict(document.metadata), option=orjson.OPT_SORT_KEYS).decode()


def digest_of(document: Document) -> bytes:
    """16 bytes that stand for all of a document: id, title, text, metadata and place."""
    passage = astuple(document.passage) if document.passage else None
    content = [document.id, document.title, document.text, metadata_json(document), passage]
    return hashlib.blake2b(orjson.dumps(content), digest_size=DIGEST_BYTES).digest()


class Fingerprint:
    """Stands for a set of documents, whatever their order: the sum of their digests, modulo 2^128."""

    def __init__(self, text: str = "") -> None:
        self._sum = int(text.removeprefix(_PREFIX), 16) if text else 0

    @classmethod
    def of(cls, digests: Iterable[bytes]) -> Self:
        """Of documents with these digests."""
        fingerprint = cls()
        for digest in digests:
            fingerprint.add(digest)
        return fingerprint

    def add(self, digest: bytes) -> None:
        """One document more."""
        self._sum += int.from_bytes(digest)

    def remove(self, digest: bytes) -> None:
        """One document less."""
        self._sum -= int.from_bytes(digest)

    def __str__(self) -> str:
        return f"{_PREFIX}{self._sum % (1 << 8 * DIGEST_BYTES):0{2 * DIGEST_BYTES}x}"


_PREFIX = "sum128:"

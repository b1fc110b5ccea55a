"""What stands for a document, and for all documents of an index."""

import hashlib
from collections.abc import Iterable
from dataclasses import astuple
from typing import Self

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.types import Document

__all__ = ["DIGEST_BYTES", "Fingerprint", "digest_of", "digests_of", "metadata_json"]

DIGEST_BYTES = 16


def metadata_json(document: Document) -> str:
    """The metadata as it is stored."""
    if not document.metadata:
        return "{}"
    return orjson.dumps(dict(document.metadata), option=orjson.OPT_SORT_KEYS).decode()


def digest_of(document: Document) -> bytes:
    """16 bytes that stand for all of a document: id, title, text, metadata and place."""
    return digests_of([document], [metadata_json(document)])[0]


def digests_of(documents: Iterable[Document], metadata: Iterable[str]) -> list[bytes]:
    """Those of many documents, whose `metadata_json` is known."""
    blake2b, dumps = hashlib.blake2b, orjson.dumps
    return [
        blake2b(
            dumps([one.id, one.title, one.text, own, astuple(one.passage) if one.passage else None]),
            digest_size=DIGEST_BYTES,
        ).digest()
        for one, own in zip(documents, metadata, strict=True)
    ]


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

    def add_all(self, digests: NDArray[np.uint8]) -> None:
        """The documents with these digests, (n, DIGEST_BYTES)."""
        words = digests.view(">u4").sum(axis=0, dtype=np.uint64).tolist()
        self._sum += sum(word << shift for word, shift in zip(words, (96, 64, 32, 0), strict=True))

    def remove(self, digest: bytes) -> None:
        """One document less."""
        self._sum -= int.from_bytes(digest)

    def __str__(self) -> str:
        return f"{_PREFIX}{self._sum % (1 << 8 * DIGEST_BYTES):0{2 * DIGEST_BYTES}x}"


_PREFIX = "sum128:"

"""Whatever has been done to an index of Lucene's, it is the index that its documents would have been built into."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.chunking import ByWords
from retrieval.index.lucene.options import LuceneOptions
from retrieval.indexing import Index
from retrieval.types import Document
from tests.index.lucene.reference import needs_lucene
from tests.index.test_sequences import Operation, Settings, lives, shards
from tests.index.test_sequences import live as live_through

pytestmark = needs_lucene


class LuceneSettings(Settings):
    """The lexical part is Lucene's."""

    def build(self, documents: Iterable[Document], path: Path, shard: int = 100) -> Index:
        """An index with a lexical part, replacing the one at `path`."""
        return Index.build(
            list(documents),
            path,
            lexical=LuceneOptions(),
            chunking=self.chunking,
            shard_documents=shard,
            overwrite=True,
        )


@given(
    life=lives,
    size=st.integers(0, 24),
    version=st.integers(0, 200),
    shard=shards,
    chunked=st.booleans(),
    small=st.booleans(),
)
@settings(max_examples=15)
def test_a_changed_index_is_a_fresh_one(
    life: Sequence[Operation], size: int, version: int, shard: int, chunked: bool, small: bool
) -> None:
    """After any operations, whole documents or passages."""
    how = LuceneSettings(chunking=ByWords(size=3, overlap=1) if chunked else None)
    live_through(life, how, size, version, shard, small=small)

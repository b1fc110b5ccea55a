"""Postings of several shards, merged and with documents left out, equal those of one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.index.lexical.analyzer import AnalyzerSettings
from retrieval.index.lexical.bm25 import BM25, METHODS
from retrieval.index.lexical.builder import PostingsBuilder
from retrieval.index.lexical.scoring import merge_scored
from retrieval.index.postings import merging
from retrieval.index.postings.merging import Source
from retrieval.index.postings.reader import ShardReader
from retrieval.index.storage.files import PlainFolder

texts = st.lists(st.sampled_from(["sun", "sea", "sky", "storm", "stone"]), max_size=6).map(" ".join)
SETTINGS = AnalyzerSettings()


def shard(folder: Path, contents: list[str]) -> ShardReader:
    """The postings of some texts."""
    folder.mkdir()
    builder = PostingsBuilder(SETTINGS)
    builder.add(contents)
    builder.write(folder)
    return ShardReader(PlainFolder(folder))


def merged(out: Path, sources: list[Source], lengths: np.ndarray, live: np.ndarray, method: str) -> dict[str, bytes]:
    """The content of each file of the merged postings."""
    out.mkdir()
    merge_scored(sources, lengths, live, BM25(method=method), out)
    return {path.name: path.read_bytes() for path in out.iterdir()}


@given(
    shards=st.lists(st.lists(st.tuples(texts, st.booleans()), max_size=6), max_size=4),
    at_once=st.integers(1, 30),
    method=st.sampled_from(METHODS),
)
def test_a_merge_equals_a_build_at_once(
    shards: list[list[tuple[str, bool]]], at_once: int, method: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """To the byte: for any shards, documents left out, and size of a block."""
    folder = tmp_path_factory.mktemp("merge")
    kept = [text for part in shards for text, alive in part if alive]
    sources, lengths, first = [], [], 0
    for number, part in enumerate(shards):
        reader = shard(folder / str(number), [text for text, _ in part])
        alive = np.array([alive for _, alive in part], dtype=bool)
        places = np.where(alive, np.cumsum(alive) - 1 + first, -1).astype(np.int32)
        sources.append(Source(reader, first if alive.all() else places))
        lengths.append(reader.lengths.all()[alive])
        first += int(alive.sum())
    whole = shard(folder / "whole", kept)
    live = np.ones(len(kept), dtype=bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "_POSTINGS_AT_ONCE", at_once)
        result = merged(folder / "a", sources, np.concatenate([np.empty(0, np.int32), *lengths]), live, method)
    assert result == merged(folder / "b", [Source(whole, 0)], whole.lengths.all(), live, method)


def test_frequencies_need_no_more_bytes_than_the_largest(tmp_path: Path) -> None:
    """One byte each to 255, two to 65,535, then four."""
    for number, (times, expected) in enumerate([(255, np.uint8), (256, np.uint16), (70_000, np.int32)]):
        reader = shard(tmp_path / str(number), ["sun " * times])
        assert reader.value_type == expected
        assert reader.block(0, 1)[1].tolist() == [times]

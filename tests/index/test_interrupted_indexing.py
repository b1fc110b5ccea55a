"""A build that ends while its dense index is written, or after that, goes on; also with another kind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("faiss")

import retrieval
from retrieval.index.dense.approximate import INDEX
from retrieval.index.writer import ArtifactWriter
from tests.index.changing import ToyEncoder

DOCUMENTS = [{"id": f"d{n}", "text": f"word{n % 50} of{n % 7} {n}"} for n in range(1_200)]


def build(path: Path, kind: str) -> retrieval.Index:
    options = retrieval.DenseOptions(index=kind, recall=0.9)
    return retrieval.Index.build(DOCUMENTS, path, dense=ToyEncoder(), dense_options=options)


def interrupted(path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build that ended just before it was committed; where its index lies."""

    def stop(*given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ArtifactWriter, "commit", stop)
        with pytest.raises(KeyboardInterrupt):
            build(path, kind)
    (left,) = path.rglob(INDEX)
    return left


@pytest.mark.parametrize("kind", ["hnsw", "sq8", "fp16", "flat"])
@pytest.mark.parametrize("half", [False, True])
def test_the_build_goes_on_with_whatever_kind_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, half: bool
) -> None:
    """What was left, whole or half written, is not part of the index, which searches as one that nobody interrupted."""
    left = interrupted(tmp_path / "index", "hnsw", monkeypatch)
    if half:
        left.write_bytes(left.read_bytes()[: left.stat().st_size // 2])
    made, whole = build(tmp_path / "index", kind), build(tmp_path / "whole", kind)
    assert list((tmp_path / "index").rglob(INDEX)) == [] if kind == "flat" else len(made.manifest.dense.segments) == 1
    assert retrieval.Index.open(tmp_path / "index").problems() == []
    queries = ToyEncoder().encode_queries(["word3 of5", "word10", "17"])
    one, other = (index.dense.search(queries, 20) for index in (made, whole))
    np.testing.assert_array_equal(one.scores, other.scores)

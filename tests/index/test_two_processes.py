"""One process changes an index and another searches it, and neither needs to know of the other."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from retrieval.errors import ArtifactLockedError
from retrieval.indexing import Index
from tests.index.changing import BUILT, ToyEncoder, ToySparseEncoder, answers, document

ROOT = Path(__file__).parents[2]

_SECONDS = 4.0


def as_json(value: Any) -> Any:
    """What a value is when it has been written as JSON and read again."""
    return json.loads(json.dumps(value))


def test_a_reader_beside_a_writer(tmp_path: Path) -> None:
    """What it opens is one generation, whole, and stays that; and what is left is what a fresh build makes."""
    path, log = tmp_path / "index", tmp_path / "log"
    kept = [Index.build([document(number) for number in range(40)], path, **BUILT)]
    seen: list[tuple[int, dict[str, Any]]] = []
    command = [sys.executable, "-m", "tests.index.rewriting", str(path), str(log), str(_SECONDS), "3"]
    with subprocess.Popen(command, cwd=ROOT) as writer:
        while writer.poll() is None:
            index = Index.open(path)
            if len(seen) % 50 == 0:
                kept.append(index)
            old = kept[len(seen) // 2 % len(kept)]
            seen += [(one.manifest.generation, answers(one)) for one in (index, old)]
    assert writer.returncode == 0
    *generations, left = (json.loads(line) for line in log.read_text().splitlines())
    committed = dict(map(tuple, generations))
    assert len({generation for generation, _ in seen}) > 2
    for generation, answer in seen:
        assert as_json(answer) == committed[generation]
    check_last(path, committed, left, tmp_path / "fresh")


def check_last(path: Path, committed: dict[int, Any], left: list[tuple[int, int]], fresh: Path) -> None:
    """The last generation is sound, and what a fresh build of what the writer left makes."""
    last = Index.open(path)
    assert last.manifest.generation == max(committed)
    assert last.problems() == []
    built = Index.build([document(number, version) for number, version in left], fresh, **BUILT)
    assert as_json(answers(built)) == committed[max(committed)]


def test_two_writers_take_turns(tmp_path: Path) -> None:
    """One of them is told that the other is at work, and nothing of either is lost."""
    path = tmp_path / "index"
    index = Index.build([document(0)], path, **BUILT)

    def other(texts: object) -> None:
        with pytest.raises(ArtifactLockedError, match="is being written by process"):
            Index.open(path).delete(["d0"])

    added = index.add([document(1, 9)], encoder=ToyEncoder(other), sparse=ToySparseEncoder())
    assert [one.id for one in added.delete(["d0"]).documents] == ["d1"]
    assert [one.id for one in index.documents] == ["d0"]

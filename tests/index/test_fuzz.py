"""Whatever happens to the files of an index, it answers as it did or says which file is not what it was."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from retrieval.chunking import ByWords
from retrieval.index.sparse.options import SparseOptions
from retrieval.indexing import Index
from tests.index.altering import files_of
from tests.index.changing import ADDED, BUILT, document, quick_folder, small_pieces, tuned_alike

ROOT = Path(__file__).parents[2]

_SECONDS = 300.0


@pytest.fixture(scope="module", params=["usual", "small"])
def pieces(request: pytest.FixtureRequest) -> str:
    """Files of one checked block each, read at once; and of many blocks, mapped."""
    return str(request.param)


@pytest.fixture(scope="module")
def sound(pieces: str) -> Iterator[Path]:
    """An index of two segments with deleted documents; of passages where it is in small pieces."""
    chunking = ByWords(size=6, overlap=2) if pieces == "small" else None
    with quick_folder() as folder, tuned_alike(), small_pieces() if pieces == "small" else nullcontext():
        documents = [document(number, 9 * number) for number in range(50)]
        index = Index.build(
            documents, folder / "index", **BUILT, chunking=chunking, sparse_options=SparseOptions(recall=0.9)
        )
        index = index.add([document(number, 9 * number) for number in range(50, 60)], **ADDED)
        index = index.delete(["d3", "d33", "d55"])
        assert len(index.manifest.segments) == 2
        assert index.manifest.deleted
        assert index.problems() == []
        yield index.path


@pytest.mark.parametrize(("mode", "rounds"), [("closed", 9), ("changed", 3), ("open", 2)])
def test_an_altered_file_is_noticed_where_it_matters(mode: str, rounds: int, pieces: str, sound: Path) -> None:
    """Never another answer, another exception, a crash or a hang; and nothing is wrong where no problem is found."""
    cases = rounds * len(files_of(sound))
    command = [sys.executable, "-m", "tests.index.altering", str(sound), mode, pieces, "1", str(cases)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_SECONDS)
    told = done.stdout.splitlines()
    wrong = [line for line in told if line.startswith("WRONG")]
    assert done.returncode == 0, f"{told[-1:]}\n{done.stderr}"
    assert len(told) - len(wrong) == cases
    assert not wrong, "\n".join(wrong[:30])

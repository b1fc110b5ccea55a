"""Encoding by a real model that is killed goes on, and ends with the same vectors."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from retrieval.indexing import Index
from tests.conftest import WORDS

ROOT = Path(__file__).parents[2]

N, BLOCK, KILLS = 120, 32, 4


def corpus() -> list[dict[str, str]]:
    """Documents of many lengths, the same in every process."""
    rng = random.Random(0)
    return [{"id": f"d{i}", "text": " ".join(rng.choices(WORDS, k=rng.randint(0, 25)))} for i in range(N)]


def test_a_killed_build_ends_with_the_same_vectors(tiny_model: Path, tmp_path: Path) -> None:
    """To the bit, after several kills in the midst of a block; each run does new work."""
    command = [sys.executable, "-m", __name__, str(tiny_model), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    runs = json.loads(done.stdout.splitlines()[-1])
    assert [run["killed"] for run in runs] == [True] * KILLS + [False]
    starts = [run["told"][0] for run in runs]
    assert starts == sorted(starts)
    assert starts[0] == 0 < starts[-1]
    assert all(start % BLOCK == 0 for start in starts)
    whole, again = (Index.open(tmp_path / name) for name in ("undisturbed", "killed"))
    assert again.problems() == []
    assert vectors(whole) == vectors(again)


def vectors(index: Index) -> dict[str, Any]:
    """Names, sizes and checksums of the files that hold them."""
    found = {name: entry for name, entry in index.manifest.files.items() if "/vector" in name}
    assert found
    return found


def main(model: str, folder: str) -> None:
    """Build an index undisturbed; and another, killed after so many batches each time."""
    import sentence_transformers  # noqa: F401 - before the first fork, as all that takes long to load

    import retrieval.encoders.dense
    import retrieval.encoders.neural.states
    import retrieval.encoding

    retrieval.encoding._BLOCK_DOCUMENTS = BLOCK
    assert not _run(model, Path(folder) / "undisturbed", None)["killed"]
    runs: list[dict[str, Any]] = []
    while not (runs and not runs[-1]["killed"]):
        after = 4 + 3 * len(runs) if len(runs) < KILLS else None
        runs.append(_run(model, Path(folder) / "killed", after))
    print(json.dumps(runs))  # noqa: T201 - the answer


def _run(model: str, path: Path, after: int | None) -> dict[str, Any]:
    """Build in a fork, which says what is encoded; kill it after it has said so often."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        _child(model, path, into)
    os.close(into)
    told: list[int] = []
    with os.fdopen(out) as pipe:
        for line in pipe:
            told.append(int(line))
            if len(told) == after:
                os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return {"killed": status == -signal.SIGKILL, "told": told}


def _child(model: str, path: Path, into: int) -> None:
    from retrieval.encoders.dense import load_encoder

    def progress(stage: str, done: int, total: int | None) -> None:
        if stage == "encode":
            os.write(into, f"{done}\n".encode())

    status = 1
    try:
        Index.build(corpus(), path, dense=load_encoder(model, batch_tokens=64), progress=progress)
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A process that changes an index again and again: `python -m tests.index.rewriting INDEX LOG SECONDS SEED`.

After each change it writes the generation and all its answers into the log, and at the end the documents that are left.
"""

import json
import random
import sys
import time
from pathlib import Path

from retrieval.indexing import Index
from tests.index.changing import ADDED, FILTERS, ToyEncoder, ToySparseEncoder, answers, document

NUMBERS = range(60)

_LEAST = 8

Versions = dict[str, tuple[int, int]]


def rewrite(path: Path, log: Path, seconds: float, seed: int) -> None:
    """Change an index until the time is over, and some changes have been made however slow the machine is."""
    rng = random.Random(seed)
    index = Index.open(path)
    there: Versions = {one.id: (int(one.id[1:]), 0) for one in index.documents}
    end = time.monotonic() + seconds
    with log.open("w") as file:
        while True:
            file.write(json.dumps([index.manifest.generation, answers(index)]) + "\n")
            if time.monotonic() > end and index.manifest.generation > _LEAST:
                break
            index = _changed(index, there, rng)
        file.write(json.dumps(list(there.values())) + "\n")


def _changed(index: Index, there: Versions, rng: random.Random) -> Index:
    """The index after one change, which `there` is told as well: the number and version of each document, in order."""
    match rng.choice(("add", "replace", "replace", "delete", "filter", "compact", "all")):
        case "add":
            version = rng.randrange(300)
            new = [number for number in rng.sample(NUMBERS, 12) if f"d{number}" not in there]
            there.update({f"d{number}": (number, version) for number in new})
            return index.add([document(number, version) for number in new], **ADDED)
        case "replace":
            version = rng.randrange(300)
            new = rng.sample(NUMBERS, rng.choice((1, 3, 30)))
            for number in new:
                there.pop(f"d{number}", None)
                there[f"d{number}"] = (number, version)
            return index.add(
                [document(number, version) for number in new],
                replace=True,
                encoder=ToyEncoder(),
                sparse=ToySparseEncoder(),
            )
        case "delete":
            gone = rng.sample(sorted(there), len(there) // 4)
        case "filter":
            allowed = answers(index)["allowed"][rng.randrange(len(FILTERS))]
            gone = [] if isinstance(allowed, str) else allowed
        case "compact":
            return index.compact()
        case _:
            gone = list(there) if rng.random() < 0.3 else []
    for id_ in gone:
        del there[id_]
    return index.delete(gone)


if __name__ == "__main__":
    rewrite(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))

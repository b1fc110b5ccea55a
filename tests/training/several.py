"""One of several processes that train together: every case in turn, as `torchrun` would start it."""

import json
import sys
from pathlib import Path

import torch

from retrieval.encoders.runtimes import precision
from tests.training.methods import CASES, Task, go

if __name__ == "__main__":
    torch.set_num_threads(1)
    precision._best_precision = lambda on_cpu, runtime: "float32"  # as in tests/conftest.py, for the index of ADORE
    out, changes, *paths = sys.argv[1:]
    for case in CASES:
        outcome = go(case, Task(*map(Path, paths)), Path(out) / case, **json.loads(changes))
        assert outcome.best
        print(case, outcome.steps, outcome.best.step, outcome.best.since, flush=True)  # noqa: T201 - the answer

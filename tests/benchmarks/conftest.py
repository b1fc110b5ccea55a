"""The benchmarks are scripts: their folder is made importable, as it is when one runs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

"""The table of benchmarks/gains.py: of each run its test figures, its difference from another and what it cost."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from retrieval.beir_eval.significance import holm, randomisation_test
from retrieval.cli.console import print_table

__all__ = ["show"]

_MEASURE = "nDCG@10"


class Described(Protocol):
    """What a run of the file says of itself."""

    name: str
    seeds: list[int]
    versus: str | None
    system: str

    def folder(self, out: Path, seed: int) -> Path:
        """Where a seed's files are."""


@dataclass(frozen=True)
class Row:
    """One run, over the seeds that have finished."""

    run: Described
    systems: Mapping[str, Sequence[float]]
    per_query: Mapping[str, float]
    minutes: float


def show(runs: Sequence[Any], out: Path, path: Path | None) -> None:
    """Print what has finished; write it to a file, too, where one is named."""
    rows = {run.name: row for run in runs if (row := _row(run, out))}
    compared = _compared(rows)
    columns = ["run", "seeds", _MEASURE, "hybrid", "against", "difference", "p (Holm)", "minutes"]
    print_table(columns, [_cells(row, compared.get(name)) for name, row in rows.items()])
    if path:
        figures = {
            name: {"systems": row.systems, "minutes": row.minutes, "against": compared.get(name)}
            for name, row in rows.items()
        }
        path.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))


def _row(run: Described, out: Path) -> Row | None:
    folders = [run.folder(out, seed) for seed in run.seeds]
    finished = [folder for folder in folders if (folder / "test" / "results.json").exists()]
    if not finished:
        return None
    results = [orjson.loads((folder / "test" / "results.json").read_bytes()) for folder in finished]
    systems: dict[str, list[float]] = {}
    for result in results:
        for system in result["systems"]:
            systems.setdefault(system["name"], []).append(system["measures"][_MEASURE])
    own = [next(s for s in result["systems"] if s["name"] == run.system)["per_query"] for result in results]
    per_query = {query: statistics.fmean(one[query][_MEASURE] for one in own) for query in own[0]}
    states = [orjson.loads((folder / "run.json").read_bytes()) for folder in finished]
    seconds = [sum(done["seconds"] for done in state["commands"]) for state in states]
    return Row(run, systems, per_query, statistics.fmean(seconds) / 60)


def _compared(rows: Mapping[str, Row]) -> dict[str, dict[str, float]]:
    """The mean difference of each run from the one it is held to, and Holm's p among those held to the same."""
    differences: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, row in rows.items():
        other = rows.get(row.run.versus or "")
        if other:
            pairs = [value - other.per_query[query] for query, value in row.per_query.items()]
            differences.setdefault(other.run.name, {})[name] = np.array(pairs)
    found = {}
    for family in differences.values():
        p_values = [float(randomisation_test(pairs)) for pairs in family.values()]
        for (name, pairs), p in zip(family.items(), holm(p_values).tolist(), strict=True):
            found[name] = {"difference": float(pairs.mean()), "p": p}
    return found


def _cells(row: Row, against: Mapping[str, float] | None) -> list[str]:
    own, hybrid = row.systems[row.run.system], row.systems.get("hybrid", [])
    compared = [row.run.versus or "", f"{against['difference']:+.4f}", _chance(against["p"])] if against else [""] * 3
    return [row.run.name, str(len(own)), _mean(own), _mean(hybrid), *compared, f"{row.minutes:.1f}"]


def _chance(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "< .0001"


def _mean(values: Sequence[float]) -> str:
    """With the standard deviation over seeds, where there are several."""
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{spread}"

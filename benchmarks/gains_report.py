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
    """One run, over the seeds that have finished; of each what every query scores."""

    run: Described
    systems: Mapping[str, Sequence[float]]
    per_query: Mapping[int, Mapping[str, float]]
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
    folders = {seed: run.folder(out, seed) for seed in run.seeds}
    finished = {seed: folder for seed, folder in folders.items() if (folder / "test" / "results.json").exists()}
    if not finished:
        return None
    results = [orjson.loads((folder / "test" / "results.json").read_bytes()) for folder in finished.values()]
    systems: dict[str, list[float]] = {}
    for result in results:
        for system in result["systems"]:
            systems.setdefault(system["name"], []).append(system["measures"][_MEASURE])
    own = [next(s for s in result["systems"] if s["name"] == run.system)["per_query"] for result in results]
    per_query = {
        seed: {query: values[_MEASURE] for query, values in one.items()}
        for seed, one in zip(finished, own, strict=True)
    }
    states = [orjson.loads((folder / "run.json").read_bytes()) for folder in finished.values()]
    seconds = [sum(done["seconds"] for done in state["commands"]) for state in states]
    return Row(run, systems, per_query, statistics.fmean(seconds) / 60)


def _compared(rows: Mapping[str, Row]) -> dict[str, dict[str, float]]:
    """The mean difference of each run from the one it is held to, and Holm's p among those held to the same."""
    differences: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, row in rows.items():
        other = rows.get(row.run.versus or "")
        if other:
            differences.setdefault(other.run.name, {})[name] = _differences(row, other)
    found = {}
    for family in differences.values():
        p_values = [float(randomisation_test(pairs)) for pairs in family.values()]
        for (name, pairs), p in zip(family.items(), holm(p_values).tolist(), strict=True):
            found[name] = {"difference": float(pairs.mean()), "p": p}
    return found


def _differences(row: Row, other: Row) -> NDArray[np.float64]:
    """(queries,) means over the run's seeds, each beside the same of the other run, or its first."""
    first = next(iter(other.per_query.values()))
    seeds = [(own, other.per_query.get(seed, first)) for seed, own in row.per_query.items()]
    return np.array([[own[query] - held[query] for query in seeds[0][0]] for own, held in seeds]).mean(axis=0)


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

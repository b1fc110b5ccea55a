"""Comparison of systems that answered the same queries: which differences are more than chance, and where they lie."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from retrieval.beir_eval.measures import JUDGED, parse_measures, with_judged
from retrieval.beir_eval.measures import measure as measure_run
from retrieval.beir_eval.results import Results, StoredSystem, read_results
from retrieval.beir_eval.rules import Rules, rules_of
from retrieval.beir_eval.runs import Run, ranked, read_run
from retrieval.beir_eval.significance import (
    ROUNDS,
    bootstrap_interval,
    effect_size,
    holm,
    randomisation_test,
    rank_groups,
    t_test,
)
from retrieval.errors import CollectionError, InputError

__all__ = [
    "Comparison",
    "Difference",
    "Measured",
    "Pair",
    "Standing",
    "best_two",
    "compare",
    "largest_differences",
    "read_systems",
]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A system that was measured.

    Attributes:
        name: as it is shown.
        per_query: query id → measure → value.
        run: what it answered, where that is known.
    """

    name: str
    per_query: Mapping[str, Mapping[str, float]]
    run: Run | None = None

    def values(self, measure: str, queries: Sequence[str]) -> NDArray[np.float64]:
        """Its values of a measure, (queries,)."""
        try:
            return np.array([self.per_query[query][measure] for query in queries], dtype=np.float64)
        except KeyError as error:
            there = ", ".join(next(iter(self.per_query.values()), {}))
            raise InputError(f"{self.name} was not measured by {measure!r}", hint=f"there are: {there}") from error

    def judged(self) -> float | None:
        """Its mean of Judged@10, where that was measured."""
        values = [measured.get(JUDGED) for measured in self.per_query.values()]
        known = [value for value in values if value is not None]
        return fmean(known) if known and len(known) == len(values) else None


@dataclass(frozen=True, slots=True)
class Standing:
    """One system among those compared.

    Attributes:
        name: its name.
        mean: of the measure.
        low, high: the ends of the mean's interval.
        group: its rank group, from 1.
        judged: the mean of Judged@10; None where results do not have it.
    """

    name: str
    mean: float
    low: float
    high: float
    group: int
    judged: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two systems; every difference is the second minus the first.

    Attributes:
        first, second: their names.
        difference: of the means.
        low, high: the ends of its interval.
        randomisation: p of the paired randomisation test.
        t: p of the paired t-test.
        holm: the randomisation test's p, corrected for all pairs that are compared.
        effect: Cohen's d_z.
        wins, ties, losses: queries on which the second is above, equal to and below the first.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    randomisation: float
    t: float
    holm: float
    effect: float
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Systems by one measure: standings by mean, the best first, and every pair in the order the systems were given.

    Attributes:
        measure: its name.
        queries: how many.
        alpha: below it, a corrected p tells two systems apart.
        level: of the intervals.
        standings: of each system.
        pairs: of each two systems.
    """

    measure: str
    queries: int
    alpha: float
    level: float
    standings: list[Standing]
    pairs: list[Pair]


def compare(
    systems: Sequence[Measured],
    measure: str,
    *,
    alpha: float = 0.05,
    level: float = 0.95,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Comparison:
    """Compare systems by one measure, pair by pair; see `retrieval.beir_eval.significance` for the tests.

    The tests of all pairs are one family of Holm's correction. Rank groups follow from it, by the randomisation test.

    Args:
        systems: at least two, measured on the same queries.
        measure: that all of them were measured by.
        alpha: below it, a corrected p tells two systems apart.
        level: of the intervals.
        rounds: of the randomisation test, where it cannot try all.
        seed: of what is drawn.

    Raises:
        CollectionError: the systems were measured on different queries.
        InputError: fewer than two systems or queries, or a system without this measure.
    """
    queries = _common_queries(systems)
    table = np.column_stack([system.values(measure, queries) for system in systems])
    low, high = bootstrap_interval(table, level=level, seed=seed)
    numbers = list(combinations(range(len(systems)), 2))
    pairs = _pairs([system.name for system in systems], numbers, table, level=level, rounds=rounds, seed=seed)
    separable = np.zeros((len(systems), len(systems)), dtype=bool)
    for (i, j), pair in zip(numbers, pairs, strict=True):
        separable[i, j] = separable[j, i] = pair.holm < alpha
    means = table.mean(axis=0)
    judged = [system.judged() for system in systems]
    columns = (means.tolist(), low.tolist(), high.tolist(), rank_groups(means, separable), judged)
    standings = [Standing(system.name, *values) for system, *values in zip(systems, *columns, strict=True)]
    standings.sort(key=lambda standing: -standing.mean)
    return Comparison(measure, len(queries), alpha, level, standings, pairs)


def _common_queries(systems: Sequence[Measured]) -> list[str]:
    if len(systems) < 2:
        raise InputError(f"a comparison needs at least two systems; got {len(systems)}")
    if without := [system.name for system in systems if not system.per_query]:
        raise InputError(
            f"{without[0]} was imported as means: a comparison needs its values of queries",
            hint="eval leaderboard shows it beside what was measured",
        )
    first, *others = systems
    for other in others:
        if differing := sorted(first.per_query.keys() ^ other.per_query.keys()):
            raise CollectionError(
                f"{first.name} and {other.name} were measured on different queries: "
                f"{len(differing)} are only in one of them, as {differing[0]}",
                hint="measure both on the same split: retrieval eval run, or retrieval eval score for a TREC run",
            )
    return list(first.per_query)


def _pairs(
    names: Sequence[str],
    numbers: Sequence[tuple[int, int]],
    table: NDArray[np.float64],
    *,
    level: float,
    rounds: int,
    seed: int,
) -> list[Pair]:
    firsts, seconds = zip(*numbers, strict=True)
    differences = table[:, seconds] - table[:, firsts]
    low, high = bootstrap_interval(differences, level=level, seed=seed)
    randomisation = randomisation_test(differences, rounds=rounds, seed=seed)
    columns = [differences.mean(axis=0), low, high, randomisation, t_test(differences), holm(randomisation)]
    columns += [effect_size(differences), *(np.sum(sign == np.sign(differences), axis=0) for sign in (1, 0, -1))]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Pair(names[i], names[j], *row) for (i, j), row in zip(numbers, rows, strict=True)]


def best_two(systems: Sequence[Measured], comparison: Comparison) -> tuple[Measured, Measured]:
    """The two systems with the highest means, in the order in which the systems were given."""
    best = [standing.name for standing in comparison.standings[:2]]
    first, second = (system for system in systems if system.name in best)
    return first, second


@dataclass(frozen=True, slots=True)
class Difference:
    """A query that two systems answer differently.

    Attributes:
        query: its id.
        first, second: their values.
        lists: of the first and of the second the ids of their best documents; None where a run is not known.
    """

    query: str
    first: float
    second: float
    lists: tuple[list[str] | None, list[str] | None]

    @property
    def difference(self) -> float:
        """The second's value minus the first's."""
        return self.second - self.first

    def documents(self) -> set[str]:
        """All ids in the lists."""
        return {document for found in self.lists for document in found or ()}


def largest_differences(first: Measured, second: Measured, measure: str, *, count: int, depth: int) -> list[Difference]:
    """The queries on which two systems differ most by a measure, the largest difference first; equal ones by id.

    Args:
        first: one system.
        second: another, measured on the same queries.
        measure: that both were measured by.
        count: at most so many queries; those without a difference are never among them.
        depth: how long the lists are.
    """
    queries = sorted(_common_queries([first, second]))
    one, other = first.values(measure, queries), second.values(measure, queries)
    order = [i for i in np.argsort(-np.abs(other - one), kind="stable").tolist() if other[i] != one[i]]
    return [
        Difference(
            queries[i],
            float(one[i]),
            float(other[i]),
            (_beginning(first.run, queries[i], depth), _beginning(second.run, queries[i], depth)),
        )
        for i in order[:count]
    ]


def _beginning(run: Run | None, query: str, depth: int) -> list[str] | None:
    return None if run is None else list(run.get(query, {}))[:depth]


def read_systems(
    sources: Sequence[str],
    measures: Sequence[str],
    qrels: Mapping[str, Mapping[str, int]] | None = None,
    *,
    runs: Mapping[str, Run] = MappingProxyType({}),
    without_own: bool = False,
) -> list[Measured]:
    """Systems that were measured, with their runs; two of one name are told apart by their folders.

    TREC runs are measured by the rules (depth, a query's own document, ties) of the results beside them.

    Args:
        sources: folders with a `results.json`; `FOLDER:SYSTEM` for one system of them; TREC runs.
        measures: ir-measures' names, by which systems are to be compared.
        qrels: what TREC runs are measured by.
        runs: those of the TREC runs that have been read, by source: see `retrieval.beir_eval.exchange.read_checked`.
        without_own: of TREC runs beside no results: leave out a document whose id is the query's own.

    Raises:
        CollectionError: a source cannot be read, or results are of different collections, or by rules that cannot be
            compared: see `retrieval.beir_eval.rules`.
        InputError: there is no such system, or a TREC run and no judgements.
    """
    stored: dict[str, tuple[Path, list[StoredSystem]]] = {}
    collections: dict[tuple[str, str], Path] = {}
    for source in sources:
        if Path(source).is_file():
            continue
        folder, _, name = (source, "", "") if Path(source).is_dir() else source.rpartition(":")
        results = read_results(Path(folder or source))
        collections.setdefault((results.dataset, results.split), Path(folder))
        stored[source] = (Path(folder), _chosen(Path(folder), results, name))
    if len(collections) > 1:
        told = ", ".join(f"{dataset} {split} in {folder}" for (dataset, split), folder in collections.items())
        raise CollectionError(f"systems can be compared on one collection only; got {told}")
    known = [system for _, systems in stored.values() for system in systems]
    rules = rules_of(known, measures, without_own=without_own)
    found: list[tuple[Path, Measured]] = []
    for source in sources:
        if source in stored:
            there, systems = stored[source]
            found += [(there, _stored(there, system)) for system in systems]
        else:
            found.append((Path(source).parent, _measured_run(Path(source), runs.get(source), measures, qrels, rules)))
    return _told_apart(found)


def _measured_run(
    path: Path,
    read: Run | None,
    measures: Sequence[str],
    qrels: Mapping[str, Mapping[str, int]] | None,
    rules: Rules,
) -> Measured:
    if qrels is None:
        raise InputError(f"{path}: a TREC run needs judgements", hint="give them: --qrels FILE, or --data FOLDER")
    run = {
        query: ranked(hits, k=rules.k or len(hits), without=query if rules.without_own else None, ties=rules.ties)
        for query, hits in (read_run(path, qrels) if read is None else read).items()
        if query in qrels
    }
    if not run:
        raise CollectionError(f"{path}: holds no hit of any judged query")
    parsed = with_judged(parse_measures(measures))
    return Measured(name=path.stem, per_query=measure_run(qrels, run, parsed)[1], run=run)


def _chosen(folder: Path, results: Results, name: str) -> list[StoredSystem]:
    chosen = [system for system in results.systems if name in ("", system.name)]
    if not chosen:
        there = ", ".join(system.name for system in results.systems)
        raise InputError(f"{folder} holds no system {name!r}", hint=f"there are: {there}")
    return chosen


def _stored(folder: Path, system: StoredSystem) -> Measured:
    return Measured(name=system.name, per_query=system.per_query, run=_run_of(folder / f"{system.name}.trec"))


def _run_of(path: Path) -> Run | None:
    return read_run(path) if path.is_file() else None


def _told_apart(found: Sequence[tuple[Path, Measured]]) -> list[Measured]:
    names = Counter(system.name for _, system in found)
    systems = [
        system if names[system.name] == 1 else replace(system, name=f"{folder}:{system.name}")
        for folder, system in found
    ]
    if twice := [name for name, count in Counter(system.name for system in systems).items() if count > 1]:
        raise InputError(f"{twice[0]} is named twice")
    return systems

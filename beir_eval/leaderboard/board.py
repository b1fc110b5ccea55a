"""Scores become a board: systems × sets, with intervals, and rank groups instead of bare ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.beir_eval.cost import per_million
from retrieval.beir_eval.leaderboard.data import Members, Score, by_set, merged_cost
from retrieval.beir_eval.measures import JUDGED
from retrieval.beir_eval.significance import bootstrap_interval, holm, randomisation_test, rank_groups, t_test
from retrieval.errors import InputError

__all__ = ["Board", "Column", "Entry", "Floats", "Price", "Row", "make_board"]

LEVEL = 0.05
"""Two systems are told apart where the corrected p of their difference is below."""

# With more queries than these, the t-test says what the randomisation test would, in a moment.
_FEW_QUERIES = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Price:
    """What an hour of the machine costs."""

    per_hour: float
    currency: str = "EUR"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a system scored on a set; of a mean that was imported, in whole or in part, no more is known than that.

    Attributes:
        value: the measure's mean; of a group of data sets, the mean of their means.
        low, high: its 95 % interval, by bootstrap over queries; None of an imported mean.
        values: (queries,) of the measure, in the order of the set's queries; None of an imported mean.
        group: of systems on this set that cannot be told apart, from 1 for the best; None of an imported mean.
        is_best: nobody whose queries are known has a higher mean here, and this one's are.
        judged: the mean of Judged@10, a set counting the same as another; None where a result lacks it.
        cost: as in results, and `per_million`, where a price is given.
        scores: it was made of, one for each data set.
    """

    value: float
    low: float | None
    high: float | None
    values: Floats | None
    group: int | None
    is_best: bool
    judged: float | None
    cost: Mapping[str, Any]
    scores: tuple[Score, ...]

    @property
    def is_imported(self) -> bool:
        """Whether it is a mean without values of queries."""
        return self.values is None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A set: a data set, a group of them, or all.

    Attributes:
        name: as it is called.
        queries: of all its data sets, with the data set's name in front where it has several; none where all of its
            means were imported.
        texts: of each query; empty where no result tells it.
        weights: (queries,) with which a mean over queries is the mean of the data sets' means.
    """

    name: str
    queries: tuple[str, ...]
    texts: tuple[str, ...]
    weights: Floats


@dataclass(frozen=True, kw_only=True)
class Row:
    """A system.

    Attributes:
        system: its name.
        entries: what it scored on each set, by the set's name, where it has one.
        overall: on all sets of the mean, if it has all of them.
        cost: over the sets that it was measured on, as an entry's.
    """

    system: str
    entries: Mapping[str, Entry]
    overall: Entry | None
    cost: Mapping[str, Any]

    @property
    def is_measured(self) -> bool:
        """Whether values of its queries are known, on some set."""
        return not all(entry.is_imported for entry in self.entries.values())


@dataclass(frozen=True, kw_only=True)
class Board:
    """Systems, the best first; those that lack a set stand behind, as they have no mean: see `_behind`.

    Attributes:
        measure: what is shown.
        columns: the sets, in order of their names.
        rows: the systems.
        overall: all sets that somebody was measured on, or all where nobody was, each counting the same; None where
            there is one set, or where no system has all of these.
        baseline: the system that differences are taken from; None where all were imported.
        price: of an hour, if it is known.
        left_out: what is not shown, as a system lacks some data sets of a group, a few words each.
    """

    measure: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    overall: Column | None
    baseline: str | None
    price: Price | None
    left_out: tuple[str, ...]

    @property
    def sets(self) -> tuple[Column, ...]:
        """What can be looked at: all sets together, if there are several, and each."""
        return (*((self.overall,) if self.overall else ()), *self.columns)

    def shows_group(self, column: Column) -> bool:
        """Whether a table has a column of rank groups for a set: all sets together or, where there is none, each."""
        return self.overall is None or column is self.overall

    def entry(self, row: Row, column: Column) -> Entry | None:
        """What a system scored on a set, or on all."""
        return row.overall if column is self.overall else row.entries.get(column.name)


def make_board(
    scores: Sequence[Score], *, measure: str | None = None, baseline: str | None = None, price: Price | None = None
) -> Board:
    """Compare what was measured.

    Args:
        scores: of each system on each data set, once.
        measure: one that all of them have; None takes the first, of those that hold values of queries if some do.
        baseline: a system; None takes the last of those that were measured everywhere.
        price: of an hour of the machine.

    Raises:
        InputError: a score lacks the measure, there is no such baseline or it was imported, a data set was not
            measured on the same queries for all, or nobody has all data sets of any group.
    """
    measure = measure or next(iter(next((score for score in scores if score.per_query), scores[0]).measures))
    for score in scores:
        if measure not in score.measures:
            raise InputError(f"{score.folder}: has no {measure}", hint=f"it has {', '.join(score.measures)}")
    sets, left_out = by_set(scores)
    if not sets:
        raise InputError(f"no system has all data sets of a group: {left_out[0]}")
    columns, entries = [], {}
    for name, members in sorted(sets.items()):
        column, answers = _column(name, members, measure)
        columns.append(column)
        entries[name] = _entries(column, answers, price)
    systems = sorted({system for own in entries.values() for system in own})
    together = [column for column in columns if column.queries] or columns  # else an import would take others' means
    complete = [system for system in systems if all(system in entries[column.name] for column in together)]
    overall, means = _overall(together, complete, entries, price) if len(columns) > 1 else (None, {})
    rows = []
    for system in systems:
        own = {column.name: entries[column.name][system] for column in columns if system in entries[column.name]}
        mean = means.get(system) if len(columns) > 1 else own[columns[0].name]
        having = [score for entry in own.values() for score in entry.scores]
        cost = _cost([score for score in having if score.per_query] or having, price)
        rows.append(Row(system=system, entries=own, overall=mean, cost=cost))
    whole = sorted((row for row in rows if row.overall), key=lambda row: -row.overall.value if row.overall else 0)
    rows = [*whole, *_behind([row for row in rows if not row.overall], whole)]
    return Board(
        measure=measure,
        columns=tuple(columns),
        rows=tuple(rows),
        overall=overall,
        baseline=_baseline(rows, baseline),
        price=price,
        left_out=tuple(left_out),
    )


def _behind(rows: Sequence[Row], whole: Sequence[Row]) -> list[Row]:
    """Those that lack a set, by how far they are above others on the sets that they have, on average.

    Others are the systems that were measured on all sets; where none of these has the set, all that have it, itself
    among them. So nobody gains by lacking a hard set.
    """
    measured = [row for row in whole if row.overall and not row.overall.is_imported]

    def usual(name: str) -> float:
        others = [row for row in measured if name in row.entries] or [*rows, *whole]
        return fmean(row.entries[name].value for row in others if name in row.entries)

    def above(row: Row) -> float:
        return fmean(entry.value - usual(name) for name, entry in row.entries.items())

    return sorted(rows, key=lambda row: -above(row))


def _baseline(rows: Sequence[Row], name: str | None) -> str | None:
    """The system of this name; without one the last that was measured everywhere, or else anywhere."""
    measured = [row for row in rows if row.is_measured]
    if name is None:
        everywhere = [row for row in measured if row.overall and not row.overall.is_imported]
        return (everywhere or measured)[-1].system if measured else None
    there = [row.system for row in measured]
    if name not in [row.system for row in rows]:
        raise InputError(f"no system is called {name!r}", hint=f"name one of {', '.join(there)}")
    if name not in there:
        raise InputError(f"{name} was imported as means: differences to it need its values of queries")
    return name


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """What a system has on a set, before it is compared: see `Entry`; the mean is taken where values are not known."""

    mean: float
    values: Floats | None
    judged: float | None
    scores: tuple[Score, ...]


def _column(name: str, members: Members, measure: str) -> tuple[Column, dict[str, _Answers]]:
    """A set, and what each system has on it."""
    datasets = sorted(next(iter(members.values())))
    measured = [system for system, own in members.items() if all(score.per_query for score in own.values())]
    asked = _queries([members[system] for system in measured], datasets)
    pairs = [(dataset, query) for dataset, queries in asked.items() for query in queries]
    told = {
        dataset: {id_: text for own in members.values() for id_, text in own[dataset].queries.items()}
        for dataset in datasets
    }
    column = Column(
        name=name,
        queries=tuple(query if len(datasets) == 1 else f"{dataset}: {query}" for dataset, query in pairs),
        texts=tuple(told[dataset].get(query, "") for dataset, query in pairs),
        weights=_weights([len(queries) for queries in asked.values()]),
    )
    answers = {
        system: _Answers(
            mean=fmean(own[dataset].measures[measure] for dataset in datasets),
            values=np.array([own[dataset].per_query[query].get(measure, 0.0) for dataset, query in pairs])
            if system in measured
            else None,
            judged=None if measure == JUDGED else _mean([own[dataset].measures.get(JUDGED) for dataset in datasets]),
            scores=tuple(own[dataset] for dataset in datasets),
        )
        for system, own in members.items()
    }
    return column, answers


def _queries(measured: Sequence[Mapping[str, Score]], datasets: Sequence[str]) -> dict[str, list[str]]:
    """Data set → the queries on which all were measured; empty where nobody was."""
    for own in measured:
        for dataset in datasets:
            one, other = own[dataset], measured[0][dataset]
            if one.per_query.keys() != other.per_query.keys():
                raise InputError(f"{one.folder} and {other.folder} were measured on different queries of {dataset}")
    return {dataset: list(measured[0][dataset].per_query) for dataset in datasets} if measured else {}


def _mean(values: Sequence[float | None]) -> float | None:
    """Of all of them; None where one is not known."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _weights(sizes: Sequence[int]) -> Floats:
    """Of each query, so that each of several sets of queries counts the same: 1 on average."""
    return np.repeat([sum(sizes) / (len(sizes) * size) for size in sizes], sizes)


@dataclass(frozen=True, kw_only=True)
class _Standing:
    """A system's mean among those that it was compared with: see `Entry`."""

    value: float
    low: float | None = None
    high: float | None = None
    group: int | None = None
    is_best: bool = False


def _entries(column: Column, answers: Mapping[str, _Answers], price: Price | None) -> dict[str, Entry]:
    """Each system's entry in a column."""
    known = {system: own.values * column.weights for system, own in answers.items() if own.values is not None}
    standings = _standings(known) if known else {}
    return {
        system: Entry(
            **vars(standings.get(system) or _Standing(value=own.mean)),
            values=own.values,
            judged=own.judged,
            cost=_cost(own.scores, price),
            scores=own.scores,
        )
        for system, own in answers.items()
    }


def _standings(known: Mapping[str, Floats]) -> dict[str, _Standing]:
    """Systems compared by their weighted values."""
    weighted = np.column_stack(list(known.values()))
    means = weighted.mean(axis=0)
    lows, highs = bootstrap_interval(weighted)
    groups = rank_groups(means, _separable(weighted))
    return {
        system: _Standing(
            value=float(means[i]),
            low=float(lows[i]),
            high=float(highs[i]),
            group=groups[i],
            is_best=bool(means[i] == means.max()),
        )
        for i, system in enumerate(known)
    }


def _separable(weighted: Floats) -> NDArray[np.bool_]:
    """(systems, systems), whether two differ by more than chance, with Holm's correction over all pairs."""
    count = weighted.shape[1]
    found = np.zeros((count, count), dtype=bool)
    pairs = list(combinations(range(count), 2))
    if not pairs or len(weighted) < 2:
        return found
    differences = np.column_stack([weighted[:, i] - weighted[:, j] for i, j in pairs])
    p = randomisation_test(differences) if len(weighted) <= _FEW_QUERIES else t_test(differences)
    for (i, j), adjusted in zip(pairs, holm(p), strict=True):
        found[i, j] = found[j, i] = adjusted < LEVEL
    return found


def _cost(scores: Sequence[Score], price: Price | None) -> dict[str, Any]:
    cost = merged_cost(scores)
    speed = cost.get("queries_per_second")
    return {**cost, "per_million": per_million(price.per_hour, speed) if price and speed else None}


def _overall(
    columns: Sequence[Column], systems: Sequence[str], entries: Mapping[str, Mapping[str, Entry]], price: Price | None
) -> tuple[Column | None, dict[str, Entry]]:
    """All sets as one, in which each counts the same, for systems that have all; none where no system has."""
    if not systems:
        return None, {}
    asked = columns if all(column.queries for column in columns) else []  # else nobody was measured on all of them
    weights = _weights([len(column.queries) for column in asked])
    overall = Column(
        name="mean",
        queries=tuple(f"{column.name}: {query}" for column in asked for query in column.queries),
        texts=tuple(text for column in asked for text in column.texts),
        weights=weights * np.concatenate([np.empty(0), *(column.weights for column in asked)]),
    )
    answers = {system: _joined([entries[column.name][system] for column in columns]) for system in systems}
    return overall, _entries(overall, answers, price)


def _joined(entries: Sequence[Entry]) -> _Answers:
    """What a system has on several sets."""
    known = [entry.values for entry in entries if entry.values is not None]
    return _Answers(
        mean=fmean(entry.value for entry in entries),
        values=np.concatenate(known) if len(known) == len(entries) else None,
        judged=_mean([entry.judged for entry in entries]),
        scores=tuple(score for entry in entries for score in entry.scores),
    )

"""`retrieval eval compare`: which differences between systems are more than chance, and where they lie."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.beir_eval.comparing import (
    Comparison,
    Difference,
    Measured,
    Standing,
    best_two,
    compare,
    largest_differences,
    read_systems,
)
from retrieval.beir_eval.datasets import Collection, check_fit, load_collection, query_ids, read_qrels
from retrieval.beir_eval.exchange import read_checked
from retrieval.beir_eval.measures import JUDGED
from retrieval.beir_eval.runs import Run
from retrieval.beir_eval.significance import ROUNDS
from retrieval.beir_eval.wording import counted
from retrieval.cli.console import print_json, print_table, say
from retrieval.cli.evaluate.options import (
    KeepSelfOption,
    MeasuresOption,
    RunErrorOption,
    SplitOption,
    split_measures,
)
from retrieval.cli.options import JsonOption, OnErrorName
from retrieval.corpus import read_documents
from retrieval.errors import CollectionError, InputError

__all__ = ["compare_systems"]

# Characters of a text in a table; JSON has all of them.
_SHOWN = 70

Qrels = Mapping[str, Mapping[str, int]]


def compare_systems(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="SYSTEMS...",
            help="Folders of eval run or eval score, FOLDER:SYSTEM for one system of them, or TREC runs.",
        ),
    ],
    measures: MeasuresOption = "nDCG@10",
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The collection, in BEIR's layout: for texts and grades, and for runs."),
    ] = None,
    split: SplitOption = "test",
    qrels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Judgements alone: for grades, and for runs."),
    ] = None,
    queries: Annotated[int, typer.Option(min=0, help="Queries to show on which the two best differ most.")] = 3,
    depth: Annotated[int, typer.Option(min=1, help="Hits of each that are shown side by side.")] = 5,
    alpha: Annotated[float, typer.Option(min=0.0, max=1.0, help="Corrected p below which systems differ.")] = 0.05,
    level: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    rounds: Annotated[
        int, typer.Option(min=1, help="Sign flips of the randomisation test, if it cannot try all.")
    ] = ROUNDS,
    seed: Annotated[int, typer.Option(min=0, help="Of flips and draws.")] = 0,
    keep_self: KeepSelfOption = False,
    on_error: RunErrorOption = OnErrorName.STOP,
    json: JsonOption = False,
) -> None:
    """Compare systems that answered the same queries: tests, intervals, rank groups, and the queries that differ most.

    TREC runs are measured by the rules of the results beside them: depth, ties, a document of the query's own id.

    Differences are the second system's value minus the first's.
    """
    if data and qrels:
        raise InputError("--data has judgements of its own: leave --qrels out, or choose a --split")
    names = split_measures(measures)
    collection = load_collection(data, split, on_error=on_error.value) if data else None
    judged = collection.qrels if collection else read_qrels(qrels) if qrels else None
    runs, has_own = _checked(systems, data, collection, on_error) if data and collection else ({}, False)
    found = read_systems(systems, names, judged, runs=runs, without_own=has_own and not keep_self)
    settings: dict[str, Any] = {"alpha": alpha, "level": level, "rounds": rounds, "seed": seed}
    comparisons = [compare(found, name, **settings) for name in names]
    if judged:
        _check_judged(found[0], judged)
    pair = best_two(found, comparisons[0])
    differences = largest_differences(*pair, names[0], count=queries, depth=depth)
    asked = {query.id: query.text for query in collection.queries} if collection else {}
    texts = _texts(data, differences) if data else {}
    shown = [_as_json(each, pair, asked, texts, judged or {}) for each in differences]
    if json:
        print_json({"comparisons": [asdict(each) for each in comparisons], "queries": shown})
        return
    for comparison in comparisons:
        _show(comparison)
    for each in shown:
        _show_query(each, names[0])


def _checked(
    systems: Sequence[str], data: Path, collection: Collection, on_error: OnErrorName
) -> tuple[dict[str, Run], bool]:
    """The runs among the systems, checked as `eval score` does; and whether a document has a query's id.

    Results know the latter by themselves, so it is asked of runs beside none.
    """
    sources = [system for system in systems if Path(system).is_file()]
    ids = [document.id for document in read_documents(data)] if sources else []
    read, problems = read_checked(list(map(Path, sources)), query_ids(data), ids, on_error=on_error.value)
    for problem in [*collection.problems, *problems]:
        say(f"note: {problem}")
    has_own = len(sources) == len(systems) and bool(check_fit(collection, ids).own)
    return dict(zip(sources, read, strict=True)), has_own


def _check_judged(system: Measured, qrels: Qrels) -> None:
    """An error where the judgements are of other queries: grades and texts would be those of another collection."""
    if strange := sorted(system.per_query.keys() - qrels.keys()):
        raise CollectionError(
            f"{system.name} was measured on queries that are not judged here: {len(strange)}, as {strange[0]}",
            hint="give the collection and the split that it was measured on: --data and --split, or --qrels",
        )


def _texts(data: Path, differences: Sequence[Difference]) -> dict[str, str]:
    """Texts of the documents that are shown."""
    wanted = {document for each in differences for document in each.documents()}
    if not wanted:
        return {}  # a corpus takes a while to read
    return {document.id: document.contents for document in read_documents(data) if document.id in wanted}


def _as_json(
    each: Difference,
    pair: tuple[Measured, Measured],
    asked: Mapping[str, str],
    texts: Mapping[str, str],
    qrels: Qrels,
) -> dict[str, Any]:
    grades = qrels.get(each.query, {})
    return {
        "query": each.query,
        "text": asked.get(each.query),
        "systems": [system.name for system in pair],
        "first": each.first,
        "second": each.second,
        "difference": each.difference,
        "lists": [
            None if found is None else [{"id": id_, "grade": grades.get(id_), "text": texts.get(id_)} for id_ in found]
            for found in each.lists
        ],
    }


def _show(comparison: Comparison) -> None:
    interval = f"{comparison.level:.0%} interval"
    rows = [
        [each.name, f"{each.mean:.4f}", f"{each.low:.4f} to {each.high:.4f}", str(each.group), _judged(each)]
        for each in comparison.standings
    ]
    title = f"{comparison.measure}: {counted(comparison.queries, 'query')}"
    print_table(["system", "mean", interval, "rank group", JUDGED], rows, title=title)
    rows = [
        [
            f"{pair.second} - {pair.first}",
            f"{pair.difference:+.4f}",
            f"{pair.low:+.4f} to {pair.high:+.4f}",
            f"{pair.randomisation:.4g}",
            f"{pair.t:.4g}",
            f"{pair.holm:.4g}" + ("*" if pair.holm < comparison.alpha else ""),
            f"{pair.effect:+.2f}",
            f"{pair.wins}/{pair.ties}/{pair.losses}",
        ]
        for pair in comparison.pairs
    ]
    columns = ["difference", "of means", interval, "p randomisation", "p t-test", "p Holm", "d_z", "wins/ties/losses"]
    print_table(columns, rows)


def _judged(standing: Standing) -> str:
    return "–" if standing.judged is None else f"{standing.judged:.4f}"


def _show_query(each: Mapping[str, Any], measure: str) -> None:
    """One query's two lists side by side; the grade of an unjudged document is a dash."""
    title = f"{each['query']}: {measure} {each['first']:.4f} and {each['second']:.4f} ({each['difference']:+.4f})"
    if each["text"]:
        title = f"{title}\n{each['text']}"
    lists = [found or [] for found in each["lists"]]
    rows = [
        [str(rank + 1), *(cell for found in lists for cell in _cells(found, rank))]
        for rank in range(max(map(len, lists)))
    ]
    columns = ["rank", *(title for name in each["systems"] for title in (name, "grade", "text"))]
    kept = [i for i, name in enumerate(columns) if name != "text" or any(row[i] for row in rows)]
    print_table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], title=title, figures=False)


def _cells(found: Sequence[Mapping[str, Any]], rank: int) -> list[str]:
    if rank >= len(found):
        return ["", "", ""]
    hit = found[rank]
    text = " ".join((hit["text"] or "").split())
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return [hit["id"], "-" if hit["grade"] is None else str(hit["grade"]), shown]

"""The tables of the lexical benchmark, from what its sections measured."""

import os
from collections.abc import Callable
from typing import Any

from lexical_engines import OURS
from measuring import Spread
from tables import mb

from retrieval.cli.console import print_table

MILLION = 1_000_000
_SMALL = 10_000  # documents of a collection for which times of single queries have goals

_FASTER = {"bm25s": 10.0, "lucene": 3.0, "tantivy": 3.0}
_SINGLE_GOALS = {"p50": 100e-6, "p99": 300e-6}
_THREADS_GOAL = 1.8
_MEMORY_FACTOR, _MEMORY_EXTRA = 1.5, 500e6


def build_goal(peer: str) -> float | None:
    """How many times as fast as a peer a build should be."""
    return _FASTER.get(peer)


def search_goal(peer: str, k: str, documents: int) -> float | None:
    """How many times as fast as a peer a search should be."""
    if peer == "bm25s":
        return 5.0 if k == "10" and documents >= MILLION else 2.0
    return 1.5 if peer == "pisa" and k == "10" and documents >= MILLION else None


def show_collection(result: dict[str, Any]) -> None:
    """What is measured, before it is."""
    collection = result["collection"]
    print(
        f"\n{collection['name']}: {collection['documents']:,} documents, {collection['queries']:,} queries, "
        f"{result['threads']} thread{'s' if result['threads'] > 1 else ''}, {result['rounds']} rounds at most; "
        "a ratio is their time over ours: median (least-most)\n",
        flush=True,
    )


def show_section(result: dict[str, Any], section: str) -> None:
    """The tables of one section, as soon as it has been measured."""
    _TABLES[section](result)
    print(flush=True)


def show_engines(result: dict[str, Any]) -> None:
    """What cannot run and why, and in what the others differ."""
    for name, reason in result["absent"].items():
        print(f"{name} could not run: {reason}")
    for name, about in result["engines"].items():
        if name not in result["absent"]:
            versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
            print(f"{name}: {'; '.join(filter(None, [versions, about['note']]))}")


def _show_builds(result: dict[str, Any]) -> None:
    documents, builds = result["collection"]["documents"], result["build"]
    ours = builds[OURS]
    rows = []
    for name, one in builds.items():
        rates = Spread.of([documents / seconds for seconds in one["seconds"]])
        ratio = Spread.of_ratios(one["seconds"], ours["seconds"]) if name != OURS else None
        rows.append(
            [
                name,
                _rate(rates),
                _ratio(ratio),
                _judged(ratio, build_goal(name)),
                mb(max(one["peak"])),
                mb(one["sizes"]["index"]),
            ]
        )
    columns = ["build", "documents/s", "ratio", "goal", "peak, MB", "index, MB"]
    print_table(columns, rows, title="Build: JSONL on disk to an index on disk")
    _show_sizes(ours, builds.get("bm25s"))


def _show_sizes(ours: dict[str, Any], bm25s: dict[str, Any] | None) -> None:
    sizes, peak = ours["sizes"], max(ours["peak"])
    whole = sizes["with documents"]
    allowed = _MEMORY_FACTOR * whole + _MEMORY_EXTRA
    rows = [["artifact with documents, MB", mb(whole), ""]]
    if "without texts" in sizes:
        rows.append(["artifact without texts, MB", mb(sizes["without texts"]), ""])
    rows.append(["peak memory, MB", mb(peak), f"<= {mb(allowed)}: {_met(peak <= allowed)}"])
    if bm25s:
        theirs = bm25s["sizes"]["index"]
        rows.append(["lexical part, MB", mb(sizes["index"]), f"<= {mb(theirs)}: {_met(sizes['index'] <= theirs)}"])
    print_table(["ours on disk and in memory", "", "goal"], rows)


def _show_searches(result: dict[str, Any]) -> None:
    documents = result["collection"]["documents"]
    rows = []
    for k, found in result["search"].items():
        queries = found["queries"]
        ours = [seconds for one in found["times"].values() for seconds in one["ours"]]
        if ours:  # not where every peer failed
            rows.append([OURS, k, _rate(Spread.of([queries / seconds for seconds in ours])), "", "", ""])
        for name, one in found["times"].items():
            if name != OURS:
                ratio = Spread.of_ratios(one["theirs"], one["ours"])
                rates = Spread.of([queries / seconds for seconds in one["theirs"]])
                goal = _judged(ratio, search_goal(name, k, documents))
                rows.append([name, k, _rate(rates), _ratio(ratio), goal, found["chosen"].get(name, "")])
    print_table(["search", "k", "queries/s", "ratio", "goal", "chosen"], rows, title="Search: one batch of texts")
    for k, found in result["search"].items():
        identity = found.get("identity")
        if identity:
            print(f"identical top-{k} with bm25s: {identity['same']:,}/{identity['queries']:,} queries")
            for query, what in identity["differences"]:
                print(f"  {query!r}: {what}")


def _show_single(result: dict[str, Any]) -> None:
    rows = []
    for name, depths in result["single"].items():
        for k, one in depths.items():
            has_goal = name == OURS and k == "10" and result["collection"]["documents"] <= _SMALL
            cells = []
            for figure, goal in _SINGLE_GOALS.items():
                against = f" (<= {1e6 * goal:.0f}: {_met(one[figure] <= goal)})" if has_goal else ""
                cells.append(f"{1e6 * one[figure]:,.0f}{against}")
            rows.append([name, k, *cells, f"{one['searches']:,}"])
    title = "Search: one text at a time; ids and scores out"
    print_table(["search", "k", "p50, µs", "p99, µs", "searches"], rows, title=title)


def _show_threads(result: dict[str, Any]) -> None:
    rows = []
    for k, one in result["threads over one"].items():
        ratio = Spread.of_ratios(one["times"]["1"], one["times"]["2"])
        rates = [_rate(Spread.of([one["queries"] / seconds for seconds in one["times"][n]])) for n in ("1", "2")]
        rows.append([OURS, k, *rates, _ratio(ratio), _judged(ratio, _THREADS_GOAL)])
    columns = ["search", "k", "one thread, queries/s", "two", "ratio", "goal"]
    print_table(columns, rows, title=f"Two threads over one, {os.cpu_count()} cores")


def _show_impacts(result: dict[str, Any]) -> None:
    rows = []
    for impacts, one in result["impacts"].items():
        rates = [_rate(Spread.of([one["queries"] / seconds for seconds in times])) for times in one["times"].values()]
        ndcg = "" if one["nDCG@10"] is None else f"{one['nDCG@10']:.4f}"
        rows.append([impacts, mb(one["size"]), ndcg, *rates])
    depths = [f"k = {k}, queries/s" for k in next(iter(result["impacts"].values()))["times"]]
    print_table(["impacts", "lexical part, MB", "nDCG@10", *depths], rows, title="Impacts")


_TABLES: dict[str, Callable[[dict[str, Any]], None]] = {
    "build": _show_builds,
    "search": _show_searches,
    "single": _show_single,
    "threads over one": _show_threads,
    "impacts": _show_impacts,
}


def _rate(spread: Spread) -> str:
    return f"{spread.median:,.0f} ({spread.least:,.0f}-{spread.most:,.0f})"


def _ratio(spread: Spread | None) -> str:
    return f"{spread.median:.2f} × ({spread.least:.2f}-{spread.most:.2f})" if spread else ""


def _judged(ratio: Spread | None, goal: float | None) -> str:
    return f">= {goal:g} ×: {_met(ratio.median >= goal)}" if ratio and goal else ""


def _met(whether: bool) -> str:
    return "met" if whether else "missed"

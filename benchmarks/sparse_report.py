"""The tables of the sparse benchmark."""

from collections.abc import Sequence
from typing import Any

from tables import mb, named, spread

from retrieval.cli.console import print_table


def show(result: dict[str, Any], goals: Sequence[str]) -> None:
    """Builds, then searches at each recall."""
    documents, queries, entries = result["documents"], result["queries"], result["entries"]
    print(f"\n{documents:,} documents of {entries / documents:.0f} entries, {queries:,} queries, k 10, one thread")
    print("a ratio is their time over that of the faster of ours: median (least-most)\n")
    _show_builds(result)
    _show_searches(result, goals)
    for name, reason in result["absent"].items():
        print(f"{name} could not run: {reason}")
    for name, about in result["engines"].items():
        versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
        print(f"{name}: {'; '.join(filter(None, [versions, about['note']]))}")


def _show_builds(result: dict[str, Any]) -> None:
    rows = [
        [name, named(build["parameters"]), f"{build['seconds']:,.1f}", *(mb(build[key]) for key in ("peak", "size"))]
        for name, about in result["engines"].items()
        for build in about["builds"]
    ]
    print_table(["build", "with", "seconds", "peak, MB", "index, MB"], rows)


def _show_searches(result: dict[str, Any], goals: Sequence[str]) -> None:
    rows = []
    for goal in goals:
        for name, about in result["engines"].items():
            best, found = about["best"][goal], about["figures"].get(goal)
            if not found:
                rows.append([goal, name, "not reached", "", "", "", ""])
                continue
            rows.append(
                [
                    *(goal, name, f"{found['queries/s']:,.0f}", f"{best['recall']:.4f}"),
                    spread(found["ratio"]),
                    mb(best["size"]),
                    "; ".join(filter(None, [named(best["build"]), named(best["parameters"])])),
                ]
            )
    print_table(["recall@10", "engine", "queries/s", "measured", "ratio", "index, MB", "with"], rows)
    single = [
        [name, f"{1e6 * about['p50']:,.0f}", f"{1e6 * about['p99']:,.0f}"]
        for name, about in result["engines"].items()
        if "p50" in about
    ]
    print_table(["one query at a time, recall .99", "p50, µs", "p99, µs"], single)

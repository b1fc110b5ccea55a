"""The tables of the dense benchmark."""

from collections.abc import Sequence
from typing import Any

from tables import mb, named, spread

from retrieval.cli.console import print_table

LAYER_GOAL = 1.05


def show(result: dict[str, Any], goals: Sequence[float]) -> None:
    """Builds, then searches at each recall, what was chosen, and what our layer costs."""
    documents, queries, real = (result[name] for name in ("documents", "queries", "real queries"))
    print(f"\n{documents:,} vectors resampled from {result['real documents']:,} real ones; ", end="")
    print(f"{queries:,} queries, {real:,} of them real; k 10; a search on one thread, a build on {result['threads']}")
    for goal, name in result["reference"].items():
        print(f"recall@10 {goal}: a ratio is their time over that of {name}: median (least-most)")
    _show_builds(result)
    _show_searches(result, goals)
    _show_auto(result)
    _show_layer(result)
    for name, reason in result["absent"].items():
        print(f"{name} could not run: {reason}")
    for name, about in result["engines"].items():
        versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
        print(f"{name}: {'; '.join(filter(None, [versions, about['note']]))}")


def _show_builds(result: dict[str, Any]) -> None:
    rows = [
        [
            *(name, named(build["parameters"]), f"{build['seconds']:,.1f}"),
            *(mb(build[key]) for key in ("peak", "size", "searching")),
            f"{build['opened']:,.2f}",
            f"{max(swept['recall'] for swept in build['swept']):.4f}",
        ]
        for name, about in result["engines"].items()
        for build in about["builds"]
    ]
    sizes = ["peak, MB", "index, MB", "searching, MB"]
    print_table(["build", "with", "seconds", *sizes, "opened in, s", "most recall"], rows)


def _show_searches(result: dict[str, Any], goals: Sequence[float]) -> None:
    rows = []
    for goal in map(str, goals):
        for name, about in result["engines"].items():
            best, found = about["best"].get(goal), about["figures"].get(goal)
            if not (best and found):
                rows.append([goal, name, "not reached", *[""] * 6])
                continue
            rows.append(
                [
                    *(goal, name, f"{found['queries/s']:,.0f}", spread(found["ratio"]), f"{best['recall']:.4f}"),
                    *(_micro(found[part]) for part in ("p50", "p99")),
                    mb(best["size"]),
                    "; ".join(filter(None, [named(best["build"]), named(best["parameters"])])),
                ]
            )
    single = ["one query, p50, µs", "p99, µs"]
    print_table(["recall@10", "engine", "queries/s", "ratio", "measured", *single, "index, MB", "with"], rows)


def _show_auto(result: dict[str, Any]) -> None:
    """What an engine that is asked for a recall chose, and whether it reaches it on queries that it has not seen."""
    rows = []
    for name, about in result["engines"].items():
        for build in (build for build in about["builds"] if "recall" in build["parameters"]):
            asked, measured = build["parameters"]["recall"], build["swept"][0]
            parts = [measured[part] for part in ("recall", "real", "resampled")]
            shown = ["" if part is None else f"{part:.4f}" for part in parts]
            rows.append([name, f"{asked:g}", *shown, _met(measured["recall"] >= asked), build["chosen"]])
    if rows:
        print_table(["chosen for a recall", "asked", "all queries", "real", "resampled", "", "chosen"], rows)


def _show_layer(result: dict[str, Any]) -> None:
    rows = []
    for name, one in result["layer"].items():
        ours, plain = one["single"]
        rows.append(
            [
                *(name, spread(one["ratio"]), _met(one["ratio"]["median"] <= LAYER_GOAL)),
                *(f"{_micro(ours[part])} / {_micro(plain[part])}" for part in ("p50", "p99")),
                *(f"{one[kind]:.4f}" for kind in ("recall", "plain recall")),
                "; ".join(filter(None, [named(one["parameters"]), one["plain"]])),
            ]
        )
    if rows:
        columns = ["our layer", "batch, ratio", f"<= {LAYER_GOAL:g}", "one query, p50, µs, ours / plain", "p99, µs"]
        print_table([*columns, "recall", "plain", "with"], rows, title="Ours over plain faiss, same index")


def _micro(seconds: float) -> str:
    return f"{1e6 * seconds:,.0f}"


def _met(whether: bool) -> str:
    return "met" if whether else "missed"

"""The tables of the training benchmark."""

from typing import Any

from measuring import summary
from tables import mb, spread
from training_engines import OURS, PEER

from retrieval.cli.console import print_table


def show(report: dict[str, Any]) -> None:
    """A row for each case and side, then how the sides begin."""
    case = report["results"][0]["case"]
    told = {"no": "float32"}.get(case["precision"], case["precision"])
    print(f"\n{report['pairs']:,} pairs of SciFact with a negative each, texts of at most {case['tokens']} tokens")
    print(f"{case['model']} on {case['device']}, {told}, {report['threads']} threads")
    if report["cpu_time"]:
        print("seconds are the processor's, not the wall's")
    print("a ratio is the time of a step over that of ours: median (least-most)\n")
    rows = [
        _row(result["case"], name, about) for result in report["results"] for name, about in result["engines"].items()
    ]
    print_table(["batch", "trainer", "steps/s", "a step, s", "ratio", "peak, MB", "with the model alone"], rows)
    for result in report["results"]:
        _show_beginning(result)
    absent = {name: reason for result in report["results"] for name, reason in result["absent"].items()}
    for name, reason in absent.items():
        print(f"{name} could not run: {reason}")
    versions = report["results"][0]["engines"][OURS]["versions"]
    print(", ".join(f"{package} {version}" for package, version in versions.items()))
    print(f"\n{summary(report['machine'])}")


def _row(case: dict[str, Any], name: str, about: dict[str, Any]) -> list[str]:
    return [
        _batch(case),
        name,
        f"{about['steps/s']:.3f}",
        f"{about['seconds']:,.2f}",
        spread(about["ratio"]),
        mb(about["peak"]),
        mb(about["loaded"]),
    ]


def _show_beginning(result: dict[str, Any]) -> None:
    """Loss and gradient of the first pairs, which are the same: `training_task.agree` saw to that."""
    if PEER in result["engines"]:
        both = [result["engines"][name]["first"] for name in (OURS, PEER)]
        loss, gradient = (" and ".join(f"{first[what]:.6f}" for first in both) for what in ("loss", "gradient"))
        print(f"batch {_batch(result['case'])}: the same task: losses {loss}, norms of the gradient {gradient}")


def _batch(case: dict[str, Any]) -> str:
    return f"{case['batch']:,}{', cached' * case['cached']}"

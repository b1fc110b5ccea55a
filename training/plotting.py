"""The curves of a run, as a picture."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retrieval.errors import InputError, MissingExtraError
from retrieval.files import write_whole
from retrieval.training.log import read_log

__all__ = ["needs_matplotlib", "plot_log"]

# Of an exponential mean, beside the losses themselves.
_SMOOTHED = 0.8
_INK, _FAINT, _ACCENT = "#1b2a41", "#9fb3c8", "#c8553d"


def needs_matplotlib() -> None:
    """An error that says how to install it, where it is not."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots", "plots") from error


def plot_log(log: Path, out: Path, *, title: str = "") -> None:
    """Write a picture (.png, .svg or .pdf) of a log's loss, dev scores and learning rate over steps.

    Raises:
        InputError: the log holds no step.
        MissingExtraError: matplotlib is not installed.
    """
    needs_matplotlib()
    from matplotlib.figure import Figure

    lines = list(read_log(log))
    steps = [line for line in lines if "loss" in line]
    judged = [line for line in lines if "dev" in line]
    if not steps:
        raise InputError(f"{log}: holds no step to plot")
    figure = Figure(figsize=(8, 3 if not judged else 5.5), layout="constrained")
    axes = figure.subplots(2 if judged else 1, 1, sharex=True, squeeze=False)[:, 0]
    _losses(axes[0], steps)
    if judged:
        _scores(axes[1], judged)
    axes[-1].set_xlabel("step")
    figure.suptitle(title, x=0.01, ha="left", color=_INK)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format=out.suffix[1:] or "png")
    write_whole(out, picture.getvalue())


def _losses(axis: Any, steps: Sequence[Mapping[str, float]]) -> None:
    at, losses = [line["step"] for line in steps], [line["loss"] for line in steps]
    axis.plot(at, losses, color=_FAINT, linewidth=1)
    axis.plot(at, _smooth(losses), color=_INK, linewidth=1.8, label="loss")
    axis.set_ylabel("loss")
    rate = axis.twinx()
    rate.plot(at, [line["lr"] for line in steps], color=_ACCENT, linewidth=1, linestyle=":")
    rate.set_ylabel("learning rate", color=_ACCENT)
    rate.spines["top"].set_visible(False)
    _plain(axis)


def _scores(axis: Any, judged: Sequence[Mapping[str, float]]) -> None:
    at, scores = [line["step"] for line in judged], [line["dev"] for line in judged]
    best = max(range(len(scores)), key=scores.__getitem__)
    axis.plot(at, scores, color=_INK, linewidth=1.8, marker="o", markersize=4)
    axis.plot(at[best], scores[best], color=_ACCENT, marker="o", markersize=7)
    axis.annotate(f"{scores[best]:.4f}", (at[best], scores[best]), xytext=(8, 6), textcoords="offset points")
    axis.set_ylabel("nDCG@10 on dev data")
    _plain(axis)


def _plain(axis: Any) -> None:
    axis.spines["top"].set_visible(False)
    axis.grid(axis="y", color="#e6ebf0", linewidth=0.8)
    axis.set_axisbelow(True)


def _smooth(values: Sequence[float]) -> list[float]:
    """An exponential mean that starts at the first value."""
    found = [values[0]]
    for value in values[1:]:
        found.append(_SMOOTHED * found[-1] + (1 - _SMOOTHED) * value)
    return found

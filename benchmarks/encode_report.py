"""The tables of the encoding benchmark."""

from typing import Any

from measuring import summary

from retrieval.cli.console import print_table


def show(report: dict[str, Any]) -> None:
    """Rates and ratios, then quality where it was measured."""
    mean = report["tokens"] / report["documents"]
    print(f"\n{report['documents']:,} documents of {mean:.0f} tokens on average, {report['threads']} threads")
    if report["cpu_time"]:
        print("seconds are the processor's, not the wall's")
    print("a ratio is sentence-transformers' time over the engine's: median (least-most)\n")
    rows = [_row(name, about) for name, about in report["engines"].items()]
    columns = ["engine", "documents/s", "tokens/s", "ratio", "GFLOP/s", "of gemm", "of theory", "peak, MB", "load, s"]
    print_table(columns, rows)
    reached = " and ".join(f"{rate / 1e9:,.0f} in {name}" for name, rate in report["gemm"].items())
    peaks = [f"a product of matrices reaches {reached} GFLOP/s"]
    if report["theory"]:
        peaks.append(f"clock and width allow {report['theory'] / 1e9:,.0f} in fp32")
    print("; ".join(peaks))
    quality = [
        [name, *(f"{value:.4f}" for value in about["ndcg"].values())]
        for name, about in report["engines"].items()
        if "ndcg" in about
    ]
    if quality:
        print_table(
            ["nDCG@10", *next(about["ndcg"] for about in report["engines"].values() if "ndcg" in about)], quality
        )
    for name, about in report["engines"].items():
        if "calibration" in about:
            print(f"{name}: calibrated in {about['calibration']:.0f} s")
    for name, reason in report["absent"].items():
        print(f"{name} could not run: {reason}")
    print(f"\n{summary(report['machine'])}")


def _row(name: str, about: dict[str, Any]) -> list[str]:
    ratio, theory = about["ratio"], about["share of theory"]
    return [
        name,
        f"{about['documents/s']:,.1f}",
        f"{about['tokens/s']:,.0f}",
        f"{ratio['median']:.2f} ({ratio['least']:.2f}-{ratio['most']:.2f})",
        f"{about['flops'] / 1e9:,.1f}",
        f"{100 * about['share']:.0f} %",
        f"{100 * theory:.0f} %" if theory else "",
        f"{about['peak'] / 1e6:,.0f}",
        f"{about['load']:.1f}",
    ]

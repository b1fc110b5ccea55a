"""What commands of `retrieval eval` show of results."""

from collections.abc import Sequence

from retrieval.beir_eval.datasets import Collection
from retrieval.beir_eval.evaluation import SystemResult
from retrieval.beir_eval.wording import counted
from retrieval.cli.console import print_table

__all__ = ["show_results"]


def show_results(collection: Collection, results: Sequence[SystemResult]) -> None:
    """The table of systems by measures, with their speed where they were run here."""
    rows = [[result.name, *(f"{value:.4f}" for value in result.measures.values())] for result in results]
    columns = ["system", *results[0].measures]
    if all("queries_per_second" in result.cost for result in results):
        columns.append("queries/s")
        rows = [[*row, f"{result.cost['queries_per_second']:,.0f}"] for row, result in zip(rows, results, strict=True)]
    title = f"{collection.name} {collection.split}: {counted(len(collection.queries), 'query')}"
    print_table(columns, rows, title=title)

"""`retrieval eval score`, `export` and `import`: runs and results that others made, and ours for others."""

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from retrieval.beir_eval.datasets import check_fit, load_collection, query_ids
from retrieval.beir_eval.evaluation import write_results
from retrieval.beir_eval.exchange import MTEB_TASKS, from_mteb, read_checked, score_run, to_mteb
from retrieval.beir_eval.measures import parse_measures
from retrieval.beir_eval.results import RESULTS, read_results
from retrieval.cli.console import print_json, say
from retrieval.cli.evaluate.options import (
    USUAL_MEASURES,
    KeepSelfOption,
    MeasuresOption,
    RunErrorOption,
    SplitOption,
    split_measures,
)
from retrieval.cli.evaluate.output import show_results
from retrieval.cli.options import (
    DeviceOption,
    JsonOption,
    OnErrorName,
)
from retrieval.cli.reranking import (
    RerankDepthOption,
    RerankOption,
    RerankPrecisionOption,
    RerankWeightOption,
    make_reranking,
)
from retrieval.corpus import read_documents
from retrieval.describing import machine
from retrieval.errors import InputError
from retrieval.evaluating.given_runs import contents_of, score_reranked
from retrieval.files import write_whole

__all__ = ["export_results", "import_results", "score"]


class RunTiesName(StrEnum):
    DESCENDING = "descending"
    ASCENDING = "ascending"
    LISTED = "listed"


def score(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder in BEIR's layout.")],
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="TREC runs, each a system.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results.json and the measured runs go.")],
    split: SplitOption = "test",
    measures: MeasuresOption = USUAL_MEASURES,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits per query that count.")] = 1000,
    keep_self: KeepSelfOption = False,
    ties: Annotated[
        RunTiesName,
        typer.Option(help="Equal scores by id, descending as trec_eval, ascending as Anserini, or as RUN lists them."),
    ] = RunTiesName.DESCENDING,
    on_error: RunErrorOption = OnErrorName.STOP,
    rerank: RerankOption = None,
    rerank_depth: RerankDepthOption = None,
    rerank_weight: RerankWeightOption = None,
    rerank_precision: RerankPrecisionOption = None,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Measure TREC runs that any system wrote, as if it had been run here; and what a reranker makes of each."""
    if twice := [name for name, count in Counter(path.stem for path in runs).items() if count > 1]:
        raise InputError(f"two runs are called {twice[0]!r}: a system is called by its file's name")
    parsed = parse_measures(split_measures(measures))
    collection = load_collection(data, split, on_error=on_error.value)
    ids = [document.id for document in read_documents(data)]
    read, problems = read_checked(runs, query_ids(data), ids, on_error=on_error.value)
    fit = check_fit(collection, ids)
    collection.problems.extend([*fit.notes(keep_self=keep_self), *problems])
    for problem in collection.problems:
        say(f"note: {problem}")
    without_own = bool(fit.own) and not keep_self
    results = [
        score_run(path, run, collection, parsed, k=k, without_own=without_own, ties=ties.value)
        for path, run in zip(runs, read, strict=True)
    ]
    if how := make_reranking(rerank, rerank_depth, None, device, rerank_precision, weight=rerank_weight):
        contents = contents_of(data, read)
        results += [
            score_reranked(result, run, contents, how, collection, parsed)
            for result, run in zip(results, read, strict=True)
        ]
    content = write_results(out, collection, results, machine())
    say(f"{out}: {RESULTS} and a run of {', '.join(result.name for result in results)}")
    if json:
        print_json(content)
    else:
        show_results(collection, results)


def export_results(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders with a results.json.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where they go: SYSTEM/TASK.json.")],
) -> None:
    """Write results as MTEB's JSON; a folder of results holds its runs as TREC files already."""
    for folder in folders:
        results = read_results(folder)
        for system in results.systems:
            name = system.name.replace("/", "__")  # as MTEB calls a model's folder
            path = out / name / f"{MTEB_TASKS.get(results.dataset, results.dataset)}.json"
            if path.exists():
                raise InputError(f"{path} is there already", hint="name another --out")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, orjson.dumps(to_mteb(results, system), option=orjson.OPT_INDENT_2) + b"\n")
            say(str(path))


def import_results(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="MTEB's result files of one task.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results.json goes.")],
    split: SplitOption = "test",
) -> None:
    """Make results of MTEB's JSON, such as those of its results repository: means, without values of queries."""
    if (out / RESULTS).exists():
        raise InputError(f"{out / RESULTS} is there already", hint="name another --out")
    results = from_mteb(files, split)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / RESULTS, orjson.dumps(results.model_dump(), option=orjson.OPT_INDENT_2) + b"\n")
    say(f"{out / RESULTS}: {results.dataset} by {', '.join(system.name for system in results.systems)}")

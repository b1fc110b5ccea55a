"""Our measures of a run beside those of pytrec_eval and of the beir package's evaluator: the largest difference.

    python benchmarks/agreement.py FOLDER RUN... [--split test]

FOLDER is a collection in BEIR's layout, RUN a TREC run. beir needs `pip install --no-deps beir`; without it, its column
stays empty. It rounds means to five digits, and takes them over the queries that the run answers, where trec_eval -c,
and so we, count the others as 0: here our values are put together in its way. A query's own document is left to us.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import pytrec_eval

from retrieval.beir_eval.datasets import load_collection
from retrieval.beir_eval.measures import measure, parse_measures
from retrieval.beir_eval.runs import ranked, read_run
from retrieval.cli.console import print_table

Qrels = Mapping[str, Mapping[str, int]]
Run = dict[str, dict[str, float]]

# Ours → pytrec_eval's, and which of beir's four groups it is in, under which name.
MEASURES = {
    "nDCG@10": ("ndcg_cut_10", 0, "NDCG@10"),
    "nDCG@100": ("ndcg_cut_100", 0, "NDCG@100"),
    "AP@100": ("map_cut_100", 1, "MAP@100"),
    "R@100": ("recall_100", 2, "Recall@100"),
    "P@10": ("P_10", 3, "P@10"),
}


def of_pytrec_eval(qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    """Query → our name → value."""
    names = {name for name, _, _ in MEASURES.values()}
    found = pytrec_eval.RelevanceEvaluator({query: dict(of) for query, of in qrels.items()}, names).evaluate(run)
    return {
        query: {ours: found.get(query, {}).get(name, 0.0) for ours, (name, _, _) in MEASURES.items()} for query in qrels
    }


def of_beir(qrels: Qrels, run: Run) -> dict[str, float] | None:
    """Our name → mean, which beir rounds to five digits; None where it is not installed."""
    try:
        from beir.retrieval.evaluation import EvaluateRetrieval
    except ImportError:
        return None
    judged = {query: dict(of) for query, of in qrels.items()}
    groups = EvaluateRetrieval.evaluate(judged, run, [10, 100], ignore_identical_ids=False)
    return {ours: groups[group][name] for ours, (_, group, name) in MEASURES.items()}


def main() -> None:
    """Print the largest differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    qrels = load_collection(options.folder, options.split).qrels
    rows = []
    for path in options.runs:
        run = {query: dict(ranked(hits, k=len(hits))) for query, hits in read_run(path, qrels).items()}
        _, per_query = measure(qrels, run, parse_measures(MEASURES))
        theirs = of_pytrec_eval(qrels, run)
        of_queries = max(
            abs(per_query[query][name] - value) for query, of in theirs.items() for name, value in of.items()
        )
        beir = of_beir(qrels, run)
        ours = {name: round(fmean(per_query[query][name] for query in run), 5) for name in MEASURES}
        of_means = "" if beir is None else f"{max(abs(ours[name] - value) for name, value in beir.items()):.1e}"
        rows.append([path.name, str(len(qrels)), str(len(run)), f"{of_queries:.1e}", of_means])
    print_table(["run", "queries", "answered", "pytrec_eval, a query's", "beir, rounded means"], rows)


if __name__ == "__main__":
    main()

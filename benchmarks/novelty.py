"""Does a reranker put what says the same twice in its place? Near-duplicates planted among candidates, and α-nDCG@10.

    python benchmarks/novelty.py plant --data ../shared/data/trec-dl-v1-pool --split dl19 --least 2 --out novel
    python benchmarks/novelty.py plant --lists questions.jsonl --split train --out learn
    python benchmarks/novelty.py measure --data novel --split dl19 --model pointwise=FOLDER --model novel=FOLDER

`plant` writes a folder in BEIR's layout of a run's candidates. The first relevant ones of each query and as many of the
first others get copies, which lightly differ in their words and stand behind them in `run.trec`. All other candidates
are edited as lightly, so that a model tells a copy by what it is like, not by its edits, and having copies says little
of relevance. A relevant passage and its copies are a sub-topic (`subtopics.qrels`, as TREC's diversity tasks write
them), and each other relevant passage is one by itself. Copies are not judged in `qrels/`, so that training may draw
them as negatives, which the sub-topics then tell apart:

    retrieval train set-encoder learn --split train --model MODEL --out DIR --negatives learn/run.trec
        --negatives-depth 200 --negatives-per-query 63 --batch 4 --teacher-run learn/run.trec --softmax 0 --duplicate 0
        --rank-net 1 --novelty 1 --subtopics learn/subtopics.qrels

With `--lists` the candidates are those of training data with a teacher's scores, as `questions.py` writes it: any may
get copies, which score as much in `run.trec` and are a sub-topic with it, and nothing need be judged.

`measure` reranks all candidates with each model (with `--alone` passage by passage, as if each were the only one) and
prints α-nDCG@10 (alpha .5), nDCG@10, in which a copy counts as much as what it was made of, how many of the first ten
say what a passage above them says, and milliseconds for a query. Both measures are of the best order of these
candidates: what the run did not find is not missed. It trains nothing.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from diversity import alpha_ndcg, edited, planted
from measuring import machine, summary
from reading import texts_of

from retrieval.beir_eval.datasets import Collection, load_collection
from retrieval.beir_eval.measures import measure, parse_measures
from retrieval.beir_eval.runs import Run, format_run
from retrieval.cli.console import print_table, say
from retrieval.protocols import Reranker
from retrieval.rerank.loading import load_reranker
from retrieval.training.negatives import read_run
from retrieval.training.subtopics import Subtopics, read_subtopics

SUBTOPICS, RUN = "subtopics.qrels", "run.trec"
_HEADER = "query-id\tcorpus-id\tscore\n"
_FIRST = 10
_COPY = "~"  # as `planted` names copies: QUERY~DOCUMENT~NUMBER


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, or other words, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    plant = commands.add_parser("plant", help="write candidates with near-duplicates")
    given = plant.add_mutually_exclusive_group(required=True)
    given.add_argument("--data", type=Path, metavar="FOLDER", help="in BEIR's layout")
    given.add_argument("--lists", type=Path, metavar="FILE", help="or JSONL of queries, passages and scores")
    plant.add_argument("--split", default="dl19")
    plant.add_argument("--run", type=Path, metavar="FILE", help="TREC run; without it runs/SPLIT.BM25.trec")
    plant.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="must not exist")
    plant.add_argument("--depth", type=int, default=100, metavar="N", help="candidates of each query")
    plant.add_argument("--least", type=int, default=1, metavar="GRADE", help="of a relevant passage")
    plant.add_argument("--sources", type=int, default=5, metavar="N", help="relevant ones that get copies, and others")
    plant.add_argument("--copies", type=int, default=2, metavar="N", help="of each")
    plant.add_argument("--edits", type=float, default=0.1, metavar="SHARE", help="of each passage's words")
    plant.add_argument("--seed", type=int, default=0)
    against = commands.add_parser("measure", help="rerank them with models")
    against.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="what `plant` wrote")
    against.add_argument("--split", default="dl19")
    against.add_argument("--model", action="append", default=[], metavar="[NAME=]MODEL", help="repeatable")
    against.add_argument("--alone", action="append", default=[], metavar="[NAME=]MODEL", help="passages one by one")
    against.add_argument("--precision", help="of the models")
    against.add_argument("--json", type=Path, metavar="FILE", help="write all figures, of each query too")
    options = parser.parse_args(words)
    if options.command == "plant" and options.out.exists():
        parser.error(f"{options.out} stands there already")
    return options


@dataclass(frozen=True)
class Candidates:
    """Queries by id, each one's passages with scores, the relevant ones, those that get copies, texts, judgements."""

    queries: dict[str, str]
    run: dict[str, dict[str, float]]
    relevant: dict[str, list[str]]
    sources: dict[str, list[str]]
    texts: dict[str, str]
    qrels: dict[str, dict[str, int]]


def of_folder(options: argparse.Namespace) -> Candidates:
    """The first of a run of a collection; the first that are judged relevant get copies, and of the others."""
    collection = load_collection(options.data, options.split, on_error="skip")
    found = read_run(options.run or options.data / "runs" / f"{options.split}.BM25.trec", collection.qrels)
    run = {query.id: dict(list(found.get(query.id, {}).items())[: options.depth]) for query in collection.queries}
    if marked := sorted(one for hits in run.values() for one in hits if _COPY in one):
        sys.exit(f"{options.data}: {marked[0]}: ids with {_COPY} are those of copies here")
    relevant = {
        query: [one for one in hits if collection.qrels[query].get(one, 0) >= options.least]
        for query, hits in run.items()
    }
    others = {query: [one for one in hits if one not in relevant[query]] for query, hits in run.items()}
    return Candidates(
        queries={query.id: query.text for query in collection.queries},
        run=run,
        relevant=relevant,
        sources={query: relevant[query][: options.sources] + others[query][: options.sources] for query in run},
        texts=texts_of(options.data, run),
        qrels={query: dict(grades) for query, grades in collection.qrels.items()},
    )


def of_lists(options: argparse.Namespace, random: np.random.Generator) -> Candidates:
    """Of training data; those that get copies stand for the relevant ones."""
    made = Candidates({}, {}, {}, {}, {}, {})
    ids: dict[str, str] = {}
    for number, line in enumerate(options.lists.read_bytes().splitlines()):
        one, query = orjson.loads(line), f"q{number}"
        scores = zip((*one["pos"], *one["neg"]), (*one["pos_scores"], *one["neg_scores"]), strict=True)
        ranked = sorted(scores, key=lambda pair: -pair[1])[: options.depth]
        made.queries[query] = one["query"]
        made.run[query] = {ids.setdefault(text, f"p{len(ids)}"): score for text, score in ranked}
        own = list(made.run[query])
        drawn = random.choice(len(own), min(2 * options.sources, len(own)), replace=False)
        made.sources[query] = made.relevant[query] = [own[place] for place in sorted(drawn.tolist())]
        made.qrels[query] = {own[0]: 1}
    made.texts.update({id_: text for text, id_ in ids.items()})
    return made


def write_planted(options: argparse.Namespace) -> str:
    """The folder that `plant` makes; what it holds, in a line."""
    random = np.random.default_rng(options.seed)
    given = of_lists(options, random) if options.lists else of_folder(options)
    texts = {id_: edited(text, random, options.edits) for id_, text in given.texts.items()}
    made: dict[str, dict[str, float]] = {}
    lines, copies = [], 0
    for query, hits in given.run.items():
        # The copies are this query's own: of a passage that two queries get, each edits another.
        ranked, of = planted(list(hits), given.sources[query], copies=options.copies)
        names = {copy: f"{query}{_COPY}{copy}" for copy in of}
        texts |= {names[copy]: edited(given.texts[one], random, options.edits) for copy, one in of.items()}
        made[query] = {
            names.get(one, one): hits[of.get(one, one)] if options.lists else float(len(ranked) - rank)
            for rank, one in enumerate(ranked)
        }
        members = {one: one for one in given.relevant[query]}
        members |= {names[copy]: one for copy, one in of.items() if one in members}
        lines += [f"{query} {subtopic} {document} 1\n" for document, subtopic in members.items()]
        copies += len(of)
    _write(options, given, made, texts, lines)
    return f"{options.out}: {copies} copies among {sum(map(len, made.values()))} candidates of {len(made)} queries"


def _write(
    options: argparse.Namespace, given: Candidates, run: Run, texts: Mapping[str, str], lines: Sequence[str]
) -> None:
    (options.out / "qrels").mkdir(parents=True)
    there = {document for hits in run.values() for document in hits}
    corpus = [{"_id": id_, "title": "", "text": text} for id_, text in texts.items() if id_ in there]
    queries = [{"_id": id_, "text": text} for id_, text in given.queries.items()]
    for name, records in (("corpus", corpus), ("queries", queries)):
        (options.out / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in records))
    judged = [
        f"{query}\t{document}\t{grade}\n"
        for query, grades in given.qrels.items()
        for document, grade in grades.items()
        if document in run.get(query, ())
    ]
    (options.out / "qrels" / f"{options.split}.tsv").write_text(_HEADER + "".join(judged))
    (options.out / RUN).write_text(format_run(run, "planted"))
    (options.out / SUBTOPICS).write_text("".join(lines))


def source_of(document: str) -> str:
    """What a copy was made of, by the id that `plant` gave it; what is no copy itself."""
    return document.rsplit(_COPY, 2)[-2] if _COPY in document else document


def values_of(run: Run, subtopics: Subtopics, collection: Collection) -> dict[str, dict[str, float]]:
    """Query → measure → value."""
    qrels = {query: dict(grades) for query, grades in collection.qrels.items()}
    for query in qrels.keys() & run.keys():
        qrels[query] |= {one: qrels[query].get(source_of(one), 0) for one in run[query]}
    ndcg = measure(qrels, run, parse_measures(["nDCG@10"]))[1]
    return {
        query: {
            "alpha-nDCG@10": alpha_ndcg(list(hits), subtopics.get(query, {}), k=_FIRST),
            "nDCG@10": ndcg[query].get("nDCG@10", 0.0),
            "repeats@10": float(len(first := list(hits)[:_FIRST]) - len(set(map(source_of, first)))),
        }
        for query, hits in run.items()
        if query in qrels
    }


def reranked(reranker: Reranker, run: Run, asked: Mapping[str, str], texts: Mapping[str, str], *, alone: bool) -> Run:
    """All candidates of each query in the order of a model; of equal ones, as copies may be, the first first.

    `alone` scores each passage in a set of its own, which shows what of a set-encoder's order needs no other passage.
    """
    found = {}
    for query, hits in run.items():
        passages = [texts[document] for document in hits]
        lists = [[passage] for passage in passages] if alone else [passages]
        scores = np.concatenate(reranker.score_lists([asked[query]] * len(lists), lists))
        order = np.argsort(-scores, kind="stable")
        found[query] = {list(hits)[place]: float(len(order) - rank) for rank, place in enumerate(order.tolist())}
    return found


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """The run and each model's order of it."""
    collection = load_collection(options.data, options.split)
    subtopics = read_subtopics(options.data / SUBTOPICS)
    run = read_run(options.data / RUN, collection.qrels)
    texts, asked = texts_of(options.data, run), {query.id: query.text for query in collection.queries}
    systems: dict[str, Any] = {"the run": {"queries": values_of(run, subtopics, collection), "ms": 0.0}}
    for given, alone in [*((one, False) for one in options.model), *((one, True) for one in options.alone)]:
        name, _, model = given.rpartition("=")
        reranker = load_reranker(model, precision=options.precision)
        begun = time.perf_counter()
        made = reranked(reranker, run, asked, texts, alone=alone)
        ms = 1000 * (time.perf_counter() - begun) / len(made)
        systems[name or model] = {"model": model, "queries": values_of(made, subtopics, collection), "ms": ms}
        say(f"{name or model}: done")
    return {"machine": machine(), "argv": sys.argv, "systems": systems}


def show(report: Mapping[str, Any]) -> None:
    """Means over queries."""
    first = next(iter(report["systems"].values()))["queries"]
    names = list(next(iter(first.values())))
    rows = []
    for name, about in report["systems"].items():
        means = [np.mean([values[one] for values in about["queries"].values()]) for one in names]
        rows.append([name, *(f"{value:.4f}" for value in means), f"{about['ms']:,.0f}"])
    print_table(["system", *names, "ms/query"], rows, title=f"{len(first)} queries")
    print(f"\n{summary(report['machine'])}")


def main() -> int:
    """Plant, or measure and print."""
    options = parse()
    if options.command == "plant":
        say(write_planted(options))
        return 0
    report = measure_all(options)
    if options.json:
        options.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())

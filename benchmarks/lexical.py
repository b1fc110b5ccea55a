"""Lexical build and search beside other engines on the same texts, in one run, as ratios.

    python benchmarks/lexical.py [--data FOLDER ...] [--synthetic N] [--peers bm25s,lucene,pisa,tantivy]
                                 [--only build,search,single,threads,impacts] [--rounds 5] [--threads 1] [--json FILE]
    python benchmarks/lexical.py --rehearsal

Without a collection it takes those of ../shared/data that are there. `--synthetic` makes one of documents resampled
from real ones, see `synthetic.py`; `--rehearsal` is ours alone on as many as MS MARCO has.

- Each engine works in a process of its own that may use as many cores as threads (`processes.py`); only
  one works at a time, ours and a peer in turns. A ratio is the median over rounds of their time over ours, with the
  least and the most. A peer that cannot run is named with the reason.
- build: from the collection's corpus.jsonl to an index on disk, in a fresh process for each. Packages are imported,
  kernels compiled and up to 20,000 documents built before the clock starts. The peak of memory is the process'.
- search: indexes are opened from disk, and each engine searches until it is warm. Then a batch of all queries, repeated
  up to a thousand, goes in as texts. What comes out is what the engine gives: document numbers and scores in arrays
  (ours and bm25s), documents with ids (Lucene in Java, PISA in a DataFrame), addresses (Tantivy).
- A batch holds the words that earlier rounds had: ours looks each word up once in a process, bm25s in every batch.
- single: one query at a time, text in, ids and scores out as Python objects, for every engine.
- threads: ours with two threads over ours with one.
- impacts: exact impacts beside those of 8 and 16 bits: size, speed, and nDCG@10 on the test split.

The answers of ours and bm25s, which score alike, are compared for every query; where one differs, the exit status is 1.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson
from lexical_engines import ENGINES, OURS, PEERS
from lexical_sections import SECTIONS, Bench, build_missing
from measuring import machine, summary

SHARED = Path(__file__).parents[2] / "shared" / "data"
COLLECTIONS = ("scifact", "nfcorpus", "trec-dl-v1-pool")
MADE = Path(__file__).parents[1] / "build" / "synthetic"
MSMARCO = 8_841_823  # passages

# `threads` in a result is how many each engine may use.
_KEYS = {"threads": "threads over one"}


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", metavar="FOLDER", help="collections in BEIR's layout")
    parser.add_argument(
        "--synthetic", type=int, metavar="N", help="also a collection of N documents, made of real ones"
    )
    parser.add_argument("--from", type=Path, nargs="+", dest="sources", metavar="FOLDER", help="made of these")
    parser.add_argument("--words", type=int, default=56, help="in a synthetic document, on average")
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic collection")
    parser.add_argument("--rehearsal", action="store_true", help=f"--synthetic {MSMARCO}, ours alone, one round")
    parser.add_argument("--peers", type=_names(PEERS), default=list(PEERS), help=",".join(PEERS) + "; or none")
    parser.add_argument("--only", type=_names(tuple(SECTIONS)), help="sections: " + ",".join(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="for every engine")
    parser.add_argument(
        "--limit", type=float, default=600.0, help="seconds after which a section begins no more rounds"
    )
    parser.add_argument("--work", type=Path, help="where a folder for indexes is made")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and versions")
    options = parser.parse_args()
    if options.rehearsal:
        options.synthetic, options.peers, options.rounds = options.synthetic or MSMARCO, [], 1
        options.only = options.only or ["build", "search", "single"]
    options.only = options.only or list(SECTIONS)
    there = [SHARED / name for name in COLLECTIONS if (SHARED / name).is_dir()]
    options.sources = options.sources or there
    options.data = options.data or ([] if options.synthetic else there)
    if not options.data and not options.synthetic:
        parser.error(f"no collection in BEIR's layout below {SHARED}; name one with --data")
    for folder in [*options.data, *(options.sources if options.synthetic else [])]:
        if not ((folder / "corpus.jsonl").is_file() and (folder / "queries.jsonl").is_file()):
            parser.error(f"no collection in BEIR's layout at {folder}: it takes corpus.jsonl and queries.jsonl")
    if options.synthetic and not options.sources:
        parser.error("--synthetic takes real documents: name their folders with --from")
    if min(options.rounds, options.threads) < 1:
        parser.error("--rounds and --threads are at least 1")
    return options


def _names(known: tuple[str, ...]) -> Any:
    """A parser of names between commas."""

    def names(text: str) -> list[str]:
        found = [] if text == "none" else text.split(",")
        unknown = [name for name in found if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(known)}")
        return found

    return names


def measure(data: Path, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Every section that is asked for, on one collection; each is shown when it is there."""
    from lexical_report import show_collection, show_engines, show_section

    corpus = data / "corpus.jsonl"
    bench = Bench(
        name=data.name,
        data=data,
        corpus=corpus,
        queries=[orjson.loads(line)["text"] for line in (data / "queries.jsonl").read_bytes().splitlines()],
        work=work,
        engines=[name for name in ENGINES if name == OURS or name in options.peers],
        threads=options.threads,
        rounds=options.rounds,
        limit=options.limit,
    )
    with corpus.open("rb") as lines:
        documents = sum(1 for _ in lines)
    result: dict[str, Any] = {
        "collection": {"name": bench.name, "documents": documents, "queries": len(bench.queries)},
        "threads": bench.threads,
        "rounds": bench.rounds,
    }
    show_collection(result)
    for section in options.only:
        if section != "build":
            build_missing(bench)
        key = _KEYS.get(section, section)
        result[key] = SECTIONS[section](bench)
        show_section(result, key)
    result |= {"engines": bench.about, "absent": bench.absent}
    show_engines(result)
    return result


def identical(result: dict[str, Any]) -> bool:
    """Whether bm25s gave the same answers, where it was asked."""
    found = [one["identity"] for one in result.get("search", {}).values() if "identity" in one]
    return all(one["same"] == one["queries"] for one in found)


def main() -> int:
    """Measure and print; 1 if an answer differs."""
    options = parse()
    folders = list(options.data)
    if options.synthetic:
        from synthetic import make

        folders.append(make(MADE, options.synthetic, options.sources, words=options.words, seed=options.seed))
    report: dict[str, Any] = {"machine": machine(), "command": sys.argv, "results": []}
    for folder in folders:
        work = Path(tempfile.mkdtemp(prefix="lexical-", dir=options.work))
        try:
            result = measure(folder, options, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        report["results"].append(result)
        if options.json:  # what has been measured is kept, whatever becomes of the rest
            options.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    print(f"\n{summary(report['machine'])}")
    return 0 if all(identical(result) for result in report["results"]) else 1


if __name__ == "__main__":
    sys.exit(main())

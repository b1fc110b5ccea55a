"""Training data without a judgement: titles of documents as queries, and what a search finds for them.

    python benchmarks/titles.py --index INDEX [--index ...] --out titles.jsonl

Half of the queries are whole titles, the others some words of one that stand together. What is relevant is the text of
the query's own document, without its title; of the others that the search finds, texts as well, any may be a negative.
All have the search's scores, for a teacher, which knows titles: so a document's own text stands far above the others.
A model that learns from this has read no judgement. docs/results.md says what it is good for.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import retrieval
from retrieval.cli.console import say

# Words of a title, of its parts, and characters of a text, at least; and of the parts at most.
_WORDS, _PART, _LONGEST, _CHARACTERS = 3, 2, 5, 100
_FOUND = 20  # documents that a query must find, at least
_AROUND = ".,:;()"


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, or other words, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, action="append", required=True, metavar="DIR", help="of whole documents")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSONL; must not exist")
    parser.add_argument("--depth", type=int, default=60, metavar="N", help="hits of a query that are kept")
    parser.add_argument("--seed", type=int, default=0, help="of the parts of titles")
    options = parser.parse_args(words)
    if options.out.exists():
        parser.error(f"{options.out} stands there already")
    return options


def query_of(title: str, generator: np.random.Generator) -> str:
    """The title, or as often some words of it."""
    words = title.split()
    if generator.random() < 0.5:
        return title
    count = int(generator.integers(_PART, min(_LONGEST, len(words)) + 1))
    start = int(generator.integers(len(words) - count + 1))
    return " ".join(words[start : start + count]).strip(_AROUND)


def lists(index: Path, depth: int, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Of each document with a title: query, its text, other texts, and all scores."""
    opened = retrieval.Index.open(index)
    documents = {int(ordinal): opened.documents[int(ordinal)] for ordinal in opened.documents.ordinals}
    known = {
        ordinal: query_of(one.title, generator)
        for ordinal, one in documents.items()
        if len(one.title.split()) >= _WORDS and len(one.text) >= _CHARACTERS
    }
    found = retrieval.Retriever(opened).search_batch(list(known.values()), depth)
    for (own, query), (ordinals, scores) in zip(known.items(), found.rows(), strict=True):
        said = dict(zip(ordinals.tolist(), scores.tolist(), strict=True))
        others = [o for o in said if len(documents[o].text) >= _CHARACTERS and documents[o].text != documents[own].text]
        if own in said and len(others) >= _FOUND:
            yield {
                "query": query,
                "pos": [documents[own].text],
                "neg": [documents[o].text for o in others],
                "pos_scores": [said[own]],
                "neg_scores": [said[o] for o in others],
            }


def main() -> int:
    """Write the file."""
    options = parse()
    generator = np.random.default_rng(options.seed)
    made = [one for index in options.index for one in lists(index, options.depth, generator)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in made))
    say(f"{options.out}: {len(made):,} queries, with {sum(len(one['neg']) for one in made):,} negatives")
    return 0


if __name__ == "__main__":
    sys.exit(main())

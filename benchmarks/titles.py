"""Training data without a judgement: titles of documents as queries, and what a search finds for them.

    python benchmarks/titles.py --index INDEX [--index ...] --out titles.jsonl [--using dense] [--documents 8000]

Half of the queries are whole titles, the others some words of one that stand together. What is relevant is the text of
the query's own document, without its title; of the others that the search finds, texts as well, any may be a negative.
All have the search's scores, for a teacher, which knows titles: so a document's own text stands far above the others.
A document without a title has its first sentence for one (Lee et al., "Latent retrieval for weakly supervised open
domain question answering", 2019, call it an inverse cloze task).
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
from retrieval.chunking import BySentences
from retrieval.cli.console import say
from retrieval.types import Document

# Words of a title, of its parts, and characters of a text, at least; and of the parts at most.
_WORDS, _PART, _LONGEST, _CHARACTERS = 3, 2, 5, 100
_FOUND = 20  # documents that a query must find, at least
_AROUND = ".,:;()"


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, or other words, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, action="append", required=True, metavar="DIR", help="of whole documents")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSONL; must not exist")
    parser.add_argument("--using", default="hybrid", help="what searches, and teaches")
    parser.add_argument("--documents", type=int, metavar="N", help="of an index, drawn at random; all by default")
    parser.add_argument("--depth", type=int, default=60, metavar="N", help="hits of a query that are kept")
    parser.add_argument("--seed", type=int, default=0, help="of the parts of titles")
    options = parser.parse_args(words)
    if options.out.exists():
        parser.error(f"{options.out} stands there already")
    return options


def parts_of(document: Document) -> tuple[str, str]:
    """Title and text; of a document without a title the first sentence and the rest."""
    if document.title:
        return document.title, document.text
    first, *_ = [*BySentences(size=1, overlap=0).spans(document.text), None]
    return (document.text[: first.end], document.text[first.end :].strip()) if first else ("", "")


def query_of(title: str, generator: np.random.Generator) -> str:
    """The title, or as often some words of it."""
    words = title.split()
    if generator.random() < 0.5:
        return title
    count = int(generator.integers(_PART, min(_LONGEST, len(words)) + 1))
    start = int(generator.integers(len(words) - count + 1))
    return " ".join(words[start : start + count]).strip(_AROUND)


def lists(
    index: Path, depth: int, generator: np.random.Generator, *, using: str, count: int | None = None
) -> Iterator[dict[str, Any]]:
    """Of each document with a title: query, its text, other texts, and all scores."""
    opened = retrieval.Index.open(index)
    documents = {int(ordinal): opened.documents[int(ordinal)] for ordinal in opened.documents.ordinals}
    parts = {ordinal: parts_of(one) for ordinal, one in documents.items()}
    asking = [o for o, (head, text) in parts.items() if len(head.split()) >= _WORDS and len(text) >= _CHARACTERS]
    if count is not None:
        asking = generator.permutation(asking)[:count].tolist()
    known = {ordinal: query_of(parts[ordinal][0], generator) for ordinal in asking}
    texts = {ordinal: one.text for ordinal, one in documents.items()}
    found = retrieval.Retriever(opened, using=using).search_batch(list(known.values()), depth)
    for (own, query), (ordinals, scores) in zip(known.items(), found.rows(), strict=True):
        said = dict(zip(ordinals.tolist(), scores.tolist(), strict=True))
        others = [o for o in said if len(texts[o]) >= _CHARACTERS and texts[o] != texts[own]]
        if own in said and len(others) >= _FOUND:
            yield {
                "query": query,
                "pos": [parts[own][1]],
                "neg": [texts[o] for o in others],
                "pos_scores": [said[own]],
                "neg_scores": [said[o] for o in others],
            }


def main() -> int:
    """Write the file."""
    options = parse()
    generator = np.random.default_rng(options.seed)
    how = {"using": options.using, "count": options.documents}
    made = [one for index in options.index for one in lists(index, options.depth, generator, **how)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in made))
    say(f"{options.out}: {len(made):,} queries, with {sum(len(one['neg']) for one in made):,} negatives")
    return 0


if __name__ == "__main__":
    sys.exit(main())

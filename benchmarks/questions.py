"""Training data without a judgement, from passages without titles: questions in them, and what a search finds for them.

    python benchmarks/questions.py --index INDEX --out questions.jsonl [--except queries.jsonl]

Queries are the questions that stand in passages, in lower case, and two to five words of passages that stand together.
Lists are the first hits of lexical and of dense search, and have dense search's scores for a teacher; where it did not
find a passage, the lowest of its scores. The first of them stands as the positive, though nobody judged it: this is for
a divergence from the teacher alone, `--softmax 0 --kl 1`. docs/results.md says what it is good for.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import retrieval
from retrieval.cli.console import say

_QUESTION = re.compile(r"(?:^|(?<=[.!?:] ))[A-Z][^.!?]{8,90}\?")
_ASKED, _SPAN = (3, 14), (2, 5)  # words of a question, and of a span
_SPANS, _FOUND = 3000, 25  # spans that are drawn, and passages of a list, at least
_LEXICAL, _DENSE, _TAUGHT = 60, 30, 1000  # first hits that make a list, and hits that have the teacher's scores
_AROUND = ".,:;()!?\"'"


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, or other words, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, metavar="DIR", help="lexical and dense, of passages")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSONL; must not exist")
    parser.add_argument(
        "--except", type=Path, dest="spared", metavar="FILE", help="queries, as BEIR's, that stand in none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the spans")
    options = parser.parse_args(words)
    if options.out.exists():
        parser.error(f"{options.out} stands there already")
    return options


def plain(text: str) -> str:
    """What tells queries apart."""
    return " ".join(re.findall(r"\w+", text.lower()))


def queries_of(texts: list[str], spared: set[str], generator: np.random.Generator) -> list[str]:
    """Questions first, then spans; each once, and none that holds one of the spared, which are plain."""
    found = [match.lower().rstrip("?") for text in texts for match in _QUESTION.findall(text)]
    asked = [one for one in found if _ASKED[0] <= len(one.split()) <= _ASKED[1]]
    spans = [span(texts[place].split(), generator) for place in generator.permutation(len(texts))[:_SPANS]]
    made: dict[str, str] = {}
    for one in (*asked, *spans):
        made.setdefault(plain(one), one)
    return [one for name, one in made.items() if name and not any(other in name for other in spared)]


def span(words: list[str], generator: np.random.Generator) -> str:
    """Some words of a text that stand together."""
    count = int(generator.integers(_SPAN[0], _SPAN[1] + 1))
    start = int(generator.integers(max(1, len(words) - count + 1)))
    return " ".join(words[start : start + count]).strip(_AROUND).lower()


def lists(index: Path, spared: set[str], generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Of each query that finds enough: what it finds, and the teacher's scores."""
    opened = retrieval.Index.open(index)
    texts = {int(ordinal): opened.documents[int(ordinal)].text for ordinal in opened.documents.ordinals}
    queries = queries_of(list(texts.values()), spared, generator)
    taught = retrieval.Retriever(opened, using="dense").search_batch(queries, _TAUGHT)
    found = retrieval.Retriever(opened, using="lexical").search_batch(queries, _LEXICAL)
    for query, (dense, scores), (lexical, _) in zip(queries, taught.rows(), found.rows(), strict=True):
        said = dict(zip(dense.tolist(), scores.tolist(), strict=True))
        lowest = min(said.values())
        own = {texts[o]: said.get(o, lowest) for o in (*dense[:_DENSE].tolist(), *lexical.tolist())}
        if len(own) >= _FOUND:
            first, *others = sorted(own, key=lambda text: -own[text])
            yield {
                "query": query,
                "pos": [first],
                "neg": others,
                "pos_scores": [own[first]],
                "neg_scores": [own[text] for text in others],
            }


def main() -> int:
    """Write the file."""
    options = parse()
    lines = options.spared.read_bytes().splitlines() if options.spared else []
    spared = {plain(orjson.loads(line)["text"]) for line in lines}
    made = [orjson.dumps(one) + b"\n" for one in lists(options.index, spared, np.random.default_rng(options.seed))]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(b"".join(made))
    say(f"{options.out}: {len(made):,} queries")
    return 0


if __name__ == "__main__":
    sys.exit(main())

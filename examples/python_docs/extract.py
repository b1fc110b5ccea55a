"""Turn the Python documentation on this computer into two search corpora; nothing is downloaded.

`OUT/stdlib` becomes a test collection in BEIR form: the standard library's docstrings, and the questions and judgements
that lie beside this script. `OUT/packages.jsonl` holds docstrings of installed distributions, to be searched with it.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from document import Document
from package_docs import CORE_DISTRIBUTIONS, packages
from stdlib_docs import stdlib

HERE = Path(__file__).resolve().parent


def main(argv: Sequence[str] | None = None) -> None:
    """Write both corpora, and the questions and judgements for the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--packages", nargs="+", default=CORE_DISTRIBUTIONS, help="distributions to read")
    parser.add_argument("--limit", type=int, default=2000, help="most documents to take from the packages")
    options = parser.parse_args(argv)
    collection: Path = options.out / "stdlib"
    (collection / "qrels").mkdir(parents=True, exist_ok=True)
    for name in ("queries.jsonl", "qrels/test.tsv"):
        shutil.copyfile(HERE / name, collection / name)
    write_jsonl("stdlib", collection / "corpus.jsonl", stdlib())
    write_jsonl("packages", options.out / "packages.jsonl", packages(options.packages, options.limit))


def write_jsonl(name: str, path: Path, documents: Iterable[Document]) -> None:
    """Write one document a line and report how many there were."""
    start = time.perf_counter()
    lines = [json.dumps(document, ensure_ascii=False) + "\n" for document in documents]
    path.write_text("".join(lines), encoding="utf-8")
    print(f"{name}: {len(lines)} documents in {time.perf_counter() - start:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()

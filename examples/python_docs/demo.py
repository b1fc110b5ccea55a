"""Index this Python's documentation, evaluate on questions with known answers, add more, and answer a few questions.

Every step is a command that you can run by yourself; it is printed before its output.
"""

import shlex
import subprocess
import sys
from pathlib import Path

import extract

import retrieval

QUESTIONS = (
    "merge several sorted lists lazily",
    "how do I run a shell command and get what it prints",
    "find every file below a folder that matches a pattern",
    "solve a linear system of equations",
)


def main(out: Path) -> None:
    """Write everything below `out`."""
    print("The documentation on this computer becomes two corpora:")
    extract.main([str(out), "--limit", "150"])
    index = f"{out}/index"
    command("index", "build", f"{out}/stdlib/corpus.jsonl", "--out", index, "--dense", "minilm", "--overwrite")
    command(
        *("eval", "run", f"{out}/stdlib", "--using", "lexical,dense,hybrid", "--index", index),
        *("--out", f"{out}/results"),
    )
    command("index", "add", index, f"{out}/packages.jsonl")
    answer(index)
    print(f'\nAsk something yourself:  .venv/bin/retrieval search {out}/index "QUESTION" --explain')


def command(*arguments: str) -> None:
    """Run a command of the engine, showing it first."""
    print(f"\n$ retrieval {shlex.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "retrieval", *arguments], check=True)


def answer(path: str) -> None:
    """Ask the index through the Python API."""
    print(f'\n>>> retriever = retrieval.Retriever("{path}", using="hybrid")')
    retriever = retrieval.Retriever(path, using="hybrid")
    for question in QUESTIONS:
        print(f'>>> retriever.search("{question}", k=3)')
        for hit in retriever.search(question, k=3):
            print(f"    {hit.score:.3f}  {hit.id:36}  {hit.text.splitlines()[0][:70]}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo"))

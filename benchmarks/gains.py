"""What training gains: runs of a file, one after the other, and what each scores on test queries it never saw.

    python benchmarks/gains.py benchmarks/gains.toml --out FOLDER [--data ../shared/data] [--pooled FOLDER]
        [--only PREFIX ...]
    python benchmarks/gains.py benchmarks/gains.toml --out FOLDER --report [--json FILE]

The file has a [[run]] for each, with the arguments of its `retrieval` commands, in order, or a script of this folder
with its own; the last measures. In them
`{data}` is the folder of collections, `{out}` the run's own folder, `{seed}` its seed, `{NAME}` the folder of another
run with that seed, or with its first where it has not that one, and any other word one of [words], which may hold words
that stand above it. A run that finished is not done again; one that was interrupted goes on where its commands do. Each
has the wall time of its commands, which share the machine with whatever else it does.

The report takes of each run what `test/results.json` in its folder says, averages seeds query by query, and compares
the run with the one that it names as `versus`, each seed with the same or the first of that one: a paired randomisation
test over queries, with Holm's correction over the runs that are compared with the same one.
"""

import argparse
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from gains_report import show
from measuring import machine, summary

from retrieval.cli.console import say

SHARED = Path(__file__).parents[2] / "shared" / "data"
DONE = "run.json"
_LONGEST = 5400.0  # seconds of one command


@dataclass(frozen=True, kw_only=True)
class Run:
    """One line of the table, with a folder for each seed."""

    name: str
    commands: list[str]
    seeds: list[int] = field(default_factory=lambda: [0])
    versus: str | None = None
    system: str = "dense"

    def folder(self, out: Path, seed: int) -> Path:
        """Where everything of a seed is."""
        return out / self.name / str(seed if seed in self.seeds else self.seeds[0])


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of all runs")
    parser.add_argument("--data", type=Path, default=SHARED, metavar="FOLDER", help="of collections")
    parser.add_argument("--only", nargs="+", metavar="PREFIX", help="runs whose names begin so")
    parser.add_argument("--pooled", type=Path, metavar="FOLDER", help="what benchmarks/pooling.py made: {pooled}")
    parser.add_argument("--report", action="store_true", help="run nothing; show what has finished")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report's figures")
    return parser.parse_args()


def read(path: Path) -> tuple[list[Run], dict[str, str]]:
    """The runs of a file, and its words."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Run(**each) for each in content["run"]], content.get("words", {})


def commands(run: Run, seed: int, runs: list[Run], words: dict[str, str], options: argparse.Namespace) -> Iterator[str]:
    """A run's commands, with all words replaced."""
    names: dict[str, Any] = {other.name: other.folder(options.out, seed) for other in runs}
    names |= {"data": options.data, "pooled": options.pooled, "out": run.folder(options.out, seed), "seed": seed}
    if options.pooled is None and any("{pooled}" in line for line in run.commands):
        raise SystemExit(f"{run.name} trains on a pool's judgements: benchmarks/pooling.py makes them; give --pooled")
    for line in run.commands:
        for word, text in reversed(words.items()):  # a word may hold those above it
            line = line.replace(f"{{{word}}}", text)
        yield line.format_map(names)


def program(line: str) -> list[str]:
    """What runs a command: Python, with a script of this folder where the command begins with one."""
    words = shlex.split(line)
    if words[0].endswith(".py"):
        return [sys.executable, str(Path(__file__).with_name(words[0])), *words[1:]]
    return [sys.executable, "-m", "retrieval", *words]


def perform(folder: Path, lines: list[str]) -> None:
    """Run commands that have not been, and write how long each took.

    Raises:
        subprocess.SubprocessError: one failed, or took too long; what it said stands in the folder's log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = orjson.loads((folder / DONE).read_bytes()) if (folder / DONE).exists() else {"commands": []}
    known = [done["command"] for done in state["commands"]]
    if known != lines[: len(known)]:
        raise SystemExit(f"{folder} holds a run with other commands; remove it, or name another --out")
    for line in lines[len(known) :]:
        begun = time.monotonic()
        with (folder / "log.txt").open("ab") as log:
            subprocess.run(program(line), stdout=log, stderr=log, check=True, timeout=_LONGEST)
        state["commands"].append({"command": line, "seconds": time.monotonic() - begun})
        (folder / DONE).write_bytes(orjson.dumps(state | {"machine": machine()}, option=orjson.OPT_INDENT_2))


def main() -> int:
    """Run what is left, or report."""
    options = parse()
    runs, words = read(options.file)
    if options.report:
        show(runs, options.out, options.json)
        return 0
    failed = 0
    wanted = tuple(options.only or [""])
    chosen = [(each, seed) for each in runs if each.name.startswith(wanted) for seed in each.seeds]
    lines = [list(commands(run, seed, runs, words, options)) for run, seed in chosen]
    for (run, seed), own in zip(chosen, lines, strict=True):
        begun, folder = time.monotonic(), run.folder(options.out, seed)
        try:
            perform(folder, own)
            say(f"{run.name}, seed {seed}: {time.monotonic() - begun:.0f} s")
        except subprocess.SubprocessError as error:
            failed += 1
            say(f"{run.name}, seed {seed}: {error}; see {folder / 'log.txt'}")
    say(summary(machine()))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

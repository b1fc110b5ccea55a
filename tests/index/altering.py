"""Alters files of an index, and asks it everything; see `test_fuzz.py`.

A process of its own, as what goes wrong can end it: `python -m tests.index.altering INDEX MODE SIZE SEED CASES`. Every
case is named before it begins, and what is wrong with it after.
"""

import faulthandler
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from retrieval.errors import ArtifactMissingError, RetrievalError
from retrieval.index.manifest import MANIFEST
from retrieval.index.storage.lock import LOCK
from retrieval.indexing import Index
from retrieval.pipeline import Retriever
from tests.index.changing import ADDED, ENCODERS, FILTERS, document, small_pieces, tuned_alike

T = TypeVar("T")

Probe = Callable[[Index], Any]

_QUERIES = ("wind", "storm sky night", "plasma aurora unknown")
_IDS = [f"d{number}" for number in range(0, 60, 7)]

# Well above what a case takes, also on a machine that does other things.
_SECONDS = 30.0

# A file that is cut while it is mapped can be noticed no sooner than the lengths of files are looked at.
_NOTICED = 0.01


def altered(content: bytes, other: bytes, rng: random.Random) -> tuple[str, bytes]:
    """What is done to a file's content, and what becomes of it; half of the changes are near its start."""
    size = len(content)
    start = rng.randrange(min(size, 200) if rng.random() < 0.5 else size) if size else 0
    stop = start + rng.choice((1, 2, 8, 100, 1000))
    match rng.randrange(8):
        case 0:
            return "flipped", _flipped(content, [start], rng)
        case 1:
            return "flipped here and there", _flipped(content, [rng.randrange(size) for _ in range(5) if size], rng)
        case 2:
            return "overwritten", content[:start] + rng.randbytes(len(content[start:stop])) + content[stop:]
        case 3:
            return "zeroed", content[:start] + bytes(len(content[start:stop])) + content[stop:]
        case 4:
            return "cut", content[:start]
        case 5:
            return "emptied", b""
        case 6:
            return "appended to", content + rng.randbytes(rng.choice((1, 8, 500)))
        case _:
            return "overwritten with another", other


def _flipped(content: bytes, places: list[int], rng: random.Random) -> bytes:
    flipped = bytearray(content)
    for place in places:
        flipped[place : place + 1] = (byte ^ 1 << rng.randrange(8) for byte in flipped[place : place + 1])
    return bytes(flipped)


def files_of(sound: Path) -> list[Path]:
    """The files of an index that say something, relative to it."""
    return sorted(file.relative_to(sound) for file in sound.rglob("*") if file.is_file() and file.name != LOCK)


def names_in(sound: Path) -> set[str]:
    """The names of files and folders that an error must hold one of."""
    return {part for file in files_of(sound) for part in file.parts}


def copy(sound: Path, path: Path, own: Path) -> None:
    """Put an index at a path: its lock and one more file are a copy, and the others, only ever read, are links."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(sound, path, copy_function=lambda one, other: os.link(one, other))
    for name in (own, LOCK):
        (path / name).unlink()
        shutil.copyfile(sound / name, path / name)


def alter(path: Path, name: Path, other: bytes, rng: random.Random) -> str:
    """Alter or remove a file or the folder it is in; says how."""
    match rng.randrange(12):
        case 0:
            (path / name).unlink()
            return f"{name} removed"
        case 1:
            (path / name).unlink()
            (path / name).mkdir()
            return f"{name} made a folder"
        case 2 if name.parent.name:
            shutil.rmtree(path / name.parent)
            return f"{name.parent} removed"
        case _:
            how, content = altered((path / name).read_bytes(), other, rng)
            (path / name).write_bytes(content)
            return f"{name} {how}"


def questions() -> dict[str, Probe]:
    """All that is searched for, by name; every answer can be compared."""
    found = {}
    for using in ("lexical", "sparse", "dense", "hybrid"):
        for filter_ in (None, FILTERS[0], FILTERS[7]):
            found[f"{using} {filter_}"] = _batch(using, filter_)
            found[f"{using} {filter_} alone"] = _alone(using, filter_)
    return found


def _batch(using: str, filter_: Mapping[str, Any] | None) -> Probe:
    def search(index: Index) -> Any:
        retriever = Retriever(index, using=using, **ENCODERS, threads=1)
        return [
            (retriever.ids(ordinals), scores.tolist())
            for ordinals, scores in retriever.search_batch(_QUERIES, 5, filter=filter_).rows()
        ]

    return search


def _alone(using: str, filter_: Mapping[str, Any] | None) -> Probe:
    def search(index: Index) -> Any:
        retriever = Retriever(index, using=using, **ENCODERS, by_document=True, threads=1)
        return [asdict(hit) for hit in retriever.search(_QUERIES[0], 4, filter=filter_)]

    return search


DOCUMENTS: dict[str, Probe] = {
    "list": lambda index: [asdict(one) for one in index.documents],
    "find": lambda index: _found(index),
    "ids": lambda index: index.documents.ids(index.documents.ordinals[::-1]),
}


def _found(index: Index) -> list[tuple[str, str]]:
    """Ids that were looked for, and those of the documents or passages that were found."""
    places, ordinals = index.documents.find(_IDS)
    return sorted((_IDS[place], id_) for place, id_ in zip(places, index.documents.ids(ordinals), strict=True))


CHANGES: dict[str, Callable[[Index], Index]] = {
    "add": lambda index: index.add([document(number, 9 * number) for number in range(90, 95)], **ADDED),
    "replace": lambda index: index.add([document(7, 1), document(95)], replace=True, **ADDED),
    "delete": lambda index: index.delete(_IDS[1:3]),
    "delete by filter": lambda index: index.delete(filter=FILTERS[0]),
    "compact": lambda index: index.compact(),
}


class Asker:
    """Asks altered copies of an index what the sound one answers.

    Attributes:
        names: of files and folders; an error must hold one of them.
        wrong: all that was wrong with the answers.
    """

    def __init__(self, sound: Path, path: Path, probes: Mapping[str, Probe]) -> None:
        index = Index.open(sound)
        self._expected = {name: probe(index) for name, probe in probes.items()}
        self._probes = probes
        self.names = names_in(sound)
        self._path = path
        self.wrong: list[str] = []

    def ask(self, index: Index, rng: random.Random) -> bool:
        """Ask everything in some order, and some of it again; whether all was answered."""
        names = rng.sample(list(self._probes), len(self._probes))
        answered = [self._answers(name, index) for name in [*names, *names[:3]]]
        return all(answered)

    def _answers(self, name: str, index: Index) -> bool:
        """Whether there is an answer, which must be right."""
        answer = self.tried(lambda: [self._probes[name](index)], name)
        if answer and answer[0] != self._expected[name]:
            self.wrong.append(f"{name}: another answer")
        return answer is not None

    def tried(self, call: Callable[[], T], what: str) -> T | None:
        """What is returned; None where an error is raised that names a file."""
        try:
            return call()
        except ArtifactMissingError as error:
            if (self._path / MANIFEST).is_file():
                self.wrong.append(f"{what}: {error!r}")
        except RetrievalError as error:
            self._check_named(str(error), what)
        except Exception as error:
            self.wrong.append(f"{what}: {error!r}")
        return None

    def _check_named(self, message: str, what: str) -> None:
        if not any(name in message for name in self.names):
            self.wrong.append(f"{what}: names no file: {message}")

    def ask_at_path(self, rng: random.Random) -> None:
        """Open what is there, and ask; where no problem is found, all of it is answered."""
        index = self.tried(lambda: Index.open(self._path), "open")
        if index is None:
            return
        answered = self.ask(index, rng)
        problems = self.tried(index.problems, "problems")
        for problem in problems or []:
            self._check_named(problem, "problems")
        if problems == [] and not answered:
            self.wrong.append("no problem was found")


class Cases:
    """Cases of one mode: `closed` is altered before it is opened, `changed` also changed, `open` cut while open."""

    def __init__(self, sound: Path, folder: Path) -> None:
        self._sound = sound
        self._folder = folder
        self._path = folder / "altered"
        self._files = files_of(sound)
        self._asker = Asker(sound, self._path, questions() | DOCUMENTS)
        self._searcher = Asker(sound, self._path, questions())
        self._changed: dict[str, Asker] = {}

    def closed(self, name: Path, rng: random.Random) -> tuple[str, list[str]]:
        """What was done to a file, and what was wrong when the index was then opened, twice."""
        self._asker.wrong = []
        how = alter(self._path, name, self._other(rng), rng)
        self._asker.ask_at_path(rng)
        self._asker.ask_at_path(rng)
        return how, self._asker.wrong

    def changed(self, name: Path, rng: random.Random) -> tuple[str, list[str]]:
        """The same, when the index was then changed: what is left is what was there, or what it should have become."""
        change = rng.choice(list(CHANGES))
        asker = self._asker_after(change)
        asker.wrong = self._asker.wrong = []
        how = alter(self._path, name, self._other(rng), rng)
        index = asker.tried(lambda: CHANGES[change](Index.open(self._path)), change)
        (asker if index else self._asker).ask_at_path(rng)
        return f"{how}, {change}", asker.wrong + self._asker.wrong

    def open(self, name: Path, rng: random.Random) -> tuple[str, list[str]]:
        """The same, when the file was cut or became longer while the index was open and had answered questions."""
        self._searcher.wrong = []
        index = Index.open(self._path)
        if rng.random() < 0.5:
            self._searcher.ask(index, rng)
        file = self._path / name
        size = rng.choice((0, rng.randrange(file.stat().st_size), file.stat().st_size + 5))
        os.truncate(file, size)
        time.sleep(_NOTICED)
        self._searcher.ask(index, rng)
        return f"{name} cut to {size} bytes", self._searcher.wrong

    def _other(self, rng: random.Random) -> bytes:
        return (self._sound / rng.choice(self._files)).read_bytes()

    def _asker_after(self, change: str) -> Asker:
        """Asks what a sound index answers after a change."""
        if change not in self._changed:
            sound = self._folder / change
            copy(self._sound, sound, Path(MANIFEST))
            CHANGES[change](Index.open(sound))
            self._changed[change] = Asker(sound, self._path, questions() | DOCUMENTS)
            self._changed[change].names |= names_in(self._sound)
        return self._changed[change]

    def run(self, mode: str, seed: int, count: int) -> None:
        """Do cases, every file in turn."""
        case = {"closed": self.closed, "changed": self.changed, "open": self.open}[mode]
        for number in range(count):
            faulthandler.dump_traceback_later(_SECONDS, exit=True)
            name = self._files[number % len(self._files)]
            print(f"{mode} {seed} {number}: {name}", flush=True)  # noqa: T201 - read by the test
            copy(self._sound, self._path, name)
            how, wrong = case(name, random.Random(f"{seed} {number}"))
            for one in wrong:
                print(f"WRONG {mode} {seed} {number}: {how}: {one}", flush=True)  # noqa: T201 - read by the test
        faulthandler.cancel_dump_traceback_later()


def main(sound: str, mode: str, pieces: str, seed: str, count: str) -> None:
    """Do cases on copies, beside it, of an index that was written in `small` or `usual` pieces."""
    faulthandler.enable()
    with tuned_alike(), small_pieces() if pieces == "small" else nullcontext():
        Cases(Path(sound), Path(sound).parent).run(mode, int(seed), int(count))


if __name__ == "__main__":
    main(*sys.argv[1:])

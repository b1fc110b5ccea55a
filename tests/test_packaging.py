import subprocess
import sys
import tomllib
from pathlib import Path

import retrieval

ROOT = Path(__file__).parents[1]
ROOMS = {"retrieval.index": "index", "retrieval.training": "training"}
ROOMS |= {"retrieval.rerank": "rerank", "retrieval.beir_eval": "beir_eval", "retrieval": "retrieval"}


def settings() -> dict:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_on_disk_is_declared() -> None:
    """An undeclared subpackage would be missing from the wheel."""
    found = set()
    for name, folder in ROOMS.items():
        for marker in (ROOT / folder).rglob("__init__.py"):
            inside = marker.parent.relative_to(ROOT / folder)
            found.add(".".join([name, *inside.parts]))
    assert set(settings()["tool"]["setuptools"]["packages"]) == found


def test_the_links_lead_to_the_rooms() -> None:
    """They let tools see retrieval/index and index as one, without an installed package."""
    for name, folder in ROOMS.items():
        if name != "retrieval":
            link = ROOT / "retrieval" / folder
            assert link.is_symlink()
            assert link.readlink() == Path("..") / folder


def test_no_bare_name_is_importable(tmp_path: Path) -> None:
    """`index` and its neighbours are reached as retrieval.index only, so that a user may have an `index` too."""
    bare = [folder for folder in ROOMS.values() if folder != "retrieval"]
    code = f"from importlib.util import find_spec; print([name for name in {bare} if find_spec(name)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"


def test_every_pin_is_exact() -> None:
    """What was tested can be installed again."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all("==" in line for line in lines if line and not line.startswith("#"))


def test_the_public_names_are_what_can_be_imported() -> None:
    """Every name in `__all__` is there, and each has its home in the table."""
    assert set(retrieval._HOMES) == set(retrieval.__all__) - {"__version__"}
    for name in retrieval.__all__:
        assert getattr(retrieval, name) is not None

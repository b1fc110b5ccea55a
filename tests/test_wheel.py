"""The wheel, in an environment that has nothing of this checkout."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import retrieval

ROOT = Path(__file__).parents[1]

DOCUMENTS = (
    '{"_id": "a", "title": "Aurora", "text": "Solar wind makes the sky glow."}\n'
    '{"_id": "b", "text": "Bread rises overnight in a warm kitchen."}\n'
    '{"_id": "c", "text": "A storm warning for the coast."}\n'
)


def run(*command: str | Path, cwd: Path) -> str:
    """A command's stdout; its whole output is shown if it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy so that no build folder is left behind."""
    out = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, out / "source", ignore=ignored, symlinks=True)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, out / "source", cwd=out)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_rooms_under_one_name(wheel: Path) -> None:
    """retrieval/index and its neighbours, the marker for type checkers, the licence, and no tests."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"retrieval", next(top for top in tops if top.endswith(".dist-info"))}
    assert {"retrieval/index/artifact.py", "retrieval/beir_eval/runs.py", "retrieval/py.typed"} <= set(names)
    page = {f"retrieval/beir_eval/leaderboard/page.{suffix}" for suffix in ("css", "html", "js")}
    assert page <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_wheel_works(wheel: Path, tmp_path: Path) -> None:
    """In a clean environment: the version, an index of three documents, a search, through the API as well."""
    run(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    bin_ = tmp_path / "env" / "bin"
    pins = ROOT / "constraints.txt"
    run(bin_ / "python", "-m", "pip", "install", "--quiet", "--constraint", pins, wheel, cwd=tmp_path)
    assert run(bin_ / "retrieval", "--version", cwd=tmp_path).strip() == retrieval.__version__
    (tmp_path / "corpus.jsonl").write_text(DOCUMENTS)
    run(bin_ / "retrieval", "index", "build", "corpus.jsonl", "--out", "index", cwd=tmp_path)
    assert "Aurora" in run(bin_ / "retrieval", "search", "index", "glowing sky", cwd=tmp_path)
    code = "import retrieval; print(retrieval.Retriever('index').search('storms')[0].id)"
    assert run(bin_ / "python", "-c", code, cwd=tmp_path).strip() == "c"
    failed = subprocess.run(
        [bin_ / "retrieval", "index", "build", "corpus.jsonl", "--out", "dense", "--dense", "minilm"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert failed.returncode == 1
    assert "hint: pip install 'retrieval-engine[minilm]'" in failed.stderr

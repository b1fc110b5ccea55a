"""The lexical benchmark from end to end, on a collection of a few documents."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from lexical import identical
from lexical_report import search_goal

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "lexical.py"
WORDS = ("aurora", "solar", "wind", "magnetic", "field", "particle", "storm", "sky", "light", "night", "plasma")


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """120 documents and 3 queries, one of which matches nothing."""
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    texts = [" ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 6)) for number in range(120)]
    documents = [orjson.dumps({"_id": f"d{number}", "title": "", "text": text}) for number, text in enumerate(texts)]
    queries = [
        orjson.dumps({"_id": f"q{n}", "text": text}) for n, text in enumerate(("solar wind", "night sky", "bread"))
    ]
    (folder / "corpus.jsonl").write_bytes(b"\n".join(documents))
    (folder / "queries.jsonl").write_bytes(b"\n".join(queries))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td1\t1\nq1\td2\t1\n")
    return folder


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    command = [sys.executable, "-W", "error", SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_ours_and_bm25s_are_measured_and_agree(collection: Path, tmp_path: Path) -> None:
    """Every figure is there for both, their answers are identical, and nothing is left behind."""
    work = tmp_path / "work"
    work.mkdir()
    sections = "build,search"
    arguments = ("--data", collection, "--peers", "bm25s", "--rounds", "1", "--only", sections, "--work", work)
    done = bench(*arguments, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    assert "identical top-10 with bm25s: 3/3 queries" in done.stdout
    report = orjson.loads((tmp_path / "figures.json").read_bytes())
    [result] = report["results"]
    assert result["collection"] == {"name": "tiny", "documents": 120, "queries": 3}
    assert result["absent"] == {}
    for name in ("retrieval", "bm25s"):
        assert len(result["build"][name]["seconds"]) == 1
        assert result["build"][name]["peak"][0] > 1e6
        assert result["build"][name]["sizes"]["index"] > 0
        assert result["engines"][name]["versions"]
    assert result["search"]["1000"]["identity"]["same"] == 3
    assert list(work.iterdir()) == []


def test_a_peer_that_cannot_run_is_named(collection: Path, tmp_path: Path) -> None:
    """With the reason; the others are measured, every query in every round."""
    hidden = tmp_path / "hidden" / "tantivy"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('no tantivy on this machine')")
    code = f"import sys; sys.path.insert(0, {str(hidden.parent)!r}); sys.argv[0] = {str(SCRIPT)!r}\n"
    code += f"sys.path.insert(1, {str(SCRIPT.parent)!r})\nfrom lexical import main\n"
    code += "if __name__ == '__main__': sys.exit(main())"
    script = tmp_path / "with_hidden.py"
    script.write_text(code)
    arguments = ("--data", collection, "--peers", "tantivy", "--rounds", "2", "--only", "build,single")
    arguments = (*arguments, "--json", tmp_path / "figures.json")
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tantivy could not run: ImportError: no tantivy on this machine" in done.stdout
    [result] = orjson.loads((tmp_path / "figures.json").read_bytes())["results"]
    assert result["single"]["retrieval"]["1000"]["searches"] == 6


def test_goals_depend_on_the_peer_the_depth_and_the_size() -> None:
    """Those of the large collection are higher."""
    assert search_goal("bm25s", "10", 5_000) == 2
    assert search_goal("bm25s", "10", 1_000_000) == 5
    assert search_goal("bm25s", "1000", 1_000_000) == 2
    assert search_goal("pisa", "10", 1_000_000) == 1.5
    assert search_goal("pisa", "10", 5_000) is None


def test_a_wrong_command_line_is_an_error(collection: Path, tmp_path: Path) -> None:
    """Before anything runs."""
    assert "not of" in bench("--data", collection, "--peers", "grep").stderr
    assert "no collection in BEIR's layout" in bench("--data", tmp_path).stderr


def test_a_differing_answer_fails_the_run() -> None:
    """Of any depth; a run that did not compare answers does not fail."""
    alike, other = {"identity": {"same": 3, "queries": 3}}, {"identity": {"same": 2, "queries": 3}}
    assert identical({"search": {"10": alike, "1000": alike}})
    assert not identical({"search": {"10": alike, "1000": other}})
    assert identical({"search": {"10": {}}})
    assert identical({})

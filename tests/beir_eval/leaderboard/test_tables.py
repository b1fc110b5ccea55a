import csv
import io
from pathlib import Path

import pytest

from retrieval.beir_eval.leaderboard.board import Board, make_board
from retrieval.beir_eval.leaderboard.data import read_scores
from retrieval.beir_eval.leaderboard.figures import IMPORTED, score
from retrieval.beir_eval.leaderboard.plots import write_plots
from retrieval.beir_eval.leaderboard.tables import to_csv, to_latex, to_markdown, write_tables
from tests.beir_eval.leaderboard.making import write_imported, write_results


def test_markdown_has_a_line_for_each_system(board: Board) -> None:
    """Every line has as many cells; a name is text, also where it looks like markup."""
    lines = to_markdown(board).splitlines()
    assert len(lines) == 2 + len(board.rows)
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1
    assert r"| \<script\>alert(1)\</script\> (1 of 2 sets) |" in lines[-1]
    best = board.rows[0].overall
    assert best
    assert f"**{score(best.value)}** (.40)" in lines[2]
    assert lines[0].startswith("| nDCG@10 (Judged@10) |")


def test_latex_escapes_what_it_would_take_for_its_own(board: Board) -> None:
    """Also in the name of a measure's column."""
    text = to_latex(board)
    assert "} (.40) & " in text
    assert text.count(r"\\") == 1 + len(board.rows)
    assert r"\textbf{" in text
    assert text.startswith(r"\begin{tabular}{lrrr")
    assert r"50\%\_of\{us\}" in to_latex(renamed(board, "50%_of{us}"))


def renamed(board: Board, name: str) -> Board:
    """The same board, whose first system is called otherwise."""
    from dataclasses import replace

    return replace(board, rows=(replace(board.rows[0], system=name), *board.rows[1:]))


def test_csv_holds_every_number(board: Board) -> None:
    """With all their digits: what it says can be read back."""
    lines = list(csv.DictReader(io.StringIO(to_csv(renamed(board, 'a, "quoted" name')))))
    assert lines[0]["system"] == 'a, "quoted" name'
    assert [line["set"] for line in lines[:3]] == ["mean", "first", "second"]
    assert float(lines[1]["nDCG@10"]) == board.rows[0].entries["first"].value
    assert float(lines[1]["p50_ms"]) == 20.0
    assert float(lines[1]["Judged@10"]) == 0.4
    assert len(lines) == 3 * 3 + 1


def test_a_system_that_lacks_sets_says_so_and_has_its_costs(board: Board, tmp_path: Path) -> None:
    """Where nobody has all sets, each has a column of groups."""
    assert "1 of 2 sets" in to_markdown(board).splitlines()[-1]
    write_results(tmp_path, "first", "one", [0.1, 0.5])
    write_results(tmp_path, "second", "other", [0.1, 0.5])
    head, _, one, _ = to_markdown(make_board(read_scores(tmp_path))).splitlines()
    assert head.startswith("| nDCG@10 (Judged@10) | first | group | second | group | Median time")
    assert one.startswith("| one (1 of 2 sets) | **.3000** (.40) | 1 | – | – | 2.0 | 3.0 |")


def test_an_imported_mean_has_a_sign_that_is_told(tmp_path: Path) -> None:
    """In Markdown and LaTeX below the table; in CSV it has no queries, interval or group. Pictures have no interval."""
    pytest.importorskip("matplotlib")
    write_results(tmp_path / "ours", "set", "one", [0.1, 0.5])
    write_imported(tmp_path / "theirs", "set", theirs=0.7)
    board = make_board(read_scores(tmp_path))
    assert "| theirs | .7000† |" in to_markdown(board)
    assert to_markdown(board).endswith(f"\n\n† {IMPORTED}\n")
    assert r"theirs & .7000$^\dagger$ &" in to_latex(board)
    assert IMPORTED in to_latex(board)
    (line, _) = csv.DictReader(io.StringIO(to_csv(board)))
    assert (line["system"], line["nDCG@10"]) == ("theirs", "0.7")
    assert {line[name] for name in ("queries", "low", "high", "group", "Judged@10", "p50_ms")} == {""}
    write_plots(board, tmp_path / "plots")
    assert ".7000†" in (tmp_path / "plots" / "sets.svg").read_text()
    assert not (tmp_path / "plots" / "differences.svg").exists()


def test_tables_and_pictures_are_written(board: Board, tmp_path: Path) -> None:
    """Whole files, of the kinds that their names say; the same twice."""
    pytest.importorskip("matplotlib")
    assert [path.name for path in write_tables(board, tmp_path / "tables")] == ["table.md", "table.csv", "table.tex"]
    paths = write_plots(board, tmp_path / "plots")
    names = {f"{name}.{suffix}" for name in ("cost", "sets", "differences") for suffix in ("png", "svg")}
    assert {path.name for path in paths} == names
    first = {path: path.read_bytes() for path in paths}
    assert all(first[path].startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml") for path in paths)
    svg = (tmp_path / "plots" / "sets.svg").read_text()
    assert "<script>" not in svg
    assert "&lt;script&gt;alert(1)" in svg
    write_plots(board, tmp_path / "plots")
    assert {path: path.read_bytes() for path in paths} == first

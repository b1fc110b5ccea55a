from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.beir_eval.leaderboard.making import several, write_results

Cli = Callable[..., Any]


def test_a_board_is_printed_and_a_page_written_only_if_asked(cli: Cli, tmp_path: Path) -> None:
    """Systems by their mean, with their group; the table is data, on stdout."""
    answer = cli("eval", "leaderboard", several(tmp_path / "runs"))
    assert (answer.code, answer.err) == (0, "")
    lines = [line for line in answer.out.splitlines() if "│" in line]
    assert [line.split("│")[1].strip() for line in lines] == ["good", "alike", "bad", "<script>alert(1)</script>"]
    assert [line.split("│")[3].strip() for line in lines] == ["1", "1", "2", "–"]


def test_several_folders_make_one_board(cli: Cli, tmp_path: Path) -> None:
    """As results of `eval run` in folders of their own; a price adds what a million queries cost."""
    for system in ("one", "other"):
        write_results(tmp_path / system, "set", system, [0.1, 0.5, 0.3])
    options = ("--price-per-hour", 0.144, "--currency", "USD", "--out", tmp_path / "new" / "page.html", "--json")
    answer = cli("eval", "leaderboard", tmp_path / "one", tmp_path / "other", *options)
    assert [(entry["system"], entry["group"]) for entry in answer.json] == [("one", 1), ("other", 1)]
    assert answer.json[0]["cost"]["per_million"] == pytest.approx(1.0)
    page = (tmp_path / "new" / "page.html").read_text()
    assert "Price of a million queries, USD" in page
    assert f"{tmp_path / 'new' / 'page.html'}: systems: 2, sets: 1\n" in answer.err


def test_what_is_not_shown_is_said(cli: Cli, tmp_path: Path) -> None:
    """Of a group that was measured in part, as where a suite was interrupted."""
    for dataset, system in (("android", "one"), ("gaming", "one"), ("android", "other")):
        write_results(tmp_path, dataset, system, [0.1, 0.5], group="forums")
    answer = cli("eval", "leaderboard", tmp_path)
    assert answer.err == "note: not shown: other on forums, without gaming, of the same group\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--price-per-hour", "-1"], "--price-per-hour must be above 0"),
        (["--price-per-hour", "inf"], "--price-per-hour must be above 0"),
        (["--measure", "AP"], "has no AP"),
        (["--baseline", "nobody"], "no system is called 'nobody'"),
    ],
)
def test_what_cannot_be_is_usage(cli: Cli, tmp_path: Path, options: list[str], message: str) -> None:
    """And nothing is written."""
    write_results(tmp_path / "runs", "set", "one", [0.1, 0.5])
    answer = cli("eval", "leaderboard", tmp_path / "runs", "--out", tmp_path / "page.html", *options)
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "page.html").exists()

from pathlib import Path

import numpy as np
import pytest

from retrieval.beir_eval.leaderboard.board import Board, Price, make_board
from retrieval.beir_eval.leaderboard.data import read_scores
from retrieval.beir_eval.leaderboard.page import render_page
from retrieval.errors import InputError
from tests.beir_eval.leaderboard.making import COST, write_imported, write_results


def test_systems_stand_by_their_mean_over_sets_that_count_the_same(board: Board) -> None:
    """Whatever the number of their queries; a system that lacks a set has no mean, and stands last."""
    assert [row.system for row in board.rows] == ["good", "alike", "bad", "<script>alert(1)</script>"]
    first = board.rows[0]
    assert first.overall
    assert first.overall.value == pytest.approx((first.entries["first"].value + first.entries["second"].value) / 2)
    assert board.rows[-1].overall is None


def test_systems_that_cannot_be_told_apart_share_a_rank_group(board: Board) -> None:
    """And one that is told apart opens the next."""
    groups = {row.system: row.overall.group for row in board.rows if row.overall}
    assert groups == {"good": 1, "alike": 1, "bad": 2}


def test_intervals_hold_the_mean_and_the_best_is_marked(board: Board) -> None:
    """Once in each column."""
    for column in board.sets:
        entries = [entry for row in board.rows if (entry := board.entry(row, column))]
        assert all(entry.low < entry.value < entry.high or len(set(entry.values)) == 1 for entry in entries)
        assert [entry.value for entry in entries if entry.is_best] == [max(entry.value for entry in entries)]


def test_a_group_of_data_sets_is_one_set_by_the_mean_of_their_means(tmp_path: Path) -> None:
    """As CQADupStack's forums: a large one counts no more than a small one; who lacks one of them lacks the set."""
    for system, shift in (("one", 0.0), ("other", 0.1)):
        write_results(tmp_path, "small", system, np.full(10, 0.2 + shift), group="both")
        write_results(tmp_path, "large", system, np.full(90, 0.6 + shift), group="both")
    write_results(tmp_path, "small", "partial", np.full(10, 0.9), group="both")
    board = make_board(read_scores(tmp_path))
    assert [column.name for column in board.columns] == ["both"]
    assert {row.system: row.entries["both"].value for row in board.rows} == pytest.approx({"one": 0.4, "other": 0.5})
    assert board.columns[0].queries[0] == "large: q0"
    assert board.overall is None
    assert board.rows[0].entries["both"].cost["index_bytes"] == 2 * COST["index_bytes"]


def test_who_has_some_data_sets_of_a_group_only_is_told(tmp_path: Path) -> None:
    """Such a score is of no set; it would vanish as if nobody had measured it."""
    write_results(tmp_path, "android", "partly", [0.1, 0.2], group="forums")
    write_results(tmp_path, "gaming", "other", [0.1, 0.2], group="forums")
    with pytest.raises(InputError, match="no system has all data sets of a group: partly on forums, without gaming"):
        make_board(read_scores(tmp_path))
    write_results(tmp_path, "android", "other", [0.1, 0.2], group="forums")
    board = make_board(read_scores(tmp_path))
    assert [row.system for row in board.rows] == ["other"]
    assert board.left_out == ("partly on forums, without gaming",)
    assert "some data sets of a group only: partly on forums, without gaming." in render_page(board)


def test_judged_at_10_stands_beside_every_score(tmp_path: Path) -> None:
    """Each set counts the same; not known of one set, it is not known of all; beside itself it does not stand."""
    for dataset, judged in (("first", 0.2), ("second", 0.5)):
        write_results(tmp_path, dataset, "new", [0.1, 0.2], judged=judged)
        write_results(tmp_path, dataset, "old", [0.1, 0.2], judged=None if dataset == "first" else judged)
    new, old = make_board(read_scores(tmp_path)).rows
    assert {name: entry.judged for name, entry in new.entries.items()} == {"first": 0.2, "second": 0.5}
    assert new.overall
    assert new.overall.judged == pytest.approx(0.35)
    assert old.overall
    assert (old.entries["second"].judged, old.overall.judged) == (0.5, None)
    itself = make_board([score for score in read_scores(tmp_path) if score.system == "new"], measure="Judged@10")
    assert itself.rows[0].entries["first"].value == 0.2
    assert itself.rows[0].entries["first"].judged is None


def test_systems_that_lack_a_set_stand_by_their_lead_on_the_others(tmp_path: Path) -> None:
    """Over those that have all sets, on what they have themselves; so lacking the hard set gains nothing."""
    for dataset, value in (("easy", 0.8), ("hard", 0.2), ("middle", 0.5)):
        write_results(tmp_path, dataset, "whole", [value, value])
    write_results(tmp_path, "easy", "a", [0.7, 0.7])
    write_results(tmp_path, "hard", "b", [0.3, 0.3])
    write_results(tmp_path, "easy", "c", [0.85, 0.85])
    write_results(tmp_path, "middle", "c", [0.51, 0.51])
    board = make_board(read_scores(tmp_path))
    assert [row.system for row in board.rows] == ["whole", "b", "c", "a"]
    assert [row.cost["index_bytes"] / COST["index_bytes"] for row in board.rows] == [3, 1, 2, 1]
    assert [board.shows_group(column) for column in board.sets] == [True, False, False, False]


def test_where_no_system_has_all_sets_each_set_shows_its_groups(tmp_path: Path) -> None:
    """And systems stand by their lead over all others that have the set."""
    write_results(tmp_path, "first", "below", [0.1, 0.5])
    write_results(tmp_path, "first", "above", [0.3, 0.7])
    write_results(tmp_path, "second", "other", [0.1, 0.5])
    board = make_board(read_scores(tmp_path))
    assert [row.system for row in board.rows] == ["above", "other", "below"]
    assert [board.shows_group(column) for column in board.sets] == [True, True]


def test_imported_means_stand_among_the_others_and_change_nothing_of_them(tmp_path: Path) -> None:
    """By their mean, without interval and group, never the best; one set that was imported makes the mean so."""
    for dataset in ("first", "second"):
        for system, shift in (("one", 0.0), ("other", 0.3)):
            write_results(tmp_path / "ours", dataset, system, np.linspace(0.1, 0.5, 30) + shift)
    write_results(tmp_path / "ours", "first", "partly", np.full(30, 0.45))
    alone = make_board(read_scores(tmp_path / "ours"))
    write_imported(tmp_path / "imported" / "a", "first", theirs=0.9, partly_=0.1)
    write_imported(tmp_path / "imported" / "b", "second", theirs=0.1, partly=0.65)
    board = make_board(read_scores(tmp_path / "imported", tmp_path / "ours"))
    rows = {row.system: row for row in board.rows}
    assert [row.system for row in board.rows] == ["other", "partly", "theirs", "one", "partly_"]
    theirs = rows["theirs"].overall
    assert theirs
    assert theirs.value == pytest.approx(0.5)
    assert (theirs.low, theirs.high, theirs.group, theirs.is_best) == (None, None, None, False)
    partly = rows["partly"]
    assert partly.overall
    assert partly.overall.is_imported
    assert (partly.entries["first"].is_imported, partly.entries["second"].is_imported) == (False, True)
    for row in alone.rows:
        assert np.array_equal(rows[row.system].entries["first"].values, row.entries["first"].values)
        for column in alone.columns:
            if row.system != "partly":
                entries = row.entries[column.name], rows[row.system].entries[column.name]
                before, after = ((each.low, each.high, each.group, each.is_best) for each in entries)
                assert before == after
    assert board.baseline == "one"
    with pytest.raises(InputError, match="theirs was imported as means"):
        make_board(read_scores(tmp_path), baseline="theirs")


def test_a_set_that_only_imports_have_takes_nobody_s_mean_or_cost(tmp_path: Path) -> None:
    """Nor the order of those that were measured on all others; imports on it stand by their lead among themselves."""
    for dataset in ("first", "second"):
        for system, shift in (("one", 0.0), ("other", 0.3)):
            write_results(tmp_path / "ours", dataset, system, np.linspace(0.1, 0.5, 30) + shift)
    alone = make_board(read_scores(tmp_path / "ours"))
    write_imported(tmp_path / "theirs", "third", one=0.2, best=0.9)
    board = make_board(read_scores(tmp_path / "ours", tmp_path / "theirs"))
    assert [row.system for row in board.rows] == ["other", "one", "best"]
    assert board.overall
    assert alone.overall
    assert board.overall.queries == alone.overall.queries
    for before, after in zip(alone.rows, board.rows[:2], strict=True):
        assert before.overall
        assert after.overall
        assert (before.overall.value, before.overall.group) == (after.overall.value, after.overall.group)
        assert before.cost == after.cost
    assert board.rows[1].entries["third"].is_imported
    assert "A set on which nobody was measured is not in the mean." in render_page(board)
    write_imported(tmp_path / "more", "fourth", best=0.9)
    one_set = [score for score in read_scores(tmp_path) if score.dataset != "second"]
    assert [row.system for row in make_board(one_set).rows] == ["other", "one", "best"]


def test_a_board_of_imported_means_alone_is_a_table(tmp_path: Path) -> None:
    """Of means; nothing is compared, and there is no baseline."""
    write_imported(tmp_path / "a", "first", one=0.4, other=0.5)
    write_imported(tmp_path / "b", "second", one=0.4, other=0.1)
    board = make_board(read_scores(tmp_path))
    assert [(row.system, row.overall and row.overall.value) for row in board.rows] == [
        *(("one", pytest.approx(0.4)), ("other", pytest.approx(0.3)))
    ]
    assert board.overall
    assert (board.baseline, board.overall.queries, len(board.overall.weights)) == (None, (), 0)


def test_a_price_follows_from_speed(tmp_path: Path) -> None:
    """40 queries a second at 0.144 an hour are a million for 1."""
    write_results(tmp_path, "set", "one", [0.1, 0.2])
    board = make_board(read_scores(tmp_path), price=Price(per_hour=0.144))
    assert board.rows[0].entries["set"].cost["per_million"] == pytest.approx(1.0)


def test_many_queries_are_compared_by_the_t_test(tmp_path: Path) -> None:
    """In a moment, and to the same end."""
    drawn = np.random.default_rng(0)
    values = drawn.uniform(0, 1, 3000)
    write_results(tmp_path, "set", "good", values)
    write_results(tmp_path, "set", "noisy", values + drawn.normal(0, 0.1, 3000))
    write_results(tmp_path, "set", "bad", values - 0.05)
    board = make_board(read_scores(tmp_path))
    assert {row.system: row.entries["set"].group for row in board.rows} == {"good": 1, "noisy": 1, "bad": 2}


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    """Other queries, a measure that one lacks, a baseline that is nobody."""
    write_results(tmp_path / "a", "set", "one", [0.1, 0.2])
    write_results(tmp_path / "b", "set", "other", [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="different queries of set"):
        make_board(read_scores(tmp_path))
    scores = read_scores(tmp_path / "a")
    with pytest.raises(InputError, match="has no P@10"):
        make_board(scores, measure="P@10")
    with pytest.raises(InputError, match="no system is called 'nobody'"):
        make_board(scores, baseline="nobody")


def test_results_of_one_system_on_one_set_stand_once(tmp_path: Path) -> None:
    """Both places are named; another split is another set."""
    write_results(tmp_path / "a", "set", "one", [0.1])
    write_results(tmp_path / "b", "set", "one", [0.1], split="dev")
    assert [score.dataset for score in read_scores(tmp_path)] == ["set", "set dev"]
    write_results(tmp_path / "c", "set", "one", [0.1])
    with pytest.raises(InputError, match="two results of one on set"):
        read_scores(tmp_path)
    with pytest.raises(InputError, match=r"no results\.json there"):
        read_scores(tmp_path / "nowhere")

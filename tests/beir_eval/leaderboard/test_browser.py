"""The page in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.beir_eval.leaderboard.board import Board, make_board
from retrieval.beir_eval.leaderboard.data import read_scores
from retrieval.beir_eval.leaderboard.page import render_page
from tests.beir_eval.leaderboard.browser import Browser, browser
from tests.beir_eval.leaderboard.making import write_imported, write_results

COLUMN = "[...document.querySelectorAll('#scores tbody tr')].map((row) => row.cells[{}].firstChild.textContent.trim())"
NAMES = COLUMN.format(0)


@pytest.fixture(scope="module")
def opened(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Path]]:
    """A browser, and the page as a file."""
    folder = tmp_path_factory.mktemp("browser")
    page = folder / "report.html"
    page.write_text(render_page(board), encoding="utf-8")
    with browser(folder / "profile") as running:
        yield running, page


def test_the_page_opens_without_an_error_and_loads_nothing_else(opened: tuple[Browser, Path]) -> None:
    """Neither script nor font nor picture comes from anywhere but the file; no console error, no markup from data."""
    browser, page = opened
    browser.open(page)
    assert browser.run("document.title") == "Retrieval leaderboard"
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in browser.requests if url.startswith("file:")]) == 1
    assert browser.run("document.querySelectorAll('script').length") == 2
    assert "<script>alert(1)</script>" in browser.run(NAMES)


def test_a_click_sorts_by_a_column_and_another_the_other_way(opened: tuple[Browser, Path]) -> None:
    """The best first: high scores, low costs, group 1. Numbers as numbers; systems without one stay last."""
    browser, page = opened
    browser.open(page)
    for place, directions, count in ((4, ("descending", "ascending"), 4), (6, ("ascending", "descending"), 3)):
        header = f"document.querySelector('#scores thead th:nth-child({place})')"
        for direction in directions:
            browser.run(f"{header}.querySelector('button').click()")
            assert browser.run(f"{header}.getAttribute('aria-sort')") == direction
            values = [float(value) for value in browser.run(COLUMN.format(place - 1)) if value != "–"]
            assert values == sorted(values, reverse=direction == "descending")
            assert len(values) == count
    assert browser.run("document.querySelectorAll('#scores [aria-sort]').length") == 1
    browser.run("document.querySelector('#scores thead th:nth-child(3) button').click()")
    assert browser.run(COLUMN.format(2)) == ["1", "1", "2", "–"]
    browser.run("document.querySelector('#scores thead th:nth-child(2) button').click()")
    assert browser.run(COLUMN.format(1))[-1] == "–"
    browser.run("document.querySelector('#scores thead th:nth-child(2) button').click()")
    assert browser.run(COLUMN.format(1))[-1] == "–"


def test_the_table_is_sorted_by_keyboard_as_well(opened: tuple[Browser, Path]) -> None:
    """Headers can be reached, and the Enter key does what a click does."""
    browser, page = opened
    browser.open(page)
    before = browser.run(NAMES)
    browser.run("document.querySelector('#scores thead button').focus()")
    browser.press("Enter")
    assert before != sorted(before, key=str.lower)
    assert browser.run(NAMES) == sorted(before, key=str.lower)
    browser.press("Tab")
    assert browser.run("document.activeElement.textContent") == "Mean"


def test_every_link_leads_somewhere(opened: tuple[Browser, Path]) -> None:
    """To a place in the page that is there; none leads out of it."""
    browser, page = opened
    browser.open(page)
    links = "[...document.querySelectorAll('a')].map((link) => link.getAttribute('href'))"
    assert browser.run(f"{links}.every((to) => to.startsWith('#') && document.getElementById(to.slice(1)))")
    assert browser.run(f"{links}.length") >= 4 * 2


def test_a_number_opens_its_settings_and_its_queries(opened: tuple[Browser, Path]) -> None:
    """By a click, and by an address that names it."""
    browser, page = opened
    browser.open(page)
    link = browser.run("document.querySelector('#scores tbody td a[href^=\"#cell\"]').getAttribute('href')")
    browser.run("document.querySelector('#scores tbody td a[href^=\"#cell\"]').click()")
    opens = f"new Promise((done) => setTimeout(() => done(document.querySelector('{link}').open), 200))"
    assert browser.run(opens)
    assert browser.run(f"document.querySelectorAll('{link} .queries tbody tr').length") == 40
    assert '"using"' in browser.run(f"document.querySelector('{link} pre').textContent")
    browser.open(page, link)
    assert browser.run(opens)


def test_a_query_stands_beside_its_id(tmp_path: Path) -> None:
    """As text, whatever is in it, and cut where it is long; sorting goes by the id."""
    texts = {"q0": "</script><b>what</b>  glows?", "q1": "word " * 100}
    write_results(tmp_path / "runs", "set", "one", [0.1, 0.2, 0.3], texts=texts)
    page = tmp_path / "report.html"
    page.write_text(render_page(make_board(read_scores(tmp_path / "runs"))), encoding="utf-8")
    with browser(tmp_path / "profile") as running:
        running.open(page, "#cell-0-0")
        cells = "[...document.querySelectorAll('.queries tbody td:first-child')]"
        found = running.run(f"{cells}.map((cell) => [...cell.childNodes].map((node) => node.textContent))")
        assert found[0] == ["q0", "</script><b>what</b> glows?"]
        assert found[1][1].startswith("word word")
        assert len(found[1][1]) == 200
        assert found[2] == ["q2"]
        assert running.run(f"{cells}.map((cell) => cell.dataset.value)") == ["q0", "q1", "q2"]
        assert running.errors == []


def test_imported_means_stand_in_the_table_and_nowhere_that_needs_queries(tmp_path: Path) -> None:
    """With a sign that is explained; what is behind one opens without queries, and no choice of systems offers it."""
    for system, shift in (("one", 0.0), ("other", 0.2)):
        write_results(tmp_path / "runs" / "ours", "set", system, [0.1 + shift, 0.3 + shift, 0.2])
    write_imported(tmp_path / "runs" / "theirs", "set", theirs=0.9, third=0.8)
    page = tmp_path / "report.html"
    page.write_text(render_page(make_board(read_scores(tmp_path / "runs"))), encoding="utf-8")
    with browser(tmp_path / "profile") as running:
        running.open(page, "#cell-0-0")
        assert running.run(NAMES) == ["theirs", "third", "other", "one"]
        assert running.run("[...document.querySelectorAll('#scores sup')].length") == 2
        running.screen(250, 800)  # on which the sign moves with its number, below the names
        gap = "(() => { const cell = document.querySelector('#scores td'); const sign = cell.querySelector('sup'); "
        gap += "return sign.getBoundingClientRect().left - cell.getBoundingClientRect().left; })()"
        before = running.run(gap)
        assert running.run("(document.querySelector('.scroll').scrollLeft = 60)") == 60
        assert running.run(gap) == before
        name = "document.querySelector('#scores thead .name')"
        # Where the page stands, opened at a place further down, depends on when it was drawn; within a script it stays.
        at = f"(() => {{ {name}.scrollIntoView({{block: 'center', inline: 'nearest'}}); "
        at += f"const place = {name}.getBoundingClientRect(); "
        at += "return document.elementFromPoint(place.right - 3, place.bottom - 12).closest('th') === "
        assert running.run(f"{at}{name}; }})()")
        assert "Imported as a mean" in running.run("document.querySelector('.note').textContent")
        assert running.run("document.getElementById('cell-0-0').open")
        assert running.run("document.querySelector('#cell-0-0 .queries')") is None
        for choice, chosen in (("against", "one"), ("compared", "other")):
            options = f"[...document.getElementById('{choice}').options]"
            assert running.run(f"{options}.map((option) => option.textContent)") == ["other", "one"]
            assert running.run(f"{options}.find((option) => option.selected).textContent") == chosen
        assert running.run("document.querySelectorAll('#differences svg').length") == 1
        assert running.run("document.querySelectorAll('.bar.hollow').length") == 2
        assert running.run("document.querySelectorAll('.bar.hollow .interval').length") == 0
        assert running.errors == []


def test_another_baseline_draws_other_differences(opened: tuple[Browser, Path]) -> None:
    """One picture for each set that has both, with the queries won and lost in words."""
    browser, page = opened
    browser.open(page)
    label = "document.querySelector('#differences svg').getAttribute('aria-label')"
    assert browser.run("document.querySelectorAll('#differences svg').length") == 2
    before = browser.run(label)
    change = "select.selectedIndex = 1; select.dispatchEvent(new Event('change'))"
    browser.run(f"(() => {{ const select = document.getElementById('against'); {change} }})()")
    assert browser.run(label) != before
    assert "queries better" in before


def test_a_table_that_goes_on_says_so_until_its_end_is_seen(opened: tuple[Browser, Path]) -> None:
    """On a phone; not where all of it is there."""
    browser, page = opened
    cue = "(() => { const cue = document.querySelector('.cue'); const look = getComputedStyle(cue); return "
    cue += "look.display !== 'none' && look.visibility === 'visible'; })()"
    scroll = "document.querySelector('.scroll')"
    soon = f"new Promise((done) => setTimeout(() => done({cue}), 200))"
    for width, goes_on in ((1280, False), (390, True)):
        browser.screen(width, 800)
        browser.open(page)
        assert browser.run(soon) is goes_on
    assert browser.run(f"{scroll}.classList.contains('goes-on')")
    top = f"{scroll}.getBoundingClientRect().top"
    before = browser.run(top)
    browser.run(f"{scroll}.scrollLeft = {scroll}.scrollWidth")
    assert browser.run(soon) is False
    assert browser.run(top) == before


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_the_page_fits_the_screen(opened: tuple[Browser, Path], width: int, dark: bool) -> None:
    """On a phone only the table moves sideways; dark and light screens get colours of their own."""
    browser, page = opened
    browser.screen(width, 800, dark=dark)
    browser.open(page)
    assert browser.run("document.documentElement.scrollWidth") <= width
    colours = browser.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    lights = [sum(map(int, colour[4:-1].split(","))) for colour in colours]
    assert (lights[0] < 200 < 500 < lights[1]) if dark else (lights[1] < 200 < 500 < lights[0])
    picture = browser.picture()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
    assert browser.errors == []

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from retrieval.beir_eval.leaderboard.board import Board, make_board
from retrieval.beir_eval.leaderboard.data import read_scores
from retrieval.beir_eval.leaderboard.page import render_page
from tests.beir_eval.leaderboard.making import write_results


@pytest.fixture(scope="module")
def page(board: Board) -> str:
    """The page's text."""
    return render_page(board, title="A <title> & more")


class Elements(HTMLParser):
    """Counts elements, notes their attributes, and finds what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.attributes.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note one that holds nothing."""
        self.attributes.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        """It is the last that was opened."""
        if self.open[-1] != tag and self.open[-1] in ("p", "li", "option"):
            self.open.pop()
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    """The page, parsed."""
    found = Elements()
    found.feed(page)
    assert found.open == []
    return found


def test_names_from_data_are_text(page: str, elements: Elements) -> None:
    """A system called <script> adds no element, in the table, in pictures, in options, or in the embedded data."""
    assert [tag for tag, _ in elements.attributes].count("script") == 2
    assert "<script>alert(1)" not in page
    assert "A &lt;title&gt; &amp; more</h1>" in page
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert embedded
    assert json.loads(embedded[1])["systems"][-1] == "<script>alert(1)</script>"


def test_nothing_is_loaded_from_elsewhere(elements: Elements, page: str) -> None:
    """Every address is a place in the page or data in it, and the policy allows no other."""
    for _, attributes in elements.attributes:
        for name in ("href", "src", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import|\bon\w+=", page)


def test_links_lead_to_places_that_are_there(elements: Elements) -> None:
    """Ids stand once; every link's is among them."""
    ids = [found for _, attributes in elements.attributes if (found := attributes.get("id"))]
    addresses = [attributes.get("href") or "" for _, attributes in elements.attributes]
    links = [address[1:] for address in addresses if address.startswith("#")]
    assert len(ids) == len(set(ids))
    assert links
    assert set(links) <= set(ids)


def test_the_table_can_be_read_by_others_than_eyes(elements: Elements) -> None:
    """Headers have a scope and a button; pictures have words; the order is told."""
    scopes = [attributes.get("scope") for tag, attributes in elements.attributes if tag == "th"]
    assert set(scopes) == {"col", "row"}
    pictures = [attributes for tag, attributes in elements.attributes if tag == "svg"]
    assert pictures
    assert all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in pictures)
    assert [a["aria-sort"] for _, a in elements.attributes if "aria-sort" in a] == ["descending"]


def test_judged_at_10_stands_below_every_score(board: Board, page: str, tmp_path: Path) -> None:
    """As a small figure, with words that say what it is; where results lack it, nothing speaks of it."""
    scores = sum(board.entry(row, column) is not None for row in board.rows for column in board.sets)
    assert page.count('<small title="Judged@10">.40</small>') == scores
    assert "Judged@10 is the share" in page
    write_results(tmp_path, "set", "only", [0.1, 0.5], judged=None)
    assert "Judged@10" not in render_page(make_board(read_scores(tmp_path)))


def test_the_same_results_make_the_same_page(board: Board, page: str) -> None:
    """To the byte: no date, no random id."""
    assert render_page(board, title="A <title> & more") == page


def test_boards_of_any_shape_become_pages(tmp_path: Path) -> None:
    """One system on one set is compared with nothing; where no system has all sets, none has a mean."""
    write_results(tmp_path / "one", "set", "only", [0.1])
    page = render_page(make_board(read_scores(tmp_path / "one")))
    assert ">Mean<" not in page
    assert ">Group<" in page
    assert "1 system on 1 test collection, " in page
    assert "set, 1 query</figcaption>" in page
    assert "Query by query" not in page
    write_results(tmp_path / "apart", "first", "one", [0.1, 0.5])
    write_results(tmp_path / "apart", "second", "other", [0.1, 0.5])
    board = make_board(read_scores(tmp_path / "apart"))
    assert board.overall is None
    assert [row.overall for row in board.rows] == [None, None]
    page = render_page(board)
    assert ">Mean<" not in page
    assert page.count(">Group<") == 2
    assert page.count("<small>1 of 2 sets</small>") == 2
    assert "No system has all sets" in page


def test_results_of_several_versions_tell_all_of_them(tmp_path: Path) -> None:
    """The last one would be credited with what others measured."""
    for system, version in (("one", "2"), ("other", "3")):
        path = write_results(tmp_path, "set", system, [0.1, 0.5]) / "results.json"
        path.write_text(path.read_text().replace('{"numpy": "2"}', f'{{"numpy": "{version}"}}'))
    assert "numpy 2 and 3" in render_page(make_board(read_scores(tmp_path)))

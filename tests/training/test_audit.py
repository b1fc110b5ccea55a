"""The list for a person to read: likely false negatives first, a row for each, whatever their texts hold."""

from retrieval.training.audit import Audit
from retrieval.training.mining import Asked, Candidate, Found
from retrieval.types import Query

COLUMNS = [
    *("outcome", "query_id", "query", "positive_id", "positive", "document_id", "document"),
    *("source", "rank", "relative", "probability"),
]


def candidate(id_: str, score: float, outcome: str = "kept", *, rank: int = 1, **changes: object) -> Candidate:
    """Of a query whose best positive has the score 10."""
    return Candidate("q", "s", Found(id_, rank, score), ("p", 10.0), outcome, **changes)  # type: ignore[arg-type]


def rows(audit: Audit) -> list[dict[str, str]]:
    header, *lines = audit.content().splitlines()
    assert header.split("\t") == COLUMNS
    return [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines]


def added(audit: Audit, *candidates: Candidate, query: str = "q", text: str = "text") -> Audit:
    texts = {"p": "positive", **{candidate.hit.id: text for candidate in candidates}}
    audit.add(Asked(Query(query, "question"), {"p": 1}, []), candidates, texts)
    return audit


def test_the_nearest_to_the_positive_come_first_and_kept_before_dropped() -> None:
    """Near on either side, and discounted by rank; what was not drawn, judged or relevant is not listed."""
    audit = added(
        Audit(10),
        *(candidate("a", 50), candidate("b", 9), candidate("c", 10, rank=3), candidate("d", 9.5, "margin")),
        *(candidate("e", 10, "not drawn"), candidate("p", 10, "positive"), candidate("f", 10, "judged")),
    )
    assert [(row["document_id"], row["outcome"]) for row in rows(audit)] == [
        ("b", "kept"),
        ("c", "kept"),
        ("a", "kept"),
        ("d", "margin"),
    ]
    assert rows(audit)[0]["relative"] == "0.9000"


def test_a_cross_encoders_probability_comes_before_scores() -> None:
    """Those that it did not read stand behind."""
    audit = added(
        Audit(10), candidate("a", 10), candidate("b", 1, probability=0.02), candidate("c", 1, probability=0.05)
    )
    assert [row["document_id"] for row in rows(audit)] == ["c", "b", "a"]
    assert [row["probability"] for row in rows(audit)] == ["0.0500", "0.0200", ""]


def test_a_query_has_few_rows_and_the_list_has_its_length() -> None:
    """The nearest three of one query, once each, and the nearest of all queries."""
    audit = Audit(4)
    added(audit, *(candidate(f"a{number}", 10 - number) for number in range(5)), candidate("a0", 2), query="1")
    assert [row["document_id"] for row in rows(audit)] == ["a0", "a1", "a2"]
    added(audit, candidate("b", 9.9), candidate("c", 9.8), query="2")
    assert [row["document_id"] for row in rows(audit)] == ["a0", "b", "c", "a1"]
    assert rows(added(Audit(0), candidate("a", 1))) == []


def test_texts_cannot_break_the_table_or_reach_the_terminal() -> None:
    """Tabs, line ends and control characters become spaces, and long texts are cut."""
    (row,) = rows(added(Audit(1), candidate("a", 9), text="one\ttwo\r\n\x1b[31mthree " + "x" * 1000))
    assert row["document"].startswith("one two [31mthree xxx")
    assert len(row["document"]) == 301
    assert row["document"].endswith("…")


def test_a_score_of_0_for_the_positive_has_no_ratio() -> None:
    """Such a row is not listed without a cross-encoder; of negative scores, 1 is still equality."""
    nothing = Candidate("q", "s", Found("a", 1, 1.0), ("p", 0.0), "kept")
    assert rows(added(Audit(1), nothing)) == []
    assert Candidate("q", "s", Found("a", 1, -2.5), ("p", -2.0)).relative == 0.75

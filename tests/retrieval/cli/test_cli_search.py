import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ir_measures
import pytest

Cli = Callable[..., Any]
Jsonl = Callable[..., Path]


def ids(answer: Any) -> list[str]:
    """The ids of the hits of `--json`."""
    return [hit["id"] for hit in answer.json["hits"]]


def test_a_question_is_answered_on_stdout(cli: Cli, lexical_index: Path) -> None:
    """Rank, score, id, title and text of each hit; stems match, and the talk is empty."""
    answer = cli("search", lexical_index, "glowing nitrogen")
    assert (answer.code, answer.err) == (0, "")
    first, text, second, *_ = answer.out.splitlines()
    assert first.split()[0::2] == ["1", "c"]
    assert text.strip() == "Oxygen glows green, nitrogen glows red."
    assert second.split()[0] == "2"
    assert second.split()[2:] == ["a", "Aurora"]


def test_json_holds_all_that_a_hit_has(cli: Cli, lexical_index: Path) -> None:
    """The question, the mode, k, and each hit with its text, metadata and signals."""
    answer = cli("search", lexical_index, "aurora", "--json")
    assert answer.code == 0
    (hit,) = answer.json["hits"]
    assert answer.json == {"query": "aurora", "using": "lexical", "k": 10, "hits": [hit]}
    score = hit["score"]
    assert score > 0
    assert hit == {
        "id": "a",
        "score": score,
        "rank": 1,
        "title": "Aurora",
        "text": "Solar wind makes the sky glow.",
        "metadata": {"year": 2001},
        "signals": {"lexical": {"rank": 1, "score": score}},
        "passage": None,
        "terms": {},
    }


def test_ties_stand_in_the_order_of_the_corpus(cli: Cli, lexical_index: Path) -> None:
    """Equal documents have equal scores."""
    answer = cli("search", lexical_index, "plasma", "--json")
    assert ids(answer) == ["twin-1", "twin-2"]
    assert answer.json["hits"][0]["score"] == answer.json["hits"][1]["score"]


@pytest.mark.parametrize("query", ["", "   ", "zyzzyva", "the of and", "?!"])
def test_a_question_without_a_known_word_has_no_hits(cli: Cli, lexical_index: Path, query: str) -> None:
    """Empty, unknown, stop words only, or no word at all: no error, and nothing on stdout."""
    answer = cli("search", lexical_index, query)
    assert (answer.code, answer.out, answer.err) == (0, "", "no hits\n")
    assert cli("search", lexical_index, query, "--json").json["hits"] == []


@pytest.mark.parametrize("using", ["lexical", "dense", "hybrid"])
@pytest.mark.parametrize("query", ["", "  "])
def test_an_empty_question_has_no_hits_in_any_mode(cli: Cli, hybrid_index: Path, using: str, query: str) -> None:
    """A dense model would give it a vector, and every document a score."""
    answer = cli("search", hybrid_index, query, "--using", using, "--json")
    assert (answer.code, answer.json["hits"]) == (0, [])


@pytest.mark.parametrize(("k", "count"), [(0, 0), (1, 1), (2, 2), (1000, 2)])
def test_k_is_how_many_hits_there_are_at_most(cli: Cli, lexical_index: Path, k: int, count: int) -> None:
    """Above the number of matches there is no padding."""
    assert ids(cli("search", lexical_index, "solar", "-k", k, "--json")) == ["a", "b"][:count]


@pytest.mark.parametrize(("k", "count"), [(0, 0), (3, 3), (1000, 5)])
@pytest.mark.parametrize("using", ["dense", "hybrid"])
def test_dense_search_finds_every_document_but_the_empty_one(
    cli: Cli, hybrid_index: Path, using: str, k: int, count: int
) -> None:
    """Best first, none twice; a word that no document holds is answered as well."""
    answer = cli("search", hybrid_index, "zyzzyva", "-k", k, "--using", using, "--json")
    scores = [hit["score"] for hit in answer.json["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert len(set(ids(answer))) == count
    assert "d" not in ids(answer)


def test_an_index_of_both_parts_is_searched_with_both(cli: Cli, hybrid_index: Path) -> None:
    """Unless another mode is named."""
    assert cli("search", hybrid_index, "aurora", "--json").json["using"] == "hybrid"
    assert cli("search", hybrid_index, "aurora", "--using", "dense", "--json").json["using"] == "dense"


def test_hybrid_keeps_what_each_stage_said(cli: Cli, hybrid_index: Path) -> None:
    """Signals are the ranks and scores of the stages on their own; a stage that lacks a hit says nothing."""
    alone = {}
    for stage in ("lexical", "dense"):
        hits = cli("search", hybrid_index, "aurora", "--using", stage, "--json").json["hits"]
        alone[stage] = {hit["id"]: {"rank": hit["rank"], "score": hit["score"]} for hit in hits}
    hits = cli("search", hybrid_index, "aurora", "--json").json["hits"]
    assert len(hits) == 5
    for hit in hits:
        assert hit["signals"] == {stage: said[hit["id"]] for stage, said in alone.items() if hit["id"] in said}


def test_explain_shows_what_each_stage_said(cli: Cli, hybrid_index: Path) -> None:
    """A line for each stage below the hit."""
    plain = cli("search", hybrid_index, "aurora", "-k", 1, "--weight", "lexical=2").out
    explained = cli("search", hybrid_index, "aurora", "-k", 1, "--weight", "lexical=2", "--explain").out
    assert explained.startswith(plain)
    lexical, dense = explained.removeprefix(plain).splitlines()
    assert lexical.strip().startswith("lexical: rank 1, score ")
    assert dense.strip().startswith("dense: rank ")


@pytest.mark.parametrize(("fusion", "best"), [("minmax", 1.0), ("zscore", 1.0), ("rrf", 1 / 61)])
def test_the_fusion_and_its_weights_can_be_chosen(cli: Cli, hybrid_index: Path, fusion: str, best: float) -> None:
    """With the dense list at 0, the only lexical hit has what the method gives a first rank."""
    options = ["--fusion", fusion, "--weight", "dense=0", "--weight", "lexical=1"]
    hits = cli("search", hybrid_index, "aurora", *options, "--json").json["hits"]
    assert hits[0]["id"] == "a"
    assert [hit["score"] for hit in hits] == pytest.approx([best, 0, 0, 0, 0])


@pytest.fixture
def questions(jsonl: Jsonl) -> Path:
    """Three questions, the second without a known word."""
    return jsonl(
        "q.jsonl",
        {"_id": "q1", "text": "solar wind"},
        {"_id": "q2", "text": "zyzzyva"},
        {"_id": "q3", "text": "plasma"},
    )


def test_a_file_of_questions_becomes_a_trec_run(cli: Cli, lexical_index: Path, questions: Path) -> None:
    """On stdout, in the order of the questions; the count is talk, and a question without hits has no line."""
    answer = cli("search", lexical_index, "--queries", questions, "-k", 2, "--tag", "mine")
    assert (answer.code, answer.err) == (0, "3 queries, 4 hits\n")
    rows = [line.split() for line in answer.out.splitlines()]
    assert [(row[0], row[1], row[3], row[5]) for row in rows] == [
        ("q1", "Q0", "1", "mine"),
        ("q1", "Q0", "2", "mine"),
        ("q3", "Q0", "1", "mine"),
        ("q3", "Q0", "2", "mine"),
    ]
    assert {row[2] for row in rows[:2]} == {"a", "b"}
    assert float(rows[2][4]) > float(rows[3][4])


def test_a_run_goes_into_a_file_that_evaluation_tools_read(
    cli: Cli, lexical_index: Path, questions: Path, tmp_path: Path
) -> None:
    """Its folder is made, and its scores are those of each question alone."""
    out = tmp_path / "runs" / "bm25.trec"
    answer = cli("search", lexical_index, "--queries", questions, "--out", out)
    assert (answer.code, answer.out) == (0, "")
    first = {hit.doc_id: hit.score for hit in ir_measures.read_trec_run(str(out)) if hit.query_id == "q1"}
    alone = cli("search", lexical_index, "solar wind", "--json").json["hits"]
    assert first == pytest.approx({hit["id"]: hit["score"] for hit in alone})


@pytest.mark.parametrize("option", [["--format", "jsonl"], ["--json"]])
def test_a_file_of_questions_can_be_answered_as_jsonl(
    cli: Cli, lexical_index: Path, questions: Path, option: list[str]
) -> None:
    """One line a question, with whole hits; none is left out."""
    answer = cli("search", lexical_index, "--queries", questions, *option)
    assert answer.code == 0
    answers = [json.loads(line) for line in answer.out.splitlines()]
    assert [(each["query_id"], each["query"]) for each in answers] == [
        ("q1", "solar wind"),
        ("q2", "zyzzyva"),
        ("q3", "plasma"),
    ]
    alone = cli("search", lexical_index, "solar wind", "--json").json["hits"]
    assert [each["hits"] for each in answers[:2]] == [alone, []]


def test_a_dense_run_answers_every_question_but_the_empty_one(cli: Cli, hybrid_index: Path, jsonl: Jsonl) -> None:
    """Each as if it were alone, in a batch as well."""
    path = jsonl("q.jsonl", {"_id": "1", "text": "aurora"}, {"_id": "2", "text": ""}, {"_id": "3", "text": "storm"})
    answer = cli("search", hybrid_index, "--queries", path, "--using", "dense", "--json")
    found = [[hit["id"] for hit in json.loads(line)["hits"]] for line in answer.out.splitlines()]
    alone = [ids(cli("search", hybrid_index, query, "--using", "dense", "--json")) for query in ("aurora", "storm")]
    assert found == [alone[0], [], alone[1]]


def test_ids_that_a_trec_run_cannot_hold_are_refused(cli: Cli, jsonl: Jsonl, questions: Path, tmp_path: Path) -> None:
    """White space separates its fields; JSONL holds them."""
    corpus = jsonl("c.jsonl", {"_id": "my doc", "text": "plasma"})
    cli("index", "build", corpus, "--out", tmp_path / "index")
    answer = cli("search", tmp_path / "index", "--queries", questions)
    assert (answer.code, answer.out) == (1, "")
    assert "error: a TREC run cannot hold the id 'my doc'" in answer.err
    assert "hint: " in answer.err
    assert cli("search", tmp_path / "index", "--queries", questions, "--format", "jsonl").code == 0


def test_a_filter_leaves_documents_out(cli: Cli, jsonl: Jsonl, tmp_path: Path) -> None:
    """By metadata, for one question and for a file of them."""
    corpus = jsonl("years.jsonl", *({"_id": f"y{year}", "text": "solar wind", "year": year} for year in (1999, 2020)))
    assert cli("index", "build", corpus, "--out", tmp_path / "index").code == 0
    only = '{"year": {"$gte": 2000}}'
    assert ids(cli("search", tmp_path / "index", "wind", "--filter", only, "--json")) == ["y2020"]
    queries = jsonl("queries.jsonl", {"_id": "q", "text": "wind"})
    run = cli("search", tmp_path / "index", "--queries", queries, "--filter", only)
    assert [line.split()[2] for line in run.out.splitlines()] == ["y2020"]


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ("{year", "error: --filter: not JSON"),
        ("[1]", "error: filter: must be an object; got [1]"),
        ("null", "error: --filter: must be an object; got null"),
        ('{"yaer": 1}', "error: filter.yaer: no document has a field 'yaer'; fields: year"),
    ],
)
def test_a_filter_that_cannot_be_understood(cli: Cli, lexical_index: Path, filter_: str, message: str) -> None:
    """Is a usage error that names the place in it."""
    answer = cli("search", lexical_index, "wind", "--filter", filter_)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(message)


def test_a_model_that_has_moved_can_be_named(
    cli: Cli, corpus: Path, tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    """Where it was it is not found; where it is now it is recognised by its weights, and another one is not."""
    model = make_model()
    cli("index", "build", corpus, "--out", tmp_path / "index", "--dense", model)
    moved = model.rename(tmp_path / "moved")
    question = ("search", tmp_path / "index", "plasma", "--using", "dense")
    assert cli(*question).code == 1
    assert cli(*question, "--dense", moved).code == 0
    assert "is not the one the index was built with" in cli(*question, "--dense", make_model(seed=1)).err


def test_a_file_that_holds_no_queries(cli: Cli, lexical_index: Path, tmp_path: Path) -> None:
    """A text file is not one query."""
    (tmp_path / "q.txt").write_text("wind\nsky\n")
    answer = cli("search", lexical_index, "--queries", tmp_path / "q.txt")
    assert answer.code == 1
    assert "not a file of queries\nhint: queries come as JSONL, TSV, CSV or Parquet" in answer.err


def test_control_characters_do_not_reach_the_terminal(cli: Cli, jsonl: Jsonl, tmp_path: Path) -> None:
    """They could rename a window or hide a line."""
    corpus = jsonl("evil.jsonl", {"_id": "e", "title": "wind\n\x1b]0;gone\x07", "text": "a\x1b[2Jb"})
    cli("index", "build", corpus, "--out", tmp_path / "index")
    out = cli("search", tmp_path / "index", "wind").out
    assert out.splitlines() == [out.splitlines()[0], "     a [2Jb"]
    assert out.replace("\n", "").isprintable()

"""Sparse vectors through the command line: from a file, from a model, out again, and explained."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.retrieval.cli.conftest import Cli
from tests.retrieval.encoders.conftest import write_masked

Jsonl = Callable[..., Path]

VECTORS = {
    "a": {"aurora": 3, "solar": 2, "glow": 1},
    "b": {"storm": 4, "solar": 1},
    "c": {"glow": 2, "oxygen": 5},
    "d": {},
    "twin-1": {"plasma": 7},
    "twin-2": {"plasma": 7},
}
QUERIES = {"1": {"solar": 2.5, "glow": 1.0}, "2": {"plasma": 1.0}, "3": {}}


def records(vectors: dict[str, dict[str, float]]) -> Iterator[dict[str, object]]:
    return ({"id": id_, "vector": vector} for id_, vector in vectors.items())


@pytest.fixture
def vectors(jsonl: Jsonl) -> Path:
    """The six documents' vectors."""
    return jsonl("vectors.jsonl", *records(VECTORS))


@pytest.fixture
def index(cli: Cli, corpus: Path, vectors: Path, tmp_path: Path) -> Path:
    """An index of the six documents with a lexical and a sparse part."""
    assert cli("index", "build", corpus, "--out", tmp_path / "index", "--sparse-vectors", vectors).code == 0
    return tmp_path / "index"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny masked language model."""
    return write_masked(tmp_path_factory.mktemp("models") / "masked", kind="bert", seed=3)


def test_vectors_of_a_file_are_searched_with_vectors_of_a_file(cli: Cli, index: Path, jsonl: Jsonl) -> None:
    """As a TREC run; a query without tokens finds nothing. With texts beside them, the lexical part answers too."""
    asked = jsonl("queries.jsonl", *records(QUERIES))
    run = cli("search", index, "--query-vectors", asked, "--using", "sparse", "-k", 5)
    assert run.code == 0
    lines = [line.split() for line in run.out.splitlines()]
    assert [(line[0], line[2], float(line[4])) for line in lines[:4]] == [
        ("1", "a", 6.0),
        ("1", "b", 2.5),
        ("1", "c", 2.0),
        ("2", "twin-2", 7.0),
    ]
    texts = jsonl("texts.jsonl", *({"_id": id_, "text": f"oxygen {id_}"} for id_ in QUERIES))
    both = cli("search", index, "--queries", texts, "--query-vectors", asked, "--using", "lexical+sparse", "--json")
    found = [json.loads(line) for line in both.out.splitlines()]
    assert {hit["id"] for hit in found[0]["hits"]} == {"a", "b", "c"}
    assert set(found[0]["hits"][0]["signals"]) <= {"lexical", "sparse"}


def test_what_an_index_holds_goes_out_again(cli: Cli, index: Path, tmp_path: Path) -> None:
    """Every vector, of documents that are not deleted, to a file or to stdout."""
    assert cli("index", "delete", index, "b").code == 0
    assert cli("index", "vectors", index, "--out", tmp_path / "out.jsonl").code == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {line["id"]: line["vector"] for line in lines} == {id_: row for id_, row in VECTORS.items() if id_ != "b"}
    assert cli("index", "vectors", index).out == (tmp_path / "out.jsonl").read_text()


def test_added_documents_need_vectors(cli: Cli, index: Path, jsonl: Jsonl) -> None:
    """Of the same making; a file that lacks one is an error, and nothing is added."""
    more = jsonl("more.jsonl", {"_id": "e", "text": "new"})
    answer = cli("index", "add", index, more)
    assert answer.code == 2
    assert "computed elsewhere" in answer.err
    assert "--sparse-vectors FILE" in answer.err
    lacking = cli("index", "add", index, more, "--sparse-vectors", jsonl("one.jsonl", *records({"f": {"x": 1}})))
    assert lacking.code == 2
    assert "has no vector of document 'e'" in lacking.err
    assert cli("index", "add", index, more, "--sparse-vectors", jsonl("e.jsonl", *records({"e": {"x": 9}}))).code == 0
    assert cli("index", "verify", index).code == 0
    asked = jsonl("q.jsonl", *records({"q": {"x": 1}}))
    assert " e 1 9.0" in cli("search", index, "--query-vectors", asked, "--using", "sparse").out


def test_a_model_encodes_documents_and_questions(cli: Cli, corpus: Path, model: Path, tmp_path: Path) -> None:
    """And an explanation adds up the tokens, and says which of them are expansions."""
    path = tmp_path / "index"
    assert (
        cli("index", "build", corpus, "--out", path, "--sparse", model, "--document-top", 9, "--no-lexical").code == 0
    )
    hits = cli("search", path, "solar wind", "--explain", "--json").json["hits"]
    assert hits
    for hit in hits:
        assert sum(term["score"] for term in hit["terms"].values()) == pytest.approx(hit["score"], rel=1e-4)
        assert hit["terms"]
    assert any(term["in_query"] is False for hit in hits for term in hit["terms"].values())
    shown = cli("search", path, "solar wind", "--explain").out
    assert "sparse: rank 1, score " in shown
    assert "(expansion of the query" in shown
    info = cli("index", "info", path).out
    assert str(model) in info
    assert "weights on average" in info


def test_what_a_model_encodes_is_what_an_index_of_it_holds(cli: Cli, corpus: Path, model: Path, tmp_path: Path) -> None:
    """`retrieval encode` writes what `--sparse-vectors` reads."""
    built, read = tmp_path / "built", tmp_path / "read"
    assert cli("encode", corpus, "--sparse", model, "--out", tmp_path / "v.jsonl").code == 0
    assert cli("index", "build", corpus, "--out", built, "--sparse", model, "--no-lexical").code == 0
    assert (
        cli("index", "build", corpus, "--out", read, "--sparse-vectors", tmp_path / "v.jsonl", "--no-lexical").code == 0
    )
    one, other = (cli("search", path, "night sky", "--sparse", model, "--json").json["hits"] for path in (built, read))
    assert [(hit["id"], hit["score"]) for hit in one] == [(hit["id"], hit["score"]) for hit in other]


def test_queries_are_encoded_as_queries(cli: Cli, jsonl: Jsonl, model: Path) -> None:
    """One line each, with the ids of the file."""
    queries = jsonl("queries.jsonl", {"_id": "q1", "text": "solar"}, {"_id": "q2", "text": ""})
    lines = cli("encode", queries, "--sparse", model, "--as", "query", "--query-top", 3).out.splitlines()
    found = {line["id"]: line["vector"] for line in map(json.loads, lines)}
    assert list(found) == ["q1", "q2"]
    assert len(found["q1"]) == 3


def test_a_question_without_a_model_is_told_what_to_do(cli: Cli, index: Path) -> None:
    """An index of vectors computed elsewhere does not know how."""
    answer = cli("search", index, "solar wind", "--using", "sparse")
    assert answer.code == 2
    assert "--query-vectors FILE" in answer.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--sparse", "x", "--sparse-vectors", "VECTORS"), "exclude each other"),
        (("--sparse-vectors", "VECTORS", "--document-top", "3"), "are for --sparse MODEL"),
        (("--sparse", "./nowhere"), "no such folder"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: tuple[str, ...], named: str, cli: Cli, corpus: Path, vectors: Path, tmp_path: Path
) -> None:
    """Before anything is written."""
    given = [str(vectors) if one == "VECTORS" else one for one in arguments]
    answer = cli("index", "build", corpus, "--out", tmp_path / "new", *given)
    assert answer.code != 0
    assert named in answer.err
    assert not (tmp_path / "new").exists()


def test_an_evaluation_of_vectors_of_a_file(
    cli: Cli, corpus: Path, vectors: Path, jsonl: Jsonl, tmp_path: Path
) -> None:
    """Each system by its name; hybrid fuses all the parts."""
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    (data / "corpus.jsonl").write_text(corpus.read_text())
    (data / "queries.jsonl").write_text('{"_id": "1", "text": "solar"}\n{"_id": "2", "text": "plasma"}\n')
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\ttwin-2\t1\n")
    asked = jsonl("queries.jsonl", *records(QUERIES))
    given = ("--sparse-vectors", vectors, "--query-vectors", asked, "--out", tmp_path / "out")
    results = cli("eval", "run", data, "--using", "sparse,lexical+sparse,hybrid", *given, "--json").json
    systems = {system["name"]: system for system in results["systems"]}
    assert list(systems) == ["sparse", "lexical+sparse", "hybrid"]
    assert systems["sparse"]["per_query"]["1"]["nDCG@10"] == 1
    assert systems["hybrid"]["measures"] == systems["lexical+sparse"]["measures"]
    lacking = cli("eval", "run", data, "--using", "sparse", "--out", tmp_path / "other")
    assert lacking.code == 2
    assert "--sparse MODEL, --sparse-vectors FILE" in lacking.err

from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.beir_eval.datasets import check_fit, load_collection, query_ids, read_qrels
from retrieval.errors import CollectionError, CorpusError

MakeFolder = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> MakeFolder:
    """Writes a collection of queries 1, 2 and 3 with the judgements given, and says where."""

    def write(qrels: str | bytes, *, split: str = "test", queries: tuple[str, ...] = ("1", "2", "3")) -> Path:
        folder = tmp_path / "collection"
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        lines = (f'{{"_id": "{query}", "text": "question {query}"}}\n' for query in queries)
        (folder / "queries.jsonl").write_text("".join(lines))
        content = qrels.encode() if isinstance(qrels, str) else qrels
        (folder / "qrels" / f"{split}.tsv").write_bytes(content)
        return folder

    return write


HEADER = "query-id\tcorpus-id\tscore\n"
BEIR = HEADER + "2\ta\t1\n1\tb\t2\n1\ta\t0\n"


@pytest.mark.parametrize(
    "qrels",
    [
        BEIR,
        BEIR.replace("\n", "\r\n"),
        "\ufeff" + BEIR,
        BEIR.removeprefix(HEADER),
        BEIR.removeprefix(HEADER).rstrip() + "\n\n",
        "2\tQ0\ta\t1\n1\t0\tb\t2\n1\t0\ta\t0\n",
        "2 0 a 1\n1 0  b 2\n1 0 a 0\n",
        "2\ta\t1.0\n1\tb\t2\n1\ta\t0\n",
    ],
    ids=["beir", "crlf", "bom", "headerless", "blank line", "trec tabs", "trec spaces", "grade 1.0"],
)
def test_judgements_are_read_from_every_form(make: MakeFolder, qrels: str) -> None:
    """BEIR's three columns, with or without its header, and TREC's four; a grade of 0 is kept."""
    collection = load_collection(make(qrels))
    assert collection.qrels == {"1": {"b": 2, "a": 0}, "2": {"a": 1}}
    assert collection.problems == []


def test_only_judged_queries_are_run(make: MakeFolder) -> None:
    """They keep the order of the queries file."""
    collection = load_collection(make(BEIR))
    assert [query.id for query in collection.queries] == ["1", "2"]
    assert collection.queries[0].text == "question 1"
    assert (collection.name, collection.split) == ("collection", "test")


def test_a_split_is_a_qrels_file(make: MakeFolder) -> None:
    """One that is not there is told with those that are."""
    make(BEIR, split="train")
    folder = make("3\tc\t1\n", split="dev")
    assert list(load_collection(folder, "dev").qrels) == ["3"]
    with pytest.raises(CollectionError, match=r"qrels/test\.tsv: no such file") as caught:
        load_collection(folder)
    assert caught.value.hint == "splits here: dev, train"


def test_a_folder_that_is_no_collection_is_told(tmp_path: Path, make: MakeFolder) -> None:
    """The hint shows the layout that was expected; queries may be missing on their own."""
    with pytest.raises(CollectionError, match="no such file") as caught:
        load_collection(tmp_path)
    assert "queries.jsonl, qrels/test.tsv" in (caught.value.hint or "")
    folder = make(BEIR)
    (folder / "queries.jsonl").unlink()
    with pytest.raises(CollectionError, match=r"collection: no queries\.jsonl here"):
        load_collection(folder)


def test_queries_may_stand_in_a_tsv_file(make: MakeFolder) -> None:
    """As in MS MARCO."""
    folder = make(BEIR)
    (folder / "queries.jsonl").unlink()
    (folder / "queries.tsv").write_text("1\twhat glows?\n2\twhy?\n")
    assert [query.text for query in load_collection(folder).queries] == ["what glows?", "why?"]


PROBLEMS = [
    (BEIR + "7\ta\t1\n8\ta\t1\n", "2 judged queries not in the queries file: 7, 8"),
    (BEIR + "2\ta\t1\n", "1 pair judged more than once: 2 a"),
    (BEIR + "2\ta\t0\n", "1 pair judged with different grades: 2 a"),
    (BEIR + "3\ta\tNaN\n", "line 5: the grade 'NaN' is not a whole number"),
    (BEIR + "3\ta\tinf\n", "line 5: the grade 'inf' is not a whole number"),
    (BEIR + "3\ta\t0.5\n", "line 5: the grade '0.5' is not a whole number"),
    (BEIR + "3\ta\t\n", "line 5: the grade '' is not a whole number"),
]


@pytest.mark.parametrize(("qrels", "problem"), PROBLEMS)
def test_judgements_that_do_not_fit_stop_before_anything_runs(make: MakeFolder, qrels: str, problem: str) -> None:
    """Missing queries, duplicates and grades that are no number are named, with the file and what to do."""
    folder = make(qrels)
    with pytest.raises(CollectionError) as caught:
        load_collection(folder)
    assert str(caught.value) == f"{folder / 'qrels' / 'test.tsv'}: {problem}"
    assert "--on-error skip" in (caught.value.hint or "")


@pytest.mark.parametrize(("qrels", "problem"), PROBLEMS)
def test_skip_leaves_them_out_and_reports_them(make: MakeFolder, qrels: str, problem: str) -> None:
    """What remains is what the good lines say; of a pair judged twice the first grade holds."""
    collection = load_collection(make(qrels), on_error="skip")
    assert collection.qrels == {"1": {"b": 2, "a": 0}, "2": {"a": 1}}
    assert collection.problems == [problem]


def test_every_problem_is_named_at_once(make: MakeFolder) -> None:
    """So that the files can be mended in one go."""
    with pytest.raises(CollectionError) as caught:
        load_collection(make("".join([BEIR, "7\ta\t1\n", "2\ta\t1\n", "3\ta\tx\n"])))
    for problem in ("not in the queries file: 7", "more than once: 2 a", "line 7: the grade 'x'"):
        assert problem in str(caught.value)


def test_a_long_list_of_problems_is_shortened(make: MakeFolder) -> None:
    """The count is told in full."""
    with pytest.raises(CollectionError, match=r"7 judged queries .*: 10, 11, 12, 13, 14, …"):
        load_collection(make("".join(f"{query}\ta\t1\n" for query in range(10, 17))))


@pytest.mark.parametrize("qrels", [BEIR + "3\ta\n", BEIR + "3\ta\tb\tc\td\n", b"\xff\xfe1\x00\t\x00"])
def test_a_file_that_is_no_table_of_judgements_stops_with_its_line(make: MakeFolder, qrels: str | bytes) -> None:
    """Under `skip` as well: nobody knows what it is."""
    folder = make(qrels)
    for on_error in ("stop", "skip"):
        with pytest.raises(CollectionError, match=r"test\.tsv:\d: expected query, document and grade"):
            load_collection(folder, on_error=on_error)


def test_a_collection_without_a_judged_query_is_an_error(make: MakeFolder) -> None:
    """There would be nothing to take the mean of."""
    with pytest.raises(CollectionError, match="holds no judgement"):
        load_collection(make(HEADER))
    with pytest.raises(CollectionError, match="none of its queries is in the queries file"):
        load_collection(make("7\ta\t1\n"), on_error="skip")


def test_a_bad_query_stops_with_its_line(make: MakeFolder) -> None:
    """A duplicate query id cannot be told apart."""
    with pytest.raises(CorpusError, match=r"queries\.jsonl:2: duplicate id '1'"):
        load_collection(make(BEIR, queries=("1", "1")))


def test_the_fit_names_unknown_documents_and_own_ids(make: MakeFolder) -> None:
    """Judged documents that the index lacks, and queries whose id a document has."""
    fit = check_fit(load_collection(make(BEIR)), iter(["b", "x", "2", "3"]))
    assert (fit.unknown, fit.own) == (["a"], ["2"])
    assert fit.notes(keep_self=False) == [
        "1 judged document not in the index: a",
        "1 query with the id of a document, which is left out of its hits: 2",
    ]
    assert "may be found" in fit.notes(keep_self=True)[1]


def test_a_perfect_fit_has_no_notes(make: MakeFolder) -> None:
    """Nothing is said where nothing is wrong."""
    assert check_fit(load_collection(make(BEIR)), ["a", "b", "c"]).notes(keep_self=False) == []


def test_ids_that_no_run_can_hold_are_named_before_anything_runs(make: MakeFolder) -> None:
    """White space separates the fields of TREC's format."""
    with pytest.raises(CollectionError, match="2 ids with white space, which TREC runs cannot hold: my doc, tab\tdoc"):
        check_fit(load_collection(make(BEIR)), ["a", "my doc", "b", "tab\tdoc"])
    spaced = load_collection(make("my query\ta\t1\n", queries=("my query",)))
    with pytest.raises(CollectionError, match="1 id with white space, which TREC runs cannot hold: my query"):
        check_fit(spaced, ["a"])


def test_judgements_can_be_read_alone(tmp_path: Path) -> None:
    """In either form; what is wrong with them stops, with the line."""
    path = tmp_path / "qrels.txt"
    path.write_text("1 0 a 2\n1 0 b 0\n2 0 a 1\n")
    assert read_qrels(path) == {"1": {"a": 2, "b": 0}, "2": {"a": 1}}
    path.write_text("1 0 a 2\n1 0 b much\n")
    with pytest.raises(CollectionError, match=r"qrels\.txt: line 2: the grade 'much' is not a whole number"):
        read_qrels(path)
    path.write_text("")
    with pytest.raises(CollectionError, match=r"qrels\.txt: holds no judgement"):
        read_qrels(path)
    with pytest.raises(CollectionError, match=r"absent\.txt: cannot be read as judgements"):
        read_qrels(tmp_path / "absent.txt")


def test_query_ids_are_those_of_all_queries(make: MakeFolder) -> None:
    """Also of those without judgements."""
    assert query_ids(make(BEIR)) == {"1", "2", "3"}

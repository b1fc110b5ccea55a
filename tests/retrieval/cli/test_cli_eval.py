import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ir_measures
import pytest

Cli = Callable[..., Any]
Jsonl = Callable[..., Path]

DEFAULT_MEASURES = ["nDCG@10", "R@100", "RR@10", "AP", "P@10", "Judged@10"]


@pytest.fixture
def data(corpus: Path, jsonl: Jsonl) -> Path:
    """A collection over the six documents: three judged queries, one of them with a document's id, and one that is not.

    The first finds a and, below it, the relevant b; query b finds its own document and, below it, the relevant a; the
    last finds nothing.
    """
    jsonl(
        "data/queries.jsonl",
        {"_id": "q1", "text": "solar wind glow"},
        {"_id": "unjudged", "text": "plasma"},
        {"_id": "b", "text": "magnetic wind"},
        {"_id": "q3", "text": "zyzzyva"},
    )
    folder = corpus.parent / "data"
    corpus.rename(folder / "corpus.jsonl")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tb\t1\nb\ta\t2\nq3\tc\t1\n")
    return folder


def results_in(folder: Path) -> Any:
    """The content of results.json."""
    return json.loads((folder / "results.json").read_text())


def run_in(folder: Path, system: str = "lexical") -> dict[str, list[str]]:
    """Query → documents of a system's TREC run, best first."""
    found: dict[str, list[str]] = {}
    for line in (folder / f"{system}.trec").read_text().splitlines():
        query, _, document, rank, _, tag = line.split()
        found.setdefault(query, []).append(document)
        assert (int(rank), tag) == (len(found[query]), system)
    return found


def test_eval_run_writes_a_run_and_results_and_prints_the_table(cli: Cli, data: Path, tmp_path: Path) -> None:
    """The table is data, on stdout; notes and paths are talk."""
    answer = cli("eval", "run", data, "--out", tmp_path / "out")
    assert answer.code == 0
    assert "data test: 3 queries" in answer.out
    for name in ("lexical", "queries/s", *DEFAULT_MEASURES):
        assert name in answer.out
    value = results_in(tmp_path / "out")["systems"][0]["measures"]["nDCG@10"]
    assert f"{value:.4f}" in answer.out
    assert f"{tmp_path / 'out'}: results.json and a run of lexical" in answer.err
    assert set(run_in(tmp_path / "out")) == {"q1", "b"}


def test_results_have_the_documented_form(cli: Cli, data: Path, tmp_path: Path) -> None:
    """Exactly these names, and `--json` prints the same as the file holds."""
    answer = cli("eval", "run", data, "--out", tmp_path / "out", "--json")
    content = answer.json
    assert content == results_in(tmp_path / "out")
    assert content.keys() == {"dataset", "split", "queries", "systems", "environment"}
    assert (content["dataset"], content["split"]) == ("data", "test")
    (system,) = content["systems"]
    assert system.keys() == {"name", "measures", "per_query", "cost", "settings"}
    assert system["name"] == "lexical"
    assert list(system["measures"]) == DEFAULT_MEASURES
    assert system["per_query"].keys() == {"q1", "b", "q3"}
    for values in system["per_query"].values():
        assert set(values) == set(DEFAULT_MEASURES)
    assert system["cost"]["queries_per_second"] > 0
    assert system["settings"]["lexical"]["bm25"]["k1"] == 1.5
    assert "ir-measures" in content["environment"]["versions"]


def test_the_figures_are_right_and_unanswered_queries_count_as_0(cli: Cli, data: Path, tmp_path: Path) -> None:
    """By hand: q1 and b find their document, q3 finds nothing."""
    systems = cli("eval", "run", data, "--out", tmp_path / "out", "--measures", "R@10, P@1", "--json").json["systems"]
    recall = {query: values["R@10"] for query, values in systems[0]["per_query"].items()}
    assert recall == {"q1": 1.0, "b": 1.0, "q3": 0.0}
    assert systems[0]["measures"]["R@10"] == pytest.approx(2 / 3)
    assert list(systems[0]["measures"]) == ["R@10", "P@1", "Judged@10"]


def test_judged_at_10_is_measured_whatever_else_is(cli: Cli, data: Path, tmp_path: Path) -> None:
    """By hand: of the hits of q1 and of b one each is judged; it stands last, in the table, too, and once."""
    for measures in ("RR@10", "Judged@10,RR@10"):
        answer = cli("eval", "run", data, "--out", tmp_path / "out", "--measures", measures)
        assert answer.out.count("Judged@10") == 1
        (system,) = results_in(tmp_path / "out")["systems"]
        assert set(system["measures"]) == {"RR@10", "Judged@10"}
        hits = run_in(tmp_path / "out")
        expected = {"q1": 1 / len(hits["q1"]), "b": 1 / len(hits["b"]), "q3": 0.0}
        assert {query: values["Judged@10"] for query, values in system["per_query"].items()} == pytest.approx(expected)
    assert next(iter(system["measures"])) == "Judged@10"


def test_the_written_run_gives_the_figures_of_the_results(cli: Cli, data: Path, tmp_path: Path) -> None:
    """Measured again by ir-measures, from files alone."""
    cli("eval", "run", data, "--out", tmp_path / "out", "--measures", "nDCG@10,AP,RR,P(rel=2,judged_only=True)@5")
    expected = results_in(tmp_path / "out")["systems"][0]["measures"]
    qrels = [ir_measures.Qrel("q1", "b", 1), ir_measures.Qrel("b", "a", 2), ir_measures.Qrel("q3", "c", 1)]
    run = list(ir_measures.read_trec_run(str(tmp_path / "out" / "lexical.trec")))
    again = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in expected], qrels, run)
    assert {str(name): value for name, value in again.items()} == pytest.approx(expected)


def test_several_systems_share_one_index(cli: Cli, data: Path, tmp_path: Path, tiny_model: Path) -> None:
    """One run each, named by the word given to --using, with settings that tell them apart."""
    using = ["--using", "lexical,dense, hybrid", "--fusion", "rrf", "--weight", "dense=0.5", "--dense", tiny_model]
    answer = cli("eval", "run", data, *using, "--out", tmp_path / "out", "--json")
    systems = {system["name"]: system["settings"] for system in answer.json["systems"]}
    assert list(systems) == ["lexical", "dense", "hybrid"]
    assert "dense" not in systems["lexical"]
    assert systems["dense"]["dense"]["encoder"]["model"] == str(tiny_model)
    assert systems["hybrid"]["fusion"]["method"] == "ReciprocalRank"
    assert systems["hybrid"]["fusion"]["weights"] == {"dense": 0.5}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("results.json", "lexical.trec", "dense.trec", "hybrid.trec", "index")
    }
    assert set(run_in(tmp_path / "out", "dense")["q3"]) == {"a", "b", "c", "twin-1", "twin-2"}


def test_a_document_with_the_query_s_id_is_left_out(cli: Cli, data: Path, tmp_path: Path) -> None:
    """And said; --keep-self keeps it. k hits remain either way."""
    answer = cli("eval", "run", data, "--out", tmp_path / "out", "-k", 1)
    assert "note: 1 query with the id of a document, which is left out of its hits: b\n" in answer.err
    left_out = run_in(tmp_path / "out")
    answer = cli("eval", "run", data, "--out", tmp_path / "out", "-k", 1, "--keep-self")
    assert "note: 1 query with the id of a document, which may be found: b\n" in answer.err
    kept = run_in(tmp_path / "out")
    assert (left_out["b"], kept["b"]) == (["a"], ["b"])
    assert left_out["q1"] == kept["q1"]
    assert len(left_out["q1"]) == 1


def test_judged_documents_that_the_corpus_lacks_are_reported(cli: Cli, data: Path, tmp_path: Path) -> None:
    """They count against the systems, so the run goes on, and the results say it."""
    with (data / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\tnowhere\t1\n")
    answer = cli("eval", "run", data, "--out", tmp_path / "out")
    assert answer.code == 0
    note = "1 judged document not in the index: nowhere"
    assert f"note: {note}\n" in answer.err
    results = results_in(tmp_path / "out")
    assert note in results["environment"]["problems"]
    assert results["systems"][0]["per_query"]["q1"]["R@100"] == 0.5


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nobody\ta\t1", "1 judged query not in the queries file: nobody"),
        ("q1\tb\t1", "1 pair judged more than once: q1 b"),
        ("q1\ta\tNaN", "line 5: the grade 'NaN' is not a whole number"),
    ],
)
def test_judgements_that_do_not_fit_stop_before_anything_is_built(
    cli: Cli, data: Path, tmp_path: Path, line: str, problem: str
) -> None:
    """--on-error skip leaves them out, and notes it."""
    clean = cli("eval", "run", data, "--out", tmp_path / "clean", "--json").json["systems"][0]["measures"]
    with (data / "qrels" / "test.tsv").open("a") as file:
        file.write(line + "\n")
    answer = cli("eval", "run", data, "--out", tmp_path / "out")
    assert (answer.code, answer.out) == (1, "")
    assert problem in answer.err
    assert "hint: mend the files, or leave these out with --on-error skip" in answer.err
    assert not (tmp_path / "out").exists()
    answer = cli("eval", "run", data, "--out", tmp_path / "out", "--on-error", "skip", "--json")
    assert answer.code == 0
    assert f"note: {problem}\n" in answer.err
    assert answer.json["systems"][0]["measures"] == clean
    assert problem in answer.json["environment"]["problems"]


def generation(out: Path) -> int:
    """How often the index of an evaluation was built."""
    number: int = json.loads((out / "index" / "manifest.json").read_text())["generation"]
    return number


def test_a_second_run_uses_the_index_of_the_first(cli: Cli, data: Path, tmp_path: Path) -> None:
    """And comes to the same figures."""
    out = tmp_path / "out"
    first = cli("eval", "run", data, "--out", out, "--json").json["systems"][0]
    answer = cli("eval", "run", data, "--out", out, "--json")
    assert f"{out / 'index'}: using the index that is there\n" in answer.err
    assert generation(out) == 1
    again = answer.json["systems"][0]
    assert (again["measures"], again["per_query"]) == (first["measures"], first["per_query"])


@pytest.mark.parametrize("options", [["--bm25", "anserini"], ["--language", "none"]])
def test_an_index_of_other_settings_is_replaced_only_if_asked(
    cli: Cli, data: Path, tmp_path: Path, options: list[str]
) -> None:
    """A figure never comes from it, and it is not destroyed unasked."""
    out = tmp_path / "out"
    cli("eval", "run", data, "--out", out)
    refused = cli("eval", "run", data, "--out", out, *options)
    assert (refused.code, refused.out, generation(out)) == (1, "", 1)
    assert "was built with other lexical settings\nhint: name another --out, or replace it: --overwrite" in refused.err
    assert f"{out / 'index'}: built\n" in cli("eval", "run", data, "--out", out, *options, "--overwrite").err
    assert generation(out) == 2


def test_a_dense_part_is_added_and_another_model_refused(
    cli: Cli, data: Path, tmp_path: Path, tiny_model: Path, make_model: Callable[..., Path]
) -> None:
    """An index that lacks just the dense part is replaced by one that has it; nothing is lost by that."""
    out = tmp_path / "out"
    cli("eval", "run", data, "--out", out)
    for _ in range(2):
        assert cli("eval", "run", data, "--out", out, "--using", "dense", "--dense", tiny_model).code == 0
        assert generation(out) == 2
    refused = cli("eval", "run", data, "--out", out, "--using", "dense", "--dense", make_model(seed=1))
    assert refused.code == 1
    assert "was built with another model" in refused.err


def test_a_changed_corpus_is_noticed(cli: Cli, data: Path, tmp_path: Path) -> None:
    """One letter is enough."""
    out = tmp_path / "out"
    cli("eval", "run", data, "--out", out)
    corpus = data / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("magnetic", "Magnetic"))
    assert "was built with other documents" in cli("eval", "run", data, "--out", out).err


def test_what_a_killed_run_left_is_replaced(cli: Cli, data: Path, tmp_path: Path) -> None:
    """A folder without a manifest is no index."""
    out = tmp_path / "out"
    cli("eval", "run", data, "--out", out)
    (out / "index" / "manifest.json").unlink()
    assert cli("eval", "run", data, "--out", out).code == 0
    assert cli("index", "verify", out / "index").code == 0


def test_a_damaged_index_is_replaced_only_if_asked(cli: Cli, data: Path, tmp_path: Path) -> None:
    """The error names the file."""
    out = tmp_path / "out"
    cli("eval", "run", data, "--out", out)
    (out / "index" / "segment-1" / "texts.arrow").unlink()
    assert "texts.arrow: is missing" in cli("eval", "run", data, "--out", out).err
    assert cli("eval", "run", data, "--out", out, "--overwrite").code == 0


def test_settings_of_a_new_index_do_not_go_with_a_given_one(cli: Cli, data: Path, tmp_path: Path) -> None:
    """They would be ignored, and the figure credited to them."""
    cli("index", "build", data, "--out", tmp_path / "index")
    given = ("--index", tmp_path / "index", "--out", tmp_path / "out")
    assert cli("eval", "run", data, *given, "--bm25", "anserini").code == 2


@pytest.mark.parametrize("grade", ["99999999999999999999", "1_0", "nan", "1.5", ""])
def test_a_grade_that_is_none_stops_before_anything_is_built(cli: Cli, data: Path, tmp_path: Path, grade: str) -> None:
    """Whatever Python would make of it."""
    (data / "qrels" / "test.tsv").write_text(f"q1\tb\t{grade}\n")
    answer = cli("eval", "run", data, "--out", tmp_path / "out")
    assert answer.code == 1
    assert f"line 1: the grade {grade!r} is not a whole number" in answer.err
    assert not (tmp_path / "out").exists()


def test_a_cutoff_of_zero_is_refused(cli: Cli, data: Path, tmp_path: Path) -> None:
    """The library below would abort the process."""
    answer = cli("eval", "run", data, "--out", tmp_path / "out", "--measures", "P@0")
    assert (answer.code, answer.err) == (2, "error: the cutoff of 'P@0' must be at least 1\n")


def test_an_index_can_be_given(cli: Cli, data: Path, tmp_path: Path) -> None:
    """None is built then, and its own settings count."""
    cli("index", "build", data, "--out", tmp_path / "index", "--bm25", "anserini")
    answer = cli("eval", "run", data, "--index", tmp_path / "index", "--out", tmp_path / "out", "--json")
    assert answer.json["systems"][0]["settings"]["lexical"]["bm25"]["k1"] == 0.9
    assert not (tmp_path / "out" / "index").exists()


def test_a_split_can_be_chosen(cli: Cli, data: Path, tmp_path: Path) -> None:
    """Its judgements decide which queries run."""
    (data / "qrels" / "dev.tsv").write_text("unjudged\ttwin-1\t1\n")
    content = cli("eval", "run", data, "--split", "dev", "--out", tmp_path / "out", "--json").json
    assert content["split"] == "dev"
    assert content["systems"][0]["per_query"].keys() == {"unjudged"}


def test_runs_of_earlier_results_go_with_them(cli: Cli, data: Path, tmp_path: Path, tiny_model: Path) -> None:
    """Beside a new results.json they would be taken for its runs; other files stay."""
    out = tmp_path / "out"
    cli("eval", "run", data, "--out", out, "--using", "lexical,dense", "--dense", tiny_model)
    (out / "theirs.trec").write_text("q1 Q0 a 1 1.0 theirs\n")
    cli("eval", "run", data, "--out", out)
    assert sorted(path.name for path in out.glob("*.trec")) == ["lexical.trec", "theirs.trec"]

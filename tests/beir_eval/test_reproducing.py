"""Expected figures: which file holds them, and when a figure is OK, close or a FAIL."""

from pathlib import Path

import pytest

from retrieval.beir_eval.reproducing import choose, judge, read_conditions, without_results
from retrieval.beir_eval.results import Results, StoredSystem
from retrieval.errors import CollectionError, InputError

FILE = """
data: ../data
close: 0.01
conditions:
  - name: lexical-a
    command: run {data}/a --using lexical -k 10
    expected:
      lexical: {nDCG@10: 0.5, AP: 0.25}
  - name: runs-a
    command: score '{data}/a' {data}/a/*.trec
    exact: 0.1
    expected:
      one: {nDCG@10: 0.5}
      two: {AP: 0.5}
"""


def written(folder: Path, content: str = FILE) -> Path:
    """Such a file, in a folder beside the data."""
    path = folder / "expected" / "figures.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


def results_of(**measures: float) -> Results:
    """Results of the system `lexical`."""
    system = StoredSystem(name="lexical", measures=measures, per_query={}, cost={}, settings={})
    return Results(dataset="a", split="test", systems=[system], environment={})


def test_a_command_gets_its_paths_measures_and_a_place_for_results(tmp_path: Path) -> None:
    """`data` is relative to the file; a star stands for whatever is there."""
    (tmp_path / "data" / "a").mkdir(parents=True)
    for name in ("2.trec", "1.trec"):
        (tmp_path / "data" / "a" / name).touch()
    read = read_conditions(written(tmp_path))
    lexical, runs = (each.arguments(read.data, Path("out")) for each in read.conditions)
    data = tmp_path / "data" / "a"
    assert lexical == [
        "run",
        str(data),
        "--using",
        "lexical",
        *("-k", "10", "--out", "out", "--measures", "nDCG@10,AP"),
    ]
    assert runs[:4] == ["score", str(data), str(data / "1.trec"), str(data / "2.trec")]


def test_a_collection_that_is_not_there_is_missing(tmp_path: Path) -> None:
    """So is a pattern that nothing fits."""
    lexical, runs = (read := read_conditions(written(tmp_path))).conditions
    assert lexical.missing(read.data) == tmp_path / "data" / "a"
    (tmp_path / "data" / "a").mkdir(parents=True)
    assert lexical.missing(read.data) is None
    assert runs.missing(read.data) == tmp_path / "data" / "a" / "*.trec"
    (cell, _) = without_results(lexical, "skipped", "not there")
    assert (cell.expected, cell.found, cell.verdict, cell.reason) == (0.5, None, "skipped", "not there")


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.5, "OK"), (0.50005, "OK"), (0.49995, "OK"), (0.5001, "close"), (0.49, "close"), (0.511, "FAIL"), (0.0, "FAIL")],
)
def test_a_value_is_judged_by_its_distance(tmp_path: Path, value: float, verdict: str) -> None:
    """To either side; the tolerances are the file's, here the usual one and 0.01."""
    read = read_conditions(written(tmp_path))
    cells = judge(read.conditions[0], results_of(**{"nDCG@10": value, "AP": 0.25}), read)
    assert [(cell.measure, cell.verdict) for cell in cells] == [("nDCG@10", verdict), ("AP", "OK")]


def test_a_value_that_is_not_there_fails(tmp_path: Path) -> None:
    """The system or the measure; the condition's own tolerance counts before the file's."""
    read = read_conditions(written(tmp_path))
    assert [cell.verdict for cell in judge(read.conditions[0], results_of(AP=0.2501), read)] == ["FAIL", "close"]
    assert {cell.reason for cell in judge(read.conditions[1], results_of(AP=0.5), read)} == {
        "the results hold no such system or measure"
    }


def test_a_measure_may_be_written_otherwise(tmp_path: Path) -> None:
    """As ir-measures takes it: NDCG@10 is nDCG@10."""
    read = read_conditions(written(tmp_path, FILE.replace("lexical: {nDCG@10: 0.5,", "lexical: {NDCG@10: 0.5,")))
    found = results_of(**{"nDCG@10": 0.5, "AP": 0.25})
    assert [cell.verdict for cell in judge(read.conditions[0], found, read)] == ["OK", "OK"]


def test_conditions_are_chosen_by_name(tmp_path: Path) -> None:
    """All without a pattern; one that fits nothing is an error with the names there are."""
    conditions = read_conditions(written(tmp_path)).conditions
    assert choose(conditions, []) == conditions
    assert [each.name for each in choose(conditions, ["runs-*"])] == ["runs-a"]
    with pytest.raises(InputError, match=r"no condition is called 'dense\*'") as caught:
        choose(conditions, ["runs-*", "dense*"])
    assert caught.value.hint == "there are: lexical-a, runs-a"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("conditions: [", "cannot be read as YAML"),
        ("- a", "the file: "),
        ("conditions: []", "conditions: "),
        (FILE.replace("close: 0.01", "closer: 0.01"), "closer: Extra inputs"),
        (FILE.replace("AP: 0.25", "AP: much"), r"conditions\.0\.expected\.lexical\.AP: "),
        (FILE.replace("AP: 0.25", "AP: .nan"), r"conditions\.0\.expected\.lexical\.AP: "),
        (FILE.replace("lexical: {nDCG@10: 0.5, AP: 0.25}", "lexical: {}"), r"conditions\.0\.expected\.lexical: "),
        (FILE.replace("close: 0.01", "close: -0.01"), "close: "),
        (FILE.replace("exact: 0.1", "exact: .inf"), r"conditions\.1\.exact: "),
        (FILE.replace("-k 10", "'-k 10"), r"conditions\.0\.command: Value error, No closing quotation"),
        (FILE.replace("name: runs-a", "name: .."), r"conditions\.1\.name: "),
        (FILE.replace("name: runs-a", "name: a/b"), r"conditions\.1\.name: "),
        (FILE.replace("runs-a", "lexical-a"), "two conditions are called 'lexical-a'"),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path: Path, content: str, reason: str) -> None:
    """With the place in it."""
    with pytest.raises(CollectionError, match=rf"figures\.yaml: {reason}"):
        read_conditions(written(tmp_path, content))

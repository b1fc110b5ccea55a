from pathlib import Path

import pytest

from retrieval.beir_eval.suites import Suite, read_suite
from retrieval.errors import InputError

ROOT = Path(__file__).parents[2]

GOOD = """
measures = ["nDCG@10"]

[[dataset]]
name = "one"
folder = "one"

[[dataset]]
name = "two"
id = "beir/two/test"

[[system]]
name = "bm25"
using = "lexical"

[[system]]
name = "theirs"
run = "runs/{dataset}.trec"
datasets = ["two"]
"""


def read(folder: Path, text: str) -> Suite:
    """The suite of this text."""
    (folder / "suite.toml").write_text(text)
    return read_suite(folder / "suite.toml")


def test_a_suite_is_systems_times_data_sets(tmp_path: Path) -> None:
    """One data set after the other; a system can be for some of them."""
    suite = read(tmp_path, GOOD)
    assert suite.measures == ["nDCG@10"]
    cells = [(dataset.name, system.name) for dataset, system in suite.cells()]
    assert cells == [("one", "bm25"), ("two", "bm25"), ("two", "theirs")]


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ('using = "lexical"', 'fusoin = "rrf"', "system 1 ('bm25'), fusoin: no such setting", "did you mean fusion?"),
        ('folder = "one"', 'floder = "one"', "dataset 1 ('one'), floder: no such setting", "did you mean folder?"),
        ("measures", "mesures", "mesures: no such setting", "did you mean measures?"),
        ('using = "lexical"', 'using = "lexical"\nfusion = "sum"', "system 1 ('bm25'), fusion: input should be", None),
        ('folder = "one"', "", "dataset 1 ('one'): a dataset has a folder or an id", None),
        ('using = "lexical"', "", "system 1 ('bm25'): a system has a mode of search (using) or a run", None),
        ("run =", 'using = "lexical"\nrun =', "system 2 ('theirs'): a system has a mode of search", None),
        ("run =", 'fusion = "rrf"\nrun =', "system 2 ('theirs'): a run is measured as it is: fusion would", None),
        ('using = "lexical"', 'using = "routed"', "system 1 ('bm25'): routed search and a router go together", None),
        (
            'using = "lexical"',
            'using = "lexical"\nquery_encoder = "m"',
            "query_encoder is for a system with dense",
            None,
        ),
        ('using = "lexical"', 'using = "lexical"\nrerank_precision = "bf16"', "is for a system with rerank", None),
        ('using = "lexical"', 'using = "lexical"\nrerank_depth = 100', "rerank_depth is for a system with", None),
        ('using = "lexical"', 'using = "lexical"\nrerank_weight = 0.5', "rerank_weight is for a system with", None),
        ('name = "theirs"', 'name = "bm25"', "two entries of system are called 'bm25'", None),
        ('["two"]', '["three"]', "system 'theirs' names the dataset 'three', which is not here", None),
        ('name = "bm25"', 'name = "../bm25"', "system 1 ('../bm25'), name: string should match", None),
        ("[[dataset]]", "[[dataset", "cannot be read as a suite", None),
        ("nDCG@10", "nDGC@10", "ir-measures knows no measure 'nDGC@10'", None),
    ],
)
def test_what_a_suite_cannot_have_is_named(tmp_path: Path, old: str, new: str, message: str, hint: str | None) -> None:
    """With the file and the place in it, and what was perhaps meant."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert message.lower() in str(caught.value).lower()
    if hint:
        assert caught.value.hint == hint
    if "ir-measures" not in message:
        assert str(caught.value).startswith(f"{tmp_path / 'suite.toml'}: ")


@pytest.mark.parametrize(("name", "sets"), [("beir", 18), ("shared", 3)])
def test_the_shipped_suites_can_be_read(name: str, sets: int) -> None:
    """BEIR's is of 18 sets, one of them the 12 forums of CQADupStack."""
    suite = read_suite(ROOT / "suites" / f"{name}.toml")
    assert len({dataset.group or dataset.name for dataset in suite.datasets}) == sets
    assert sum(dataset.group == "cqadupstack" for dataset in suite.datasets) == (12 if name == "beir" else 0)
    assert suite.cells()

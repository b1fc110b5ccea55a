"""The benchmarks of evaluation compare like with like."""

from pathlib import Path

import agreement
import evaluating
import pytest

from retrieval.beir_eval.measures import DEFAULT_MEASURES, measure, parse_measures
from retrieval.beir_eval.runs import format_run


def test_both_sides_measure_the_same_run(tmp_path: Path) -> None:
    """The values are compared before the times; a row for the run in memory, and one for its file."""
    qrels, run = evaluating.made(4, 30)
    path = tmp_path / "run.trec"
    path.write_text(format_run(run, "made"))
    evaluating.check(qrels, run, DEFAULT_MEASURES)
    rows = evaluating.compared(qrels, run, path, DEFAULT_MEASURES, 1)
    assert [row[0] for row in rows] == ["in memory, 6 measures", "TREC file, 6 measures"]
    assert all(sum(grade > 0 for grade in grades.values()) > 0 for grades in qrels.values())


def test_agreement_is_with_the_same_measures() -> None:
    """pytrec_eval's values stand under our names; a query that the run does not answer has 0."""
    qrels, run = evaluating.made(5, 120)
    del run["q3"]
    theirs = agreement.of_pytrec_eval(qrels, run)
    _, ours = measure(qrels, run, parse_measures(agreement.MEASURES))
    assert theirs.keys() == ours.keys()
    for query, values in theirs.items():
        assert ours[query] == pytest.approx(values, abs=1e-9)
    assert set(theirs["q3"].values()) == {0.0}

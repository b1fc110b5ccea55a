import shutil
from pathlib import Path

import ir_measures
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from retrieval.beir_eval.measures import DEFAULT_MEASURES, measure, parse_measures
from retrieval.beir_eval.runs import format_run
from retrieval.errors import InputError

TREC_EVAL = {
    "nDCG@10": "ndcg_cut_10",
    "R@100": "recall_100",
    "RR@10": "recip_rank",
    "AP": "map",
    "P@10": "P_10",
}

QRELS = {"q1": {"d1": 1, "d2": 0}, "q2": {"d1": 2}, "q3": {"d9": 0}}
RUN = {"q1": {"d2": 2.0, "d1": 1.0}, "q2": {}, "q3": {"d1": 1.0}}

queries = st.sampled_from(["q1", "q2", "query-3", "7"])
documents = st.sampled_from([f"d{number}" for number in range(12)])
all_qrels = st.dictionaries(queries, st.dictionaries(documents, st.integers(0, 3), min_size=1), min_size=1)
all_runs = st.dictionaries(queries, st.lists(documents, unique=True, max_size=9)).map(
    lambda run: {query: {document: -float(rank) for rank, document in enumerate(found)} for query, found in run.items()}
)


@given(qrels=all_qrels, run=all_runs)
def test_the_default_measures_equal_trec_eval(
    qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]
) -> None:
    """For every query, on any judgements and runs; the mean is over all judged queries, unanswered ones as 0."""
    assert (*TREC_EVAL, "Judged@10") == DEFAULT_MEASURES
    means, per_query = measure(qrels, run, parse_measures(DEFAULT_MEASURES))
    names = {"ndcg_cut.10", "recall.100", "recip_rank", "map", "P.10"}
    answered = {query: found for query, found in run.items() if found}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(answered)
    assert per_query.keys() == qrels.keys()
    for ours, name in TREC_EVAL.items():
        expected = {query: theirs.get(query, {}).get(name, 0.0) for query in qrels}
        assert {query: values[ours] for query, values in per_query.items()} == pytest.approx(expected)
        assert means[ours] == pytest.approx(sum(expected.values()) / len(qrels))


@given(qrels=all_qrels, run=all_runs)
def test_measures_of_the_first_hits_are_those_of_the_whole_list(
    qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]
) -> None:
    """Lists are cut to what a measure looks at; ir-measures, given the whole of them, has the same values."""
    names = ["Judged@3", "nDCG@2", "RR@3", "Success@1", "P(judged_only=True)@2", "P(rel=2)@2", "AP@4", "R@2"]
    parsed = parse_measures(names)
    answered = {query: found for query, found in run.items() if found}
    theirs = {
        (metric.query_id, str(metric.measure)): metric.value
        for metric in ir_measures.iter_calc(parsed, qrels, answered)
    }
    _, per_query = measure(qrels, run, parsed)
    ours = {(query, name): value for query, values in per_query.items() for name, value in values.items()}
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_measures_by_hand() -> None:
    """One relevant document at rank 2 of the only query that finds one."""
    means, per_query = measure(QRELS, RUN, parse_measures(["RR@10", "P@10", "R@100"]))
    assert per_query["q1"] == {"RR@10": 0.5, "P@10": 0.1, "R@100": 1.0}
    assert per_query["q2"] == per_query["q3"] == {"RR@10": 0.0, "P@10": 0.0, "R@100": 0.0}
    assert means == pytest.approx({"RR@10": 0.5 / 3, "P@10": 0.1 / 3, "R@100": 1 / 3})


def test_a_run_without_any_hit_scores_0() -> None:
    """Also where queries are missing from it."""
    means, per_query = measure(QRELS, {"q1": {}}, parse_measures(DEFAULT_MEASURES))
    assert means == dict.fromkeys(DEFAULT_MEASURES, 0.0)
    assert list(per_query) == ["q1", "q2", "q3"]


def test_a_query_without_hits_counts_as_0_whatever_a_tool_says_of_it() -> None:
    """Accuracy's says nothing: the mean would be over fewer queries than the others'."""
    means, per_query = measure(QRELS, {"q1": {"d1": 2.0, "d2": 1.0}}, parse_measures(["Accuracy", "P@1"]))
    assert means == pytest.approx({"Accuracy": 1 / 3, "P@1": 1 / 3})
    assert per_query["q2"] == per_query["q3"] == {"Accuracy": 0.0, "P@1": 0.0}


@pytest.mark.parametrize(
    "name",
    ["nDCG", "Success@1", "P(rel=2)@5", "P(rel=2,judged_only=True)@5", "Bpref", "Judged@10", "NumRet", "NumQ", "Rprec"],
)
def test_any_measure_aggregates_as_ir_measures_does(name: str) -> None:
    """Counts are summed, the others averaged."""
    (parsed,) = parse_measures([name])
    answered = {query: found for query, found in RUN.items() if found}
    means, _ = measure(QRELS, RUN, [parsed])
    assert means == {name: pytest.approx(ir_measures.calc_aggregate([parsed], QRELS, answered)[parsed])}


@pytest.mark.skipif(shutil.which("perl") is None, reason="ERR is computed by a Perl script")
def test_measures_whose_tool_takes_only_numbers_for_queries_work() -> None:
    """Behind ERR stands a script that refuses ids such as q1."""
    (parsed,) = parse_measures(["ERR@10"])
    means, per_query = measure(QRELS, RUN, [parsed])
    assert per_query["q1"]["ERR@10"] == pytest.approx(1 / 16 / 2, abs=1e-5)
    assert means["ERR@10"] == pytest.approx(per_query["q1"]["ERR@10"] / 3)


@pytest.mark.parametrize("name", ["", "nDGC@10", "nDCG@ten", "P", "nDCG(depth=3)@10", "nDCG@10)", "ndcg_cut_10"])
def test_an_unknown_measure_is_named_with_a_hint(name: str) -> None:
    """Misspelt, cut off, without what it needs, or in another tool's words."""
    with pytest.raises(InputError) as caught:
        parse_measures(["AP", name])
    assert f"ir-measures knows no measure {name!r}" in str(caught.value)
    assert "https://ir-measur.es" in (caught.value.hint or "")


def test_a_measure_that_cannot_be_computed_here_is_refused_at_once() -> None:
    """ir-measures knows the name, but takes it from a tool that computes it for other judgements."""
    with pytest.raises(InputError, match="cannot compute 'alpha_nDCG@10' with what is installed here"):
        parse_measures(["alpha_nDCG@10"])


@given(qrels=all_qrels, run=all_runs)
def test_a_written_run_measures_the_same_when_read_again(
    tmp_path_factory: pytest.TempPathFactory, qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]
) -> None:
    """By ir-measures itself, from the TREC file alone."""
    path: Path = tmp_path_factory.mktemp("run") / "run.trec"
    path.write_text(format_run(run, "tag"))
    parsed = parse_measures(DEFAULT_MEASURES)
    means, _ = measure(qrels, run, parsed)
    again = ir_measures.calc_aggregate(parsed, qrels, ir_measures.read_trec_run(str(path)))
    assert {str(name): value for name, value in again.items()} == pytest.approx(means)


def test_hits_that_do_not_stand_best_first_are_an_error() -> None:
    """A measure of the first ten would be of those that happen to stand there."""
    with pytest.raises(InputError, match="query q1: its hits do not stand best first"):
        measure(QRELS, {"q1": {"d2": 1.0, "d1": 2.0}}, parse_measures(["nDCG@10"]))

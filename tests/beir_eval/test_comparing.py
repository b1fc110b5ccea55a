"""Comparison of systems: the figures by hand, and what cannot be compared."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from retrieval.beir_eval.comparing import Measured, best_two, compare, largest_differences, read_systems
from retrieval.beir_eval.significance import effect_size, holm, randomisation_test, t_test
from retrieval.errors import CollectionError, InputError

QUERIES = [f"q{i:02d}" for i in range(40)]
RNG = np.random.default_rng(1)
BASE = RNG.random(40).round(3)
VALUES = {
    "base": BASE,
    "better": np.minimum(BASE + RNG.random(40).round(3) / 4, 1),
    "like it": np.clip(BASE + RNG.normal(0, 0.02, 40).round(3), 0, 1),
}


def system(name: str, values: np.ndarray | None = None, **fields: object) -> Measured:
    """A system with a value of AP for each query."""
    values = VALUES[name] if values is None else values
    per_query = {query: {"AP": float(value)} for query, value in zip(QUERIES, values, strict=False)}
    return Measured(name=name, per_query=per_query, **fields)


def test_a_pair_has_the_figures_of_its_differences() -> None:
    """The second minus the first; with two systems, Holm's correction changes nothing."""
    (pair,) = compare([system("base"), system("better")], "AP").pairs
    differences = VALUES["better"] - VALUES["base"]
    assert (pair.first, pair.second) == ("base", "better")
    assert pair.difference == pytest.approx(differences.mean())
    assert pair.low < pair.difference < pair.high
    assert pair.randomisation == pair.holm == randomisation_test(differences)
    assert (pair.t, pair.effect) == pytest.approx((float(t_test(differences)), float(effect_size(differences))))
    assert (pair.wins, pair.ties, pair.losses) == (np.sum(differences > 0), np.sum(differences == 0), 0)


def test_standings_are_by_mean_with_rank_groups() -> None:
    """Two systems that cannot be told apart share a group, below the one that can."""
    found = compare([system(name) for name in VALUES], "AP")
    assert found.standings[0].name == "better"
    assert {standing.name: standing.group for standing in found.standings} == {"better": 1, "base": 2, "like it": 2}
    assert [pair.holm for pair in found.pairs] == pytest.approx(holm([pair.randomisation for pair in found.pairs]))
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        *(("base", "better"), ("base", "like it"), ("better", "like it"))
    ]
    for standing in found.standings:
        assert standing.low < standing.mean < standing.high
        assert standing.mean == pytest.approx(VALUES[standing.name].mean())


def test_the_two_best_stand_in_the_order_they_were_given() -> None:
    """Whoever comes first of all."""
    systems = [system("base"), system("like it", VALUES["base"] + 0.01), system("better", VALUES["base"] + 0.02)]
    comparison = compare(systems, "AP")
    assert [standing.name for standing in comparison.standings] == ["better", "like it", "base"]
    assert best_two(systems, comparison) == (systems[1], systems[2])


def test_the_largest_differences_come_first_with_both_lists() -> None:
    """Equal ones by id; queries without a difference are never among them; a run that is not known has no list."""
    first = system("base", np.array([0.5, 0.5, 0.5, 0.5]), run={"q01": {"a": 2.0, "b": 1.0, "c": 0.5}})
    second = system("better", np.array([0.5, 0.1, 0.9, 0.6]))
    found = largest_differences(first, second, "AP", count=9, depth=2)
    assert [(each.query, each.difference) for each in found] == [
        *(("q01", pytest.approx(-0.4)), ("q02", pytest.approx(0.4)), ("q03", pytest.approx(0.1)))
    ]
    assert found[0].lists == (["a", "b"], None)
    assert found[1].lists == ([], None)
    assert found[0].documents() == {"a", "b"}


def test_systems_of_different_queries_are_refused() -> None:
    """A mean over other queries is no comparison; one that is in only one of them is named."""
    with pytest.raises(CollectionError, match=r"base and short were measured on different queries: 38 .* as q02"):
        compare([system("base"), system("short", np.array([0.1, 0.2]))], "AP")


def test_an_absent_measure_and_a_single_system_are_refused() -> None:
    """With the measures that there are."""
    with pytest.raises(InputError, match="was not measured by 'nDCG@10'") as caught:
        compare([system("base"), system("better")], "nDCG@10")
    assert caught.value.hint == "there are: AP"
    with pytest.raises(InputError, match="at least two systems; got 1"):
        compare([system("base")], "AP")


def test_means_alone_cannot_be_compared() -> None:
    """As they come from MTEB's results."""
    with pytest.raises(InputError, match="theirs was imported as means"):
        compare([system("base"), Measured(name="theirs", per_query={})], "AP")


def stored(folder: Path, *names: str, dataset: str = "data", **settings: object) -> str:
    """A results.json of systems, and where."""
    folder.mkdir()
    per_query = {"q1": {"AP": 0.4}, "q2": {"AP": 0.6}}
    entry = {"measures": {"AP": 0.5}, "per_query": per_query, "cost": {}, "settings": settings}
    content = {"dataset": dataset, "split": "test", "environment": {}}
    content["systems"] = [{"name": name, **entry} for name in names]
    (folder / "results.json").write_bytes(orjson.dumps(content))
    return str(folder)


def test_systems_come_from_folders_and_from_runs(tmp_path: Path) -> None:
    """All of a folder, or one; those of one name are told apart; a run that stands beside is read."""
    one, other = stored(tmp_path / "one", "lexical", "dense"), stored(tmp_path / "other", "lexical")
    (tmp_path / "one" / "dense.trec").write_text("q1 Q0 a 1 2.0 dense\n")
    theirs = tmp_path / "theirs.trec"
    theirs.write_text("q1 Q0 a 1 2.0 theirs\nunjudged Q0 a 1 2.0 theirs\n")
    found = read_systems([one, f"{other}:lexical", str(theirs)], ["AP"], {"q1": {"a": 1}, "q2": {"b": 1}})
    assert [system.name for system in found] == [f"{one}:lexical", "dense", f"{other}:lexical", "theirs"]
    assert found[0].run is None
    assert found[1].run == found[3].run == {"q1": {"a": 2.0}}
    assert found[3].per_query == {"q1": {"AP": 1.0, "Judged@10": 1.0}, "q2": {"AP": 0.0, "Judged@10": 0.0}}
    assert [found[0].judged(), found[3].judged()] == [None, 0.5]


def test_a_run_is_measured_by_the_rules_of_the_results_beside_it(tmp_path: Path) -> None:
    """Depth, ties and a query's own document; beside none by what is asked for; results by two rules are refused."""
    theirs = tmp_path / "theirs.trec"
    theirs.write_text("q1 Q0 q1 1 9 t\nq1 Q0 a 2 5 t\nq1 Q0 b 3 5 t\nq1 Q0 c 4 1 t\n")
    qrels = {"q1": {"a": 1}, "q2": {"b": 1}}
    without = stored(tmp_path / "without", "x", without_own=True, k=2, ties="ascending")
    kept = stored(tmp_path / "kept", "y", without_own=False, k=1000, ties="descending")

    def hits(*beside: str, without_own: bool = False) -> list[str]:
        *_, system = read_systems([*beside, str(theirs)], ["AP"], qrels, without_own=without_own)
        assert system.run is not None
        return list(system.run["q1"])

    assert hits(without) == ["a", "b"]
    assert hits(kept, without_own=True) == ["q1", "b", "a", "c"]
    assert hits() == ["q1", "b", "a", "c"]
    assert hits(without_own=True) == ["b", "a", "c"]
    with pytest.raises(CollectionError, match="x was measured without documents of a query's own id, y with them"):
        hits(without, kept)


def test_results_of_two_depths_are_compared_by_what_both_reach(tmp_path: Path) -> None:
    """By any other measure the deeper one would gain by it, and a run's figures hang on which is named first."""
    theirs = tmp_path / "theirs.trec"
    theirs.write_text("".join(f"q1 Q0 d{i} 1 {90 - i} t\n" for i in range(30)))
    qrels = {"q1": {"d20": 1}, "q2": {"b": 1}}
    shallow = stored(tmp_path / "shallow", "x", without_own=False, k=10)
    deep = stored(tmp_path / "deep", "y", without_own=False, k=1000)
    for sources in ([shallow, deep, str(theirs)], [deep, shallow, str(theirs)]):
        for measure in ("AP", "R@100"):
            with pytest.raises(CollectionError, match=rf"x was measured on 10 hits .* y on 1000, and {measure} looks"):
                read_systems(sources, ["P@5", measure], qrels)
        run = read_systems(sources, ["P@5", "nDCG@10"], qrels)[2].run
        assert run is not None
        assert len(run["q1"]) == 30


def test_sources_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    """No results, an unknown system, one named twice, results of two collections, a run without judgements."""
    one, other = stored(tmp_path / "one", "lexical"), stored(tmp_path / "other", "lexical", dataset="else")
    (tmp_path / "empty").mkdir()
    (tmp_path / "run.trec").write_text("q1 Q0 a 1 2.0 tag\n")
    with pytest.raises(CollectionError, match=r"empty: no results\.json here"):
        read_systems([str(tmp_path / "empty")], ["AP"])
    with pytest.raises(InputError, match="holds no system 'dense'") as caught:
        read_systems([f"{one}:dense"], ["AP"])
    assert caught.value.hint == "there are: lexical"
    with pytest.raises(InputError, match="named twice"):
        read_systems([one, one], ["AP"])
    with pytest.raises(CollectionError, match=r"one collection only; got data test in .*, else test in "):
        read_systems([one, other], ["AP"])
    with pytest.raises(InputError, match=r"run\.trec: a TREC run needs judgements"):
        read_systems([str(tmp_path / "run.trec")], ["AP"])
    with pytest.raises(CollectionError, match="holds no hit of any judged query"):
        read_systems([str(tmp_path / "run.trec")], ["AP"], {"q9": {"a": 1}})


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"dataset": "x", "split": "test", "systems": [{"name": 1}], "environment": {}}']
)
def test_a_file_that_holds_no_results_is_named(tmp_path: Path, content: bytes) -> None:
    """Cut off, of another kind, or with an entry that is none."""
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(CollectionError, match=r"results\.json: not the results of an evaluation: "):
        read_systems([str(tmp_path)], ["AP"])

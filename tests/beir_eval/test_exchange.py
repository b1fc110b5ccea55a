"""Runs and results of others come in whole, or with what is wrong with them; ours go out as MTEB's."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from retrieval.beir_eval.exchange import from_mteb, read_checked, to_mteb
from retrieval.beir_eval.results import Results, StoredSystem
from retrieval.errors import CollectionError, InputError

QUERIES = {"q1", "q2", "unjudged"}
DOCUMENTS = ["a", "b", "c"]


def written(folder: Path, *lines: str, name: str = "run.trec") -> Path:
    """A run of such lines."""
    (folder / name).write_text("".join(line + "\n" for line in lines))
    return folder / name


def test_a_run_of_the_collection_comes_whole(tmp_path: Path) -> None:
    """Queries that nobody judged are no mistake."""
    path = written(tmp_path, "q1 Q0 a 1 2 t", "unjudged Q0 b 1 1 t")
    assert read_checked([path], QUERIES, DOCUMENTS) == ([{"q1": {"a": 2.0}, "unjudged": {"b": 1.0}}], [])


@pytest.mark.parametrize(
    ("line", "reason", "left"),
    [
        ("q1 Q0 z 2 1 t", r"run\.trec:2: document z is not in the corpus; 1 hit ", {"q1": {"a": 2.0}}),
        ("q9 Q0 a 2 1 t", r"run\.trec:2: query q9 is not in the queries file; 1 hit ", {"q1": {"a": 2.0}}),
    ],
)
def test_what_the_collection_lacks_is_named_with_its_line(
    tmp_path: Path, line: str, reason: str, left: dict[str, dict[str, float]]
) -> None:
    """Or left out, and said."""
    path = written(tmp_path, "q1 Q0 a 1 2 t", line)
    with pytest.raises(CollectionError, match=reason) as caught:
        read_checked([path], QUERIES, DOCUMENTS)
    assert "--on-error skip" in (caught.value.hint or "")
    problem = f"{path}: 1 hit of queries or documents that the collection lacks, left out"
    assert read_checked([path], QUERIES, DOCUMENTS, on_error="skip") == ([left], [problem])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q1 Q0 b 2 nan t", "the score nan of document b is not a finite number"),
        ("q1 Q0 b 2 -inf t", "the score -inf of document b is not a finite number"),
        ("q1 Q0 a 2 1 t", "document a stands in the list of query q1 already"),
        ("q1 Q0 b 2 t", "expected query, Q0, document, rank, score and tag"),
    ],
)
def test_a_broken_run_stops_under_skip_as_well(tmp_path: Path, line: str, reason: str) -> None:
    """Whoever wrote it made a mistake that the figures would hide."""
    path = written(tmp_path, "q1 Q0 a 1 2 t", line)
    for on_error in ("stop", "skip"):
        with pytest.raises(CollectionError, match=rf"run\.trec:2: {reason}"):
            read_checked([path], QUERIES, DOCUMENTS, on_error=on_error)


def system(**measures: float) -> StoredSystem:
    """A system of such means."""
    named = {name.replace("_at_", "@"): value for name, value in measures.items()}
    return StoredSystem(name="hybrid", measures=named, per_query={}, cost={"search_seconds": 2.0}, settings={})


def results_of(*systems: StoredSystem) -> Results:
    """Results on SciFact."""
    return Results(dataset="scifact", split="test", systems=list(systems), environment={})


def test_results_go_to_mteb_and_come_back(tmp_path: Path) -> None:
    """Under MTEB's names, with its main score; AP has none there without a cutoff, and so stays behind."""
    means = {"nDCG_at_10": 0.5, "R_at_100": 0.9, "RR_at_10": 0.4, "P_at_10": 0.1, "AP_at_100": 0.3}
    one = system(**means, AP=0.3)
    content = to_mteb(results_of(one), one)
    assert (content["task_name"], content["evaluation_time"]) == ("SciFact", 2.0)
    assert content["scores"]["test"] == [
        {
            **{"ndcg_at_10": 0.5, "recall_at_100": 0.9, "mrr_at_10": 0.4, "precision_at_10": 0.1, "map_at_100": 0.3},
            **{"main_score": 0.5, "hf_subset": "default", "languages": ["eng-Latn"]},
        }
    ]
    path = tmp_path / "model" / "SciFact.json"
    path.parent.mkdir()
    path.write_bytes(orjson.dumps(content))
    again = from_mteb([path])
    assert (again.dataset, again.split) == ("scifact", "test")
    assert again.systems[0].name == "model"
    assert again.systems[0].measures == {name.replace("_at_", "@"): value for name, value in means.items()}


def test_mteb_needs_its_main_score() -> None:
    """Which is nDCG@10."""
    one = system(AP=0.3)
    with pytest.raises(InputError, match="hybrid was not measured by nDCG@10"):
        to_mteb(results_of(one), one)


def mteb(folder: Path, content: Any, model: str = "") -> Path:
    """A file of MTEB's results repository, with the model's name beside where there is one."""
    folder.mkdir()
    if model:
        (folder / "model_meta.json").write_bytes(orjson.dumps({"name": model}))
    (folder / "NFCorpus.json").write_bytes(orjson.dumps(content))
    return folder / "NFCorpus.json"


SCORES = {"ndcg_at_1": 0.2, "ndcg_at_10": 0.3, "nauc_ndcg_at_10_max": 0.1, "main_score": 0.3, "hf_subset": "default"}


def test_a_model_is_called_as_its_metadata_say(tmp_path: Path) -> None:
    """Beside the file in MTEB's results repository; other scores are left out, the main one is first."""
    content = {"task_name": "NFCorpus", "mteb_version": "2.0", "scores": {"test": [SCORES]}}
    found = from_mteb([mteb(tmp_path / "rev", content, "sentence-transformers/all-MiniLM-L6-v2")])
    assert found.dataset == "nfcorpus"
    assert found.systems[0].name == "sentence-transformers/all-MiniLM-L6-v2"
    assert list(found.systems[0].measures.items()) == [("nDCG@10", 0.3), ("nDCG@1", 0.2)]


def test_scores_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    """As MTEB writes NaN, which is no JSON, where a score cannot be computed."""
    (tmp_path / "m").mkdir()
    scores = '{"ndcg_at_10": 0.3, "map_at_10": NaN, "recall_at_10": null, "nauc_map_at_10_max": NaN}'
    path = tmp_path / "m" / "NFCorpus.json"
    path.write_text(f'{{"task_name": "NFCorpus", "scores": {{"test": [{scores}]}}}}')
    assert from_mteb([path]).systems[0].measures == {"nDCG@10": 0.3}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "not a result of MTEB: it names no task"),
        ({"mteb_dataset_name": "NFCorpus"}, "not a result of MTEB: it names no task"),
        ({"task_name": "NFCorpus"}, "holds no scores of the split 'test'"),
        ({"task_name": "NFCorpus", "scores": {"dev": [SCORES]}}, "holds no scores of the split 'test'"),
        ({"task_name": "NFCorpus", "scores": {"test": [SCORES, SCORES]}}, "holds 2 subsets"),
        ({"task_name": "NFCorpus", "scores": {"test": [{"main_score": 0.3}]}}, "holds no measure that is known here"),
    ],
)
def test_a_file_that_is_none_of_mteb_s_is_named(tmp_path: Path, content: Any, reason: str) -> None:
    """Of another kind or an older form, without the split, or of several collections."""
    with pytest.raises(CollectionError, match=rf"NFCorpus\.json: {reason}"):
        from_mteb([mteb(tmp_path / "m", content)])


def test_a_model_is_imported_once(tmp_path: Path) -> None:
    """Two revisions of it have one name, and no board could show both."""
    content = {"task_name": "NFCorpus", "scores": {"test": [SCORES]}}
    paths = [mteb(tmp_path / revision, content, "minilm") for revision in ("one", "other")]
    with pytest.raises(CollectionError, match="two results of minilm"):
        from_mteb(paths)


def test_results_of_two_tasks_are_not_mixed(tmp_path: Path) -> None:
    """Each goes into a folder of its own."""
    paths = [
        mteb(tmp_path / task, {"task_name": task, "scores": {"test": [SCORES]}}) for task in ("NFCorpus", "SciFact")
    ]
    with pytest.raises(CollectionError, match=r"results are of one task; got NFCorpus in .*, SciFact in "):
        from_mteb(paths)

"""Dev data is what was asked for, and its search is exact."""

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from retrieval.errors import CollectionError, InputError  # noqa: E402
from retrieval.training.data import plain  # noqa: E402
from retrieval.training.dev import DevSet, hold_out, load_dev_set, search_all  # noqa: E402
from retrieval.types import Query  # noqa: E402


def test_a_share_is_held_out_at_random_and_always_the_same() -> None:
    """At least one query; a share of all or of none is an error."""
    ids = [f"q{number}" for number in range(20)]
    held = hold_out(ids, 0.25, seed=1)
    assert held == hold_out(ids, 0.25, seed=1) != hold_out(ids, 0.25, seed=2)
    assert len(held) == 5
    assert len(hold_out(ids, 0.001, seed=1)) == 1
    for share in (0, 1, -1):
        with pytest.raises(InputError, match="between 0 and 1"):
            hold_out(ids, share, seed=1)


def test_a_sample_of_documents_holds_all_that_are_relevant_and_says_so(collection: Path) -> None:
    """With others up to the number."""
    only = frozenset({"q40", "q46"})
    dev = load_dev_set(collection, "test", only=only, documents=25)
    assert {query.id for query in dev.queries} == only
    assert len(dev.documents) == 25
    assert {f"d{number}" for number in range(60) if number % 6 == 4} <= set(dev.documents)
    assert dev.notes == ["data: dev figures are of 25 documents of 60"]
    assert not load_dev_set(collection, "test").notes
    with pytest.raises(CollectionError, match="none of the queries"):
        load_dev_set(collection, "test", only=frozenset({"q0"}))


def test_what_is_tested_chooses_no_model(collection: Path, tmp_path: Path) -> None:
    """A query of the test split, by its id or by its text, is left out of dev data, which is said."""
    folder = Path(shutil.copytree(collection, tmp_path / "data"))
    texts = {one["_id"]: one["text"] for one in map(json.loads, (folder / "queries.jsonl").read_text().splitlines())}
    texts["q46"] = f" {texts['q0'].upper()} "
    records = [{"_id": id_, "text": text} for id_, text in texts.items()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\td1\t1\n")
    alike = {id_ for id_, text in texts.items() if plain(text) in {plain(texts[f"q{n}"]) for n in (1, *range(40, 60))}}
    dev = load_dev_set(folder, "train", only=frozenset({"q0", "q1", "q2", "q3", "q4", "q5"}))
    assert {query.id for query in dev.queries} == {"q0", "q1", "q2", "q3", "q4", "q5"} - alike
    assert {"q0", "q1"} <= alike
    assert dev.notes == [
        f"data: queries for dev data that stand in the test split, and choose no model: {6 - len(dev.queries)}"
    ]


def test_search_is_exact_and_leaves_out_the_query_itself() -> None:
    """Hits with a score above 0 only, best first."""
    vectors = {"x": [1.0, 0.0], "y": [0.5, 2.0], "z": [0.0, 3.0], "own": [9.0, 0.0]}
    dev = DevSet("made", [Query("own", "a"), Query("q", "b")], {"q": {"y": 1}}, {id_: id_ for id_ in vectors})
    queries = {"a": [1.0, 0.0], "b": [1.0, 1.0]}
    run = search_all(
        dev,
        lambda texts: torch.tensor([queries[text] for text in texts]),
        lambda texts: torch.tensor([vectors[text] for text in texts]),
        depth=2,
    )
    assert list(run["own"].items()) == [("x", 1.0), ("y", 0.5)]
    assert list(run["q"].items()) == [("own", 9.0), ("z", 3.0)]
    assert dev.score({"q": {"x": 2.0, "y": 1.0}}, "RR") == 0.5


def test_search_is_as_exact_in_a_run_of_half_precision() -> None:
    """The scores are float32 products all the same, so that no documents tie that do not."""
    queries = torch.nn.functional.normalize(torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))
    vectors = torch.nn.functional.normalize(torch.randn(90, 16, generator=torch.Generator().manual_seed(1)))
    asked, documents = [Query(f"q{n}", str(n)) for n in range(2)], {f"d{n}": str(n) for n in range(90)}
    dev = DevSet("made", asked, {query.id: {"d0": 1} for query in asked}, documents)

    def run() -> dict[str, dict[str, float]]:
        return search_all(dev, lambda some: queries[list(map(int, some))], lambda some: vectors[list(map(int, some))])

    with torch.autocast("cpu", torch.bfloat16):
        found = run()
    assert found == run()

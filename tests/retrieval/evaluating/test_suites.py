from pathlib import Path
from typing import Any

import pytest

from retrieval.beir_eval.suites import Suite
from retrieval.errors import InputError
from retrieval.evaluating.cells import stages_of
from retrieval.evaluating.places import Place
from retrieval.evaluating.suites import cells_of
from retrieval.routing.manifest import System, SystemsManifest, write_router


def suite(*systems: dict[str, Any]) -> Suite:
    """These systems on one data set."""
    return Suite.model_validate({"dataset": [{"name": "set", "folder": "set"}], "system": list(systems)})


def folders(*systems: dict[str, Any], data: Path = Path("data")) -> list[str]:
    """The folder of the index that each system searches."""
    place = Place(out=Path("out"), data=data)
    return [cell.index.folder.name if cell.index else "" for cell in cells_of(suite(*systems), place)]


def test_systems_share_an_index_wherever_one_serves_them(tmp_path: Path) -> None:
    """One holds every part that they want; another preset or model is another index; a run needs none."""
    (tmp_path / "theirs.trec").touch()
    found = folders(
        {"name": "a", "using": "lexical"},
        {"name": "b", "using": "dense", "dense": "minilm"},
        {"name": "c", "using": "hybrid", "dense": "minilm", "fusion": "rrf"},
        {"name": "d", "using": "lexical", "bm25": "anserini"},
        {"name": "e", "using": "dense", "dense": "another"},
        {"name": "f", "run": "theirs.trec"},
        data=tmp_path,
    )
    assert found[0] == found[1] == found[2]
    assert found[3] == found[4]
    assert found[3] != found[0]
    assert found[5] == ""
    assert found[0].startswith("lexical-dense-")


def test_no_part_is_made_twice_whatever_the_order_of_systems() -> None:
    """What asks for one part searches the index of what asks for it and another."""
    lexical = {"using": "lexical", "bm25": "anserini"}
    dense = {"using": "dense", "dense": "minilm"}
    both = {"using": "lexical+dense", "dense": "minilm"}
    systems = [{"name": name, **system} for name, system in zip("abc", (lexical, dense, both), strict=True)]
    found = folders(*systems)
    assert found[1] == found[2] != found[0]


@pytest.mark.parametrize(
    ("system", "reason"),
    [
        ({"run": "{dataset}.trec"}, "no run at data/set.trec"),
        ({"using": "sparse", "sparse_vectors": "x", "query_vectors": "y"}, "no sparse_vectors at data/x"),
    ],
)
def test_a_file_that_is_not_there_is_named_before_anything_runs(system: dict[str, Any], reason: str) -> None:
    """With the system and the data set that want it."""
    with pytest.raises(InputError, match=f"system 'a' on set: {reason}"):
        folders({"name": "a", **system})


def test_what_is_in_the_folder_of_models_is_there_or_is_named(tmp_path: Path) -> None:
    """With the system and the data set that want it, before anything runs; a router as well."""
    place = Place(out=tmp_path / "out", data=tmp_path, models=tmp_path / "models")
    (tmp_path / "models" / "set" / "there").mkdir(parents=True)
    there, lacks = "{models}/{dataset}/there", "{models}/{dataset}/lacks"
    (cell,) = cells_of(suite({"name": "a", "using": "dense", "dense": there}), place)
    assert cell.place.model(there, cell.dataset) == str(tmp_path / "models" / "set" / "there")
    for lacking in (
        {"using": "dense", "dense": lacks},
        {"using": "dense", "dense": there, "query_encoder": lacks},
        {"using": "lexical", "rerank": lacks},
        {"using": "routed", "router": lacks},
    ):
        with pytest.raises(InputError, match=f"system 'a' on set: no .* at {tmp_path / 'models' / 'set' / 'lacks'}"):
            cells_of(suite({"name": "a", **lacking}), place)


def test_a_router_says_what_its_index_must_have(tmp_path: Path) -> None:
    """The stages of all that it can choose, hybrid as it was; lexical search, by which it chooses, always."""
    systems = [System(name=name, milliseconds=1, intercept=0, coefficients=[]) for name in ("dense", "hybrid")]
    write_router(
        tmp_path / "router",
        SystemsManifest(
            systems=systems,
            base="dense",
            features=[],
            means=[],
            scales=[],
            parts={"lexical": {}, "dense": "weights"},
            queries={},
            fingerprints=[],
        ),
    )
    place = Place(out=tmp_path / "out", data=tmp_path)
    routed = {"name": "a", "using": "routed", "router": "router", "dense": "minilm"}
    (cell,) = cells_of(suite(routed), place)
    assert cell.index
    assert cell.index.folder.name.startswith("lexical-dense-")
    with pytest.raises(InputError, match="system 'a': dense search needs a model"):
        cells_of(suite({**routed, "dense": None}), place)


def test_an_index_has_the_same_name_in_every_run() -> None:
    """So that a later run finds it; its name depends on its settings alone."""
    one, other = {"name": "a", "using": "lexical"}, {"name": "b", "using": "lexical", "bm25": "anserini"}
    assert folders(one, other) == folders(other, one)[::-1]


def test_hybrid_is_all_that_a_system_names() -> None:
    """Not what else is in an index that it shares."""
    systems = suite(
        {"name": "a", "using": "hybrid", "dense": "minilm"},
        {"name": "b", "using": "hybrid", "dense": "minilm", "sparse_vectors": "vectors.jsonl"},
        {"name": "c", "using": "sparse", "sparse": "splade"},
    ).systems
    assert [stages_of(system) for system in systems] == [
        ("lexical", "dense"),
        ("lexical", "sparse", "dense"),
        ("sparse",),
    ]


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ({"using": "sprase"}, "system 'a': using must be one of lexical, sparse, dense"),
        ({"using": "lexical+dense"}, "system 'a': dense search needs a model"),
        ({"using": "sparse"}, "system 'a': sparse search needs a model"),
    ],
)
def test_a_mode_of_search_that_cannot_be_is_named_before_anything_runs(system: dict[str, Any], message: str) -> None:
    """With the system that wants it."""
    with pytest.raises(InputError) as caught:
        folders({"name": "a", **system})
    assert str(caught.value).startswith(message)

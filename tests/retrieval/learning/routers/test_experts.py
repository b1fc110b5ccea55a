"""Experts of two domains: the router finds the right one, and they come and go without the index noticing."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.beir_eval.datasets import load_collection
from retrieval.encoders.dense import load_encoder
from retrieval.errors import (
    ArtifactDamagedError,
    ArtifactMissingError,
    ArtifactVersionError,
    InputError,
    ModelError,
    RetrievalError,
    TrainingError,
)
from retrieval.indexing import Index
from retrieval.learning.routers.evaluating import evaluate_router, rows_of
from retrieval.learning.routers.expert_training import domains_of
from retrieval.learning.routers.experts import add_experts, experts_at, make_router, remove_expert
from retrieval.pipeline import Retriever
from retrieval.routing.experts import ExpertRouter
from tests.retrieval.learning.routers.conftest import World
from tests.retrieval.learning.routers.making import MAKING
from tests.training.making import make_dense


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a router's folder says of it."""
    file = folder / "router.json"
    known = json.loads(file.read_text())
    change(known)
    file.write_text(json.dumps(known))


def drop_a_pilot(known: dict[str, Any]) -> None:
    """Out of all its lists."""
    for name in ("experts", "domains", "counts"):
        known["pilots"][name].pop()


@pytest.fixture
def router(world: World, tmp_path: Path) -> Path:
    """A copy of the router, to be changed."""
    return Path(shutil.copytree(world.router, tmp_path / "router"))


def test_each_expert_is_best_at_home_and_the_router_finds_it(world: World) -> None:
    """On queries that trained nobody; on the mean it is above both and near the oracle of data sets."""
    index = Index.open(world.index)
    data = [(load_collection(folder, "test"), index) for folder in (world.a, world.b)]
    report = evaluate_router(ExpertRouter.open(world.router, device="cpu"), data, device="cpu")
    for part, own, other in zip(report["datasets"], "ab", "ba", strict=True):
        assert part["systems"][own] > max(part["systems"][other], part["systems"]["base"]) + 0.2
        assert part["chosen"][own] == part["queries"] == 12
        assert part["routed"] == pytest.approx(part["systems"][own])
        assert part["dataset_oracle"]["name"] == own
        assert part["instance_oracle"] >= part["routed"]
    mean = report["mean"]
    assert mean["routed"] > mean["best_single"]["value"] + 0.1
    assert mean["routed"] == pytest.approx(mean["dataset_oracle"])
    columns, rows = rows_of(report)
    assert columns == ["nDCG@10", "a", "b", "mean", "ms/query"]
    assert [row[0] for row in rows][:4] == ["base", "a", "b", "routed"]
    assert {len(row) for row in rows} == {5}


def test_each_query_is_told_of(world: World) -> None:
    """Similarities, margin, oracle, regret and whether the choice did harm fit together."""
    data = [(load_collection(world.a, "test"), Index.open(world.index))]
    report = evaluate_router(ExpertRouter.open(world.router, device="cpu"), data, device="cpu")
    part = report["datasets"][0]
    for told in part["per_query"].values():
        scores = sorted(told["scores"].values())
        assert told["margin"] == pytest.approx(scores[1] - scores[0])
        assert told["scores"][told["choice"]] == scores[1]
        assert told["regret"] >= 0
    told = part["per_query"].values()
    assert np.mean([one["regret"] for one in told]) == pytest.approx(part["regret"])
    assert np.mean([one["hurt"] for one in told]) == pytest.approx(part["hurt"])


def test_a_routed_search_is_that_of_the_expert(world: World) -> None:
    """Query by query in a batch of both domains; documents are the base's, and so is the index."""
    router = ExpertRouter.open(world.router, device="cpu")
    queries = ["q0x1 q0x2 d0x0 d0x0 d0x0", "q4x1 q4x2 d3x0 d3x0 d3x0", "", "q1x1 q1x3 d0x0 d0x0 d0x0"]
    retriever = Retriever(world.index, using="routed", router=router, device="cpu")
    hits = retriever.search_batch(queries, 5)
    assert [route.choice for route in retriever.routes(queries)][:2] == ["a", "b"]
    for place, expert in ((0, "a"), (1, "b"), (3, "a")):
        vectors = router.encoder.encode_queries([queries[place]], expert)
        alone = retriever.index.dense.search(vectors, 5)
        assert hits.row(place)[0].tolist() == alone.row(0)[0].tolist()
        assert hits.row(place)[1] == pytest.approx(alone.row(0)[1], abs=1e-5)
    assert hits.counts[2] == 0
    assert set(retriever.search(queries[0])[0].signals) == {"dense"}
    assert router.card.weights == load_encoder(str(world.model), device="cpu", precision="fp32").card.weights
    assert retriever.settings["router"]["kind"] == "experts"
    fused = Retriever(world.index, using="hybrid", encoder=router, device="cpu").search(queries[0], 40)
    assert {name for hit in fused for name in hit.signals} == {"lexical", "dense"}


def test_a_batch_goes_through_the_base_and_through_each_expert_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that each query takes two forward passes at most, and one where the base answers."""
    router = ExpertRouter.open(world.router, device="cpu")
    encode, seen = router.encoder.encode_queries, []

    def counted(texts: list[str], expert: str | None = None) -> np.ndarray:
        seen.append((expert, list(texts)))
        return encode(texts, expert)

    monkeypatch.setattr(router.encoder, "encode_queries", counted)
    queries = ["q0x1 q0x2 d0x0 d0x0 d0x0", "q4x1 q4x2 d3x0 d3x0 d3x0", "q1x1 q1x3 d0x0 d0x0 d0x0"]
    router.encode_queries(queries)
    assert seen == [(None, queries), ("a", queries[::2]), ("b", queries[1:2])]
    seen.clear()
    router.with_rule(margin=3.0).encode_queries(queries)
    assert seen == [(None, queries)]


def test_below_the_margin_the_base_answers(world: World) -> None:
    """As dense search without a router does."""
    router = ExpertRouter.open(world.router, device="cpu").with_rule(margin=3.0)
    queries = ["q0x1 q0x2 d0x0", "q4x1 q4x2 d3x0"]
    routed = Retriever(world.index, using="routed", router=router, device="cpu")
    assert [(route.choice, route.fallback) for route in routed.routes(queries)] == [("base", True)] * 2
    plain = Retriever(world.index, using="dense", device="cpu").search_batch(queries, 5)
    assert np.array_equal(routed.search_batch(queries, 5).ordinals, plain.ordinals)


def test_experts_come_and_go_and_the_index_stays(world: World, router: Path) -> None:
    """Removed and added again, the router is what it was to the byte; a single expert answers by itself."""
    before, was = content(world.index), content(router)
    assert remove_expert(router, "b").names == ["a"]
    assert not (router / "experts" / "b").exists()
    single = ExpertRouter.open(router, device="cpu")
    (route,) = single.routes(["q0x1 d0x0"])
    assert route.choice == "a"
    assert route.margin == route.scores["a"]
    add_experts(router, domains_of([world.b], indexes=[world.index]), MAKING)
    assert content(world.index) == before
    now = content(router)
    for file in ("router.json", "experts/b/model/adapters.safetensors", experts_at(router).pilots.file):
        assert now[file] == was[file]
    assert now.keys() == was.keys()


def test_a_base_that_has_moved_is_named_when_experts_are_added(world: World, router: Path, tmp_path: Path) -> None:
    """Another model in its place is refused before anything is trained."""
    remove_expert(router, "b")
    domains = domains_of([world.b], indexes=[world.index])
    other, moved = make_dense(tmp_path / "other", seed=5), shutil.copytree(world.model, tmp_path / "moved")
    with pytest.raises(ModelError, match="has other weights"):
        add_experts(router, domains, MAKING, model=str(other))
    assert not (router / "experts" / "b").exists()
    made = add_experts(router, domains, replace(MAKING, steps=2), model=str(moved))
    assert made.names == ["a", "b"]
    assert made.base == experts_at(world.router).base


def test_an_index_that_has_moved_is_told_of_before_training(world: World, router: Path) -> None:
    """With the expert whose index it is, and where it belongs; so is one that is given for a new expert."""
    remove_expert(router, "b")
    lost = router.parent / "lost"
    with pytest.raises(ArtifactMissingError, match=r"no index at .*lost"):
        add_experts(router, domains_of([world.b], indexes=[lost]), MAKING)
    with pytest.raises(ArtifactMissingError, match=r"no index at .*lost"):
        make_router(
            domains_of([world.a, world.b], indexes=[world.index, lost]), str(world.model), MAKING, router / "new"
        )
    edit(router, lambda known: known["experts"][0].update(index=str(lost)))
    with pytest.raises(ArtifactMissingError, match=r"the expert 'a' of .*: no index at .*lost") as caught:
        add_experts(router, domains_of([world.b], indexes=[world.index]), MAKING)
    assert caught.value.hint
    assert "router.json names that place" in caught.value.hint
    assert not (router / "experts" / "b").exists()
    assert not (router / "new").exists()


class Stopped(Exception):  # noqa: N818 - as an interruption would be
    """What a user's Ctrl-C would be."""


def test_an_interrupted_run_goes_on(world: World, tmp_path: Path) -> None:
    """After an expert, and within the pilots; what was done is not done again, and the router is the same."""
    out = tmp_path / "out"

    def after_expert(name: str, outcome: object) -> None:
        raise Stopped(name)

    def within_pilots(stage: str, done: int, total: int | None) -> None:
        if stage == "pilots":
            raise Stopped(stage)

    domains = domains_of([world.a, world.b], indexes=[world.index])
    with pytest.raises(Stopped, match="a"):
        make_router(domains, str(world.model), MAKING, out, on_expert=after_expert)
    trained = (out / "experts" / "a" / "log.jsonl").stat().st_mtime_ns
    with pytest.raises(Stopped, match="pilots"):
        make_router(domains, str(world.model), MAKING, out, progress=within_pilots)
    with pytest.raises(ArtifactMissingError, match="no router"):
        experts_at(out)
    scored = json.loads((out / "domains" / "a" / "table.json").read_text())
    make_router(domains, str(world.model), MAKING, out)
    assert (out / "experts" / "a" / "log.jsonl").stat().st_mtime_ns == trained
    assert json.loads((out / "domains" / "a" / "table.json").read_text()) == scored
    assert experts_at(out) == experts_at(world.router)


def test_an_index_is_built_where_none_is_given(world: World, tmp_path: Path) -> None:
    """One for each domain, which an added expert is compared on as well; negatives of files take part."""
    run = tmp_path / "run.trec"
    run.write_text("".join(f"a-q{n} Q0 a-d{d} 1 1.0 made\n" for n in range(24) for d in (0, 1, 2)))
    settings = replace(MAKING.settings, negatives_per_query=1)
    making = replace(MAKING, settings=settings, steps=2)
    made = make_router(domains_of([world.a], [run]), str(world.model), making, tmp_path / "out")
    assert made.experts[0].index == "indexes/a"
    assert Index.open(tmp_path / "out" / "indexes" / "a").parts == ["dense"]
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    added = add_experts(moved, domains_of([world.b]), replace(MAKING, steps=2))
    assert added.names == ["a", "b"]
    assert sum(added.pilots.counts) == 48


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda w, r: domains_of([]), InputError, "needs experts"),
        (lambda w, r: domains_of([w.a, w.a]), InputError, "two experts would be called 'a'"),
        (lambda w, r: domains_of([w.a / "corpus.jsonl"]), InputError, "no folder"),
        (lambda w, r: domains_of([w.a, w.b], [w.a]), InputError, "1 files of negatives"),
        (lambda w, r: domains_of([w.a, w.b], [], [w.a] * 3), InputError, "3 indexes"),
        (lambda w, r: remove_expert(r, "c"), InputError, "no expert 'c'"),
        (lambda w, r: add_experts(r, domains_of([w.a]), MAKING), InputError, "has an expert 'a' already"),
        (lambda w, r: make_router(domains_of([w.a]), str(w.model), MAKING, r), InputError, "finished router"),
        (
            lambda w, r: make_router(domains_of([w.a]), str(w.model), MAKING, r / "new", margin=float("nan")),
            InputError,
            "must be a finite number",
        ),
        (lambda w, r: experts_at(w.a), ArtifactMissingError, "no router at"),
        (lambda w, r: Retriever(w.index, using="routed"), InputError, "go together"),
        (lambda w, r: Retriever(w.index, using="dense", router=r), InputError, "go together"),
    ],
)
def test_what_cannot_be_is_refused(
    world: World, router: Path, call: Callable[[World, Path], object], kind: type[RetrievalError], said: str
) -> None:
    """With what is wrong, before anything is trained."""
    with pytest.raises(kind, match=said):
        call(world, router)


def test_several_processes_are_refused(world: World, router: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would write the same folder."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="one process"):
        add_experts(router, domains_of([world.b]), MAKING)


def test_the_last_expert_stays(router: Path) -> None:
    """A router without any is none."""
    remove_expert(router, "a")
    with pytest.raises(InputError, match="only expert"):
        remove_expert(router, "b")


def test_another_way_of_training_is_refused(world: World, tmp_path: Path) -> None:
    """In a folder where an expert was begun otherwise, or on other data; what differs is told."""
    few, own = replace(MAKING, steps=1), Path(shutil.copytree(world.a, tmp_path / "a"))
    domains = domains_of([own], indexes=[world.index])

    def stop(name: str, outcome: object) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        make_router(domains, str(world.model), few, tmp_path, on_expert=stop)
    with pytest.raises(TrainingError, match="steps was 1 and is 2"):
        make_router(domains, str(world.model), replace(few, steps=2), tmp_path)
    judgements = (own / "qrels" / "train.tsv").read_text().splitlines(keepends=True)
    (own / "qrels" / "train.tsv").write_text("".join(judgements[:-1]))
    with pytest.raises(TrainingError, match=r"data was .* and is"):
        make_router(domains, str(world.model), few, tmp_path)
    assert make_router(domains, str(world.model), replace(few, steps=2), tmp_path, restart=True).names == ["a"]


def test_a_router_for_another_model_is_refused(world: World, tmp_path: Path) -> None:
    """By an index of another model or without a dense part, in search and training; and where the base has changed."""
    other = make_dense(tmp_path / "other", seed=5)
    index = Index.build(world.a / "corpus.jsonl", tmp_path / "index", dense=str(other), device="cpu")
    with pytest.raises(ModelError, match="not the one the index was built with"):
        Retriever(index, using="routed", router=world.router, device="cpu")
    lexical = Index.build(world.a / "corpus.jsonl", tmp_path / "lexical")
    with pytest.raises(ArtifactMissingError, match="no dense part"):
        Retriever(lexical, using="routed", router=world.router, device="cpu")
    for path, said in ((index.path, "another model"), (lexical.path, "no dense part")):
        with pytest.raises(RetrievalError, match=said):
            make_router(domains_of([world.a], indexes=[path]), str(world.model), MAKING, tmp_path / path.name / "out")
    with pytest.raises(ModelError, match="has other weights"):
        ExpertRouter.open(world.router, model=str(other), device="cpu")


def test_an_index_of_fewer_dimensions_is_refused(world: World, tmp_path: Path) -> None:
    """In search and in training: experts change all dimensions of a query's vector."""
    encoder = load_encoder(str(world.model), device="cpu", dimensions=8)
    index = Index.build(world.a / "corpus.jsonl", tmp_path / "index", dense=encoder)
    with pytest.raises(ModelError, match="dimensions, the index has 8") as error:
        Retriever(index, using="routed", router=world.router, device="cpu")
    assert "a router over experts needs an index of all" in str(error.value.hint)
    with pytest.raises(InputError, match="the index has 8 of the"):
        make_router(domains_of([world.a], indexes=[index.path]), str(world.model), MAKING, tmp_path / "out")


@pytest.mark.parametrize(
    ("harm", "kind", "said"),
    [
        (lambda r: (r / "router.json").write_text("{"), ArtifactDamagedError, "not a router"),
        (lambda r: (r / "router.json").write_text('{"kind": "experts"}'), ArtifactDamagedError, "Field required"),
        (lambda r: (r / "router.json").write_text('{"format": 99}'), ArtifactVersionError, "format 99"),
        (lambda r: edit(r, lambda c: c["pilots"]["counts"].pop()), ArtifactDamagedError, "not each pilot has all"),
        (lambda r: edit(r, lambda c: c["experts"].pop()), ArtifactDamagedError, "of an expert that is not there"),
        (lambda r: edit(r, lambda c: c["experts"].append(c["experts"][0])), ArtifactDamagedError, "have one name"),
        (lambda r: edit(r, drop_a_pilot), ArtifactDamagedError, "of which router.json knows"),
        (lambda r: edit(r, lambda c: c.update(margin=None)), ArtifactDamagedError, "margin: Input should be"),
        (lambda r: next(r.glob("pilots-*.npy")).write_bytes(b""), ArtifactDamagedError, "not as it was written"),
        (lambda r: next(r.glob("pilots-*.npy")).unlink(), ArtifactDamagedError, "is missing"),
        (
            lambda r: (r / "experts/a/model/adapters.safetensors").write_bytes(b"x"),
            ArtifactDamagedError,
            "not as it was written",
        ),
    ],
)
def test_a_damaged_router_is_an_error(
    router: Path, harm: Callable[[Path], object], kind: type[RetrievalError], said: str
) -> None:
    """It names the file."""
    harm(router)
    with pytest.raises(kind, match=said):
        ExpertRouter.open(router, device="cpu")


def test_removing_needs_what_the_others_score(router: Path) -> None:
    """Where that is gone the router stays as it was."""
    (router / "domains" / "a" / "table.json").unlink()
    before = (router / "router.json").read_bytes()
    with pytest.raises(ArtifactDamagedError, match="cannot be read"):
        remove_expert(router, "b")
    assert (router / "router.json").read_bytes() == before

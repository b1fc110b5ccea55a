"""A router over systems: features by hand, a linear function that learns who serves whom, and searches as it says."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from retrieval.beir_eval.datasets import load_collection
from retrieval.errors import ArtifactDamagedError, CollectionError, InputError, ModelError, RetrievalError
from retrieval.indexing import Index
from retrieval.learning.routers.evaluating import evaluate_router
from retrieval.learning.routers.systems import check_systems, fit_linear, make_system_router
from retrieval.pipeline import Retriever, routed_stages
from retrieval.reranking import Reranking
from retrieval.routing.manifest import System, SystemsManifest, read_router, write_router
from retrieval.routing.opening import open_router
from retrieval.routing.systems import FEATURES, SystemRouter, features_of, parse_system, parts_of
from retrieval.types import ScoreKind
from retrieval.vectors import VectorFile
from tests.retrieval.test_reranking import ByLength
from tests.training.making import make_dense, words

QUERIES = 48


def make_mixed(folder: Path) -> Path:
    """A BEIR folder half of whose queries have their document's words, and half words that no document has.

    The documents of the latter are alike for a dense model that has learned nothing, which finds some of them by
    chance; a lexical search finds none.
    """
    generator = random.Random(0)
    (folder / "qrels").mkdir(parents=True)
    vocabulary = [word for topic in range(6) for word in words(topic, "d")]
    documents = {f"d{n}": generator.sample(vocabulary, 6) for n in range(40)}
    queries = {
        f"q{n}": documents[f"d{n % 40}"][:3] if n % 2 else generator.choices(words(0, "q"), k=3) for n in range(QUERIES)
    }
    for name, texts in (("corpus", documents), ("queries", queries)):
        lines = (json.dumps({"_id": id_, "text": " ".join(some)}) + "\n" for id_, some in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(lines))
    for split, some in (("train", range(32)), ("test", range(32, QUERIES))):
        pairs = [(n, d) for n in some for d in ([n % 40] if n % 2 else range(0, 40, 2))]
        content = "".join(f"q{n}\td{d}\t1\n" for n, d in pairs)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + content)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mixed(tmp_path_factory.mktemp("mixed") / "mixed")


@pytest.fixture(scope="module")
def index(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("index")
    model = make_dense(folder / "model", dropout=0.0)
    return Index.build(data / "corpus.jsonl", folder / "index", dense=str(model), device="cpu")


@pytest.fixture(scope="module")
def router(data: Path, index: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("router") / "out"
    make_system_router([data], [index], ["lexical", "dense"], out, device="cpu", threads=1)
    return out


def test_features_by_hand(tmp_path: Path) -> None:
    """Of a query with a rare term, a frequent one and an unknown one; a query without terms has zeros."""
    texts = ["sun wind", "wind", "wind wind wind", "rain"]
    index = Index.build([{"id": f"d{n}", "text": text} for n, text in enumerate(texts)], tmp_path / "index")
    found = dict(zip(FEATURES, features_of(index, ["sun wind snow", "", "snow"])[0], strict=True))
    idf = [np.log1p((4 - n + 0.5) / (n + 0.5)) for n in (1, 3)]
    scores = [hit.score for hit in Retriever(index).search("sun wind snow")]
    assert found["terms"] == pytest.approx(np.log(4))
    assert found["unknown"] == pytest.approx(1 / 3)
    assert found["mean_idf"] == pytest.approx(np.mean(idf))
    assert found["largest_idf"] == pytest.approx(max(idf))
    assert found["hits"] == pytest.approx(0.3)
    assert found["best"] == pytest.approx(scores[0])
    assert found["lead"] == pytest.approx((scores[0] - scores[1]) / scores[0])
    assert found["fall"] == pytest.approx((scores[0] - scores[2]) / scores[0])
    assert found["spread"] == pytest.approx(np.std(scores) / scores[0])
    none, unknown = features_of(index, ["", "snow"])
    assert not none.any()
    assert unknown.tolist() == pytest.approx([np.log(2), 1, *[0] * 7])
    assert features_of(index, []).shape == (0, len(FEATURES))


def test_what_is_learned_is_a_linear_function() -> None:
    """Of features that decide the scores it is just that; a constant feature says nothing."""
    generator = np.random.default_rng(0)
    features = np.column_stack([generator.normal(size=(60, 2)), np.ones(60)])
    scores = np.column_stack([features[:, 0], 1 - 2 * features[:, 1]])
    linear = fit_linear(features, scores, np.ones(60))
    expected = (features - linear.means) / linear.scales @ linear.coefficients.T + linear.intercepts
    assert expected == pytest.approx(scores, abs=1e-2)


def test_a_constant_feature_stays_small_under_uneven_weights() -> None:
    """Rounding of its weighted mean is not taken for something that differs."""
    weights = np.repeat([40 / 45, 40 / 30, 40 / 45], [15, 10, 15])
    features = np.column_stack([np.arange(40.0), np.full(40, 0.7)])
    linear = fit_linear(features, np.arange(40.0)[:, None], weights)
    assert linear.scales[1] == 1
    assert abs((features - linear.means) / linear.scales)[:, 1].max() < 1e-9


def test_each_query_gets_the_system_that_serves_it(data: Path, index: Index, router: Path) -> None:
    """Better on the mean than any single system, on queries that it has not learned from."""
    opened = open_router(router)
    report = evaluate_router(opened, [(load_collection(data, "test"), index)], device="cpu", threads=1)
    part = report["datasets"][0]
    assert part["chosen"] == {"lexical": 8, "dense": 8}
    assert part["routed"] > max(part["systems"].values()) + 0.1
    assert part["routed"] == pytest.approx(part["instance_oracle"], abs=0.05)
    assert part["milliseconds"].keys() == {"lexical", "dense", "routed"}
    assert part["base"] == opened.manifest.base
    assert report["router"]["kind"] == "systems"


def test_a_routed_search_is_that_of_the_chosen_system(index: Index, router: Path) -> None:
    """Hits, scores and every stage's signals; the kind says that scores are of several systems."""
    retriever = Retriever(index, using="routed", router=router, device="cpu", threads=1)
    queries = ["d0x1 d1x2 d2x3", "q0x1 q0x2", " ", "d3x1 d3x2"]
    routes = retriever.routes(queries)
    assert routes[0].choice != routes[1].choice == "dense"
    hits = retriever.search_batch(queries, 5)
    assert hits.kind is ScoreKind.ROUTED
    for place in (0, 1, 3):
        alone = Retriever(index, using=routes[place].choice, device="cpu", threads=1)
        theirs = alone.search(queries[place], 5)
        ours = retriever.resolve(hits, place)
        assert [(hit.id, hit.score, hit.signals) for hit in ours] == [
            (hit.id, hit.score, hit.signals) for hit in theirs
        ]
    assert hits.counts[2] == 0
    assert retriever.search_batch([], 5).counts.tolist() == []
    assert retriever.settings["router"]["systems"][0]["name"] == "lexical"


def test_no_model_is_loaded_where_lexical_search_answers(index: Index, router: Path) -> None:
    """The choice is made by what a lexical search says, before any other stage runs."""
    manifest = open_router(router).manifest
    costs = {"lexical": 1.0, "dense": 2.0}
    systems = [one.model_copy(update={"milliseconds": costs[one.name]}) for one in manifest.systems]
    tolerant = manifest.model_copy(update={"systems": systems, "tolerance": 9.0})
    retriever = Retriever(index, using="routed", router=SystemRouter(router, tolerant), device="cpu", threads=1)
    assert {route.choice for route in retriever.routes(["q0x1", "d0x1"])} == {"lexical"}
    assert retriever.search("d0x1")
    assert retriever._encoder is None


def test_how_deep_to_rerank_is_chosen_too(index: Index, tmp_path: Path) -> None:
    """By systems with @N; the model must be the one that the router was made with."""
    model = ByLength()
    plain = {"coefficients": [0.0] * len(FEATURES)}
    manifest = SystemsManifest(
        systems=[
            System(name="hybrid@0", milliseconds=1, intercept=0.5, **plain),
            System(name="lexical@3", milliseconds=2, intercept=0.4, coefficients=[0, 1, *[0] * 7]),
        ],
        base="hybrid@0",
        features=list(FEATURES),
        means=[0.0] * len(FEATURES),
        scales=[1.0] * len(FEATURES),
        parts=parts_of(index.manifest, index.parts),
        reranker=model.settings,
        queries={},
        fingerprints=[index.manifest.fingerprint],
    )
    write_router(tmp_path, manifest)
    retriever = Retriever(
        index, using="routed", router=tmp_path, rerank=Reranking(model=model), device="cpu", threads=1
    )
    queries = ["d0x1", "d0x1 nowhere"]
    hits = retriever.search_batch(queries, 5)
    assert model.read == [3]
    assert [route.choice for route in retriever.routes(queries)] == ["hybrid@0", "lexical@3"]
    fused, reranked = retriever.resolve(hits, 0), retriever.resolve(hits, 1)
    assert fused == Retriever(index, using="hybrid", device="cpu").search(queries[0], 5)
    assert [set(hit.signals) for hit in reranked] == [{"lexical", "rerank"}] * 3 + [{"lexical"}] * 2
    with pytest.raises(InputError, match="how deep to rerank"):
        Retriever(index, using="routed", router=tmp_path)
    for given, option in (({"depth": 100}, "--rerank-depth"), ({"weight": 0.5}, "--rerank-weight")):
        with pytest.raises(InputError) as caught:
            Retriever(index, using="routed", router=tmp_path, rerank=Reranking(model=model, **given))
        assert caught.value.hint == f"leave {option} out"
    other = ByLength()
    other.settings = {"kind": "other"}
    with pytest.raises(ModelError, match=r"another reranker, .* of kind length; this is .* of kind other"):
        Retriever(index, using="routed", router=tmp_path, rerank=Reranking(model=other))


def test_hybrid_is_what_it_was_when_the_router_was_made(data: Path, index: Index, router: Path, tmp_path: Path) -> None:
    """An index that holds one part more is searched with those that the router learned of."""
    assert index.manifest.dense
    (tmp_path / "vectors.jsonl").write_text(
        "".join(json.dumps({"id": f"d{n}", "vector": {"sun": 1}}) + "\n" for n in range(40))
    )
    vectors, model = VectorFile(tmp_path / "vectors.jsonl"), index.manifest.dense.encoder.model
    full = Index.build(data / "corpus.jsonl", tmp_path / "full", dense=model, sparse=vectors, device="cpu")
    manifest = read_router(router)
    assert isinstance(manifest, SystemsManifest)
    always = System(name="hybrid", milliseconds=1, intercept=9, coefficients=[0.0] * len(FEATURES))
    hybrid = SystemRouter(router, manifest.model_copy(update={"systems": [manifest.systems[0], always]}))
    assert routed_stages(hybrid.manifest) == ("lexical", "dense")
    routed, plain = (
        Retriever(full, using=using, router=chosen, device="cpu", threads=1)
        for using, chosen in (("routed", hybrid), ("lexical+dense", None))
    )
    assert routed.stages == plain.stages
    assert routed.search("q0x1 d0x1") == plain.search("q0x1 d0x1")


def test_a_reranker_is_known_by_its_weights(index: Index, router: Path) -> None:
    """Wherever it is, and in whatever precision it runs."""
    manifest = open_router(router).manifest.model_copy(update={"reranker": {"model": "here", "weights": "w"}})
    moved, other = ByLength(), ByLength()
    moved.settings = {"model": "there", "weights": "w", "precision": "bfloat16"}
    other.settings = {"model": "here", "weights": "v"}
    opened = SystemRouter(router, manifest)
    opened.check(index.manifest, ["lexical", "dense"], Reranking(model=moved))
    with pytest.raises(ModelError, match="another reranker, here with the weights w; this is here with") as caught:
        opened.check(index.manifest, ["lexical", "dense"], Reranking(model=other))
    assert "train system-router" in str(caught.value.hint)


def test_an_index_of_other_documents_is_told_of_once(
    data: Path, index: Index, router: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be searched; one that the router has learned from is not mentioned."""
    fewer = [json.loads(line) for line in (data / "corpus.jsonl").read_text().splitlines()][:30]
    model = index.manifest.dense.encoder.model
    other = Index.build([{"id": one["_id"], "text": one["text"]} for one in fewer], tmp_path / "other", dense=model)
    opened = open_router(router)
    Retriever(index, using="routed", router=opened)
    assert not caplog.messages
    for _ in range(2):
        assert Retriever(other, using="routed", router=opened, device="cpu").search("d0x1")
    assert [text for text in caplog.messages if "has not learned from this index" in text] == caplog.messages[:1]


def test_a_model_that_has_moved_is_named(data: Path, index: Index, router: Path, tmp_path: Path) -> None:
    """Where the index' own name for it leads nowhere."""
    model = Path(index.manifest.dense.encoder.model)
    moved = shutil.copytree(model, tmp_path / "moved")
    pair = [(load_collection(data, "test"), index)]
    aside = model.rename(tmp_path / "aside")
    try:
        with pytest.raises(ModelError):
            evaluate_router(open_router(router), pair, device="cpu", threads=1)
        report = evaluate_router(open_router(router), pair, model=str(moved), device="cpu", threads=1)
        names, out = ["lexical", "dense"], tmp_path / "out"
        made = make_system_router([data], [index], names, out, model=str(moved), device="cpu", threads=1)
    finally:
        aside.rename(model)
    assert report["datasets"][0]["queries"] == 16
    assert made.parts == open_router(router).manifest.parts


def test_an_interrupted_run_goes_on(data: Path, index: Index, router: Path, tmp_path: Path) -> None:
    """What a system scores is not searched for again; a finished router is refused."""
    out = tmp_path / "out"
    names = ["lexical", "dense"]
    (out / "scores").mkdir(parents=True)
    known = json.loads((router / "scores" / "mixed.json").read_text())
    known["systems"]["lexical"]["milliseconds"] = 1234.5
    del known["systems"]["dense"]
    (out / "scores" / "mixed.json").write_text(json.dumps(known))
    made = make_system_router([data], [index], names, out, device="cpu", threads=1)
    assert made.systems[0].milliseconds == 1234.5
    before = open_router(router).manifest
    assert [one.coefficients for one in made.systems] == [one.coefficients for one in before.systems]
    with pytest.raises(InputError, match="finished router"):
        make_system_router([data], [index], names, out)
    again = make_system_router([data], [index], names, out, restart=True, device="cpu", threads=1)
    assert again.systems[0].milliseconds != 1234.5


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: check_systems(["lexical"], None), "several systems"),
        (lambda: check_systems(["lexical", "lexical"], None), "several systems"),
        (lambda: check_systems(["lexical", "lexical@5"], None), "reranks, by a model"),
        (lambda: check_systems(["lexical", "lexical@5"], Reranking(model=ByLength())), "how many hits it reranks"),
        (lambda: parse_system("lexical@many"), "hybrid@50"),
    ],
)
def test_systems_that_cannot_be_chosen_among(call: Callable[[], object], said: str) -> None:
    """Are refused before anything is searched."""
    with pytest.raises(InputError, match=said):
        call()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["systems"][0]["coefficients"].pop(), "not each feature has all its numbers"),
        (lambda c: c["means"].append(0.0), "not each feature has all its numbers"),
        (lambda c: c["scales"].__setitem__(0, 0.0), "scaled by 0"),
        (lambda c: c.update(base="sparse"), "none of its systems"),
        (lambda c: c["features"].reverse(), "features: known are terms"),
        (lambda c: c.update(tolerance=None), "tolerance: Input should be"),
    ],
)
def test_a_damaged_router_is_an_error(
    router: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    """It names the file, before a query is asked."""
    known = json.loads((router / "router.json").read_text())
    change(known)
    (tmp_path / "router.json").write_text(json.dumps(known))
    with pytest.raises(ArtifactDamagedError, match=f"router.json: .*{said}"):
        open_router(tmp_path)


def test_indexes_that_do_not_fit(data: Path, index: Index, router: Path, tmp_path: Path) -> None:
    """One without a part, of another model or analyzer, or too few queries to learn from."""
    lexical = Index.build(data / "corpus.jsonl", tmp_path / "lexical")
    with pytest.raises(RetrievalError, match="no dense part"):
        Retriever(lexical, using="routed", router=router)
    model = make_dense(tmp_path / "other", seed=3)
    other = Index.build(data / "corpus.jsonl", tmp_path / "other-index", dense=str(model), device="cpu")
    with pytest.raises(ModelError, match="dense part is built otherwise"):
        Retriever(other, using="routed", router=router)
    dense = Index.build(data / "corpus.jsonl", tmp_path / "dense", lexical=False, dense=str(model), device="cpu")
    with pytest.raises(InputError, match="BM25 first"):
        features_of(dense, ["q"])
    few = make_mixed(tmp_path / "few")
    lines = (few / "qrels" / "train.tsv").read_text().splitlines()
    (few / "qrels" / "train.tsv").write_text("\n".join(lines[:3]) + "\n")
    with pytest.raises(CollectionError, match="too few for a router"):
        make_system_router([few], [index], ["lexical", "dense"], tmp_path / "out", device="cpu", threads=1)
    with pytest.raises(InputError, match="no router can serve both"):
        make_system_router([data, few], [index, other], ["lexical", "dense"], tmp_path / "two", device="cpu", threads=1)

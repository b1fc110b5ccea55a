import asyncio
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.chunking import ByWords
from retrieval.encoders.dense import load_encoder
from retrieval.errors import ArtifactMissingError, CorpusError, InputError, ModelError
from retrieval.fusion import MinMax, ReciprocalRank
from retrieval.indexing import Index
from retrieval.pipeline import Retriever, fuses
from retrieval.routing.manifest import System, SystemsManifest
from retrieval.routing.systems import FEATURES
from retrieval.types import Document, Passage, ScoreKind


@pytest.fixture(scope="module")
def index(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Both parts, over documents of which one is empty."""
    documents = [
        Document(id="a", title="Aurora", text="Solar wind makes the sky glow.", metadata={"year": 2001}),
        Document(id="b", title="Storms", text="A magnetic storm follows the solar wind."),
        Document(id="c", text="Oxygen glows green, nitrogen glows red."),
        Document(id="d", text=""),
        Document(id="e", text="An electron meets an ion in the plasma."),
    ]
    return Index.build(documents, tmp_path_factory.mktemp("pipeline") / "index", dense=str(tiny_model))


def test_a_hit_brings_its_document(index: Index) -> None:
    """Id, title, text, metadata, rank and score."""
    best, second = Retriever(index, using="lexical").search("solar wind sky")
    assert (best.id, best.title, best.text, best.rank) == ("a", "Aurora", "Solar wind makes the sky glow.", 1)
    assert best.metadata == {"year": 2001}
    assert (second.id, second.rank, second.metadata) == ("b", 2, {})
    assert best.score > second.score > 0
    assert best.signals["lexical"].score == best.score


def test_the_most_that_the_index_holds_is_the_default(index: Index, tmp_path: Path) -> None:
    """Hybrid over both parts, else the part there is."""
    assert Retriever(index).using == "hybrid"
    lexical = Index.build([Document(id="a", text="wind")], tmp_path / "lexical")
    assert Retriever(lexical).using == "lexical"
    assert Retriever(tmp_path / "lexical").search("wind")[0].id == "a"


def test_hybrid_keeps_what_each_stage_said(index: Index) -> None:
    """Ranks and raw scores are those of the stages by themselves; a stage without the document is not named."""
    hybrid = Retriever(index, using="hybrid").search("solar wind", k=4)
    for stage in ("lexical", "dense"):
        alone = {hit.id: hit for hit in Retriever(index, using=stage).search("solar wind", k=4)}
        for hit in hybrid:
            assert (stage in hit.signals) == (hit.id in alone)
            if stage in hit.signals:
                assert hit.signals[stage].rank == alone[hit.id].rank
                assert hit.signals[stage].score == pytest.approx(alone[hit.id].score, rel=1e-6)


@pytest.mark.parametrize(
    ("using", "kind"),
    [("lexical", ScoreKind.BM25), ("dense", ScoreKind.COSINE), ("hybrid", ScoreKind.SCORE_FUSION)],
)
def test_scores_say_what_they_mean(using: str, kind: ScoreKind, index: Index) -> None:
    """And ranks fused are rank fusion."""
    assert Retriever(index, using=using).search_batch(["wind"]).kind == kind
    fused = Retriever(index, using="hybrid", fusion=ReciprocalRank()).search_batch(["wind"])
    assert fused.kind == ScoreKind.RANK_FUSION


@pytest.mark.parametrize("using", ["lexical", "dense", "hybrid"])
def test_questions_without_an_answer(using: str, index: Index) -> None:
    """An empty query has no hits in any mode, alone or between others; k above the corpus brings all that match."""
    retriever = Retriever(index, using=using)
    assert retriever.search("") == retriever.search(" \n") == []
    assert retriever.search("wind", k=0) == []
    counts = retriever.search_batch(["wind", "", "sky"], k=1000).counts
    assert counts[1] == 0
    assert counts[0] == (2 if using == "lexical" else 4)


def test_an_unknown_word_matches_nothing_by_text(index: Index) -> None:
    """A dense search still has its nearest documents."""
    assert Retriever(index, using="lexical").search("zyzzyva") == []
    assert len(Retriever(index, using="dense").search("zyzzyva", k=2)) == 2


@pytest.mark.parametrize("using", ["lexical", "dense", "hybrid"])
def test_a_batch_equals_its_queries_one_by_one(using: str, index: Index) -> None:
    """Ids in the same order, scores to the encoder's precision."""
    retriever = Retriever(index, using=using)
    queries = ["solar wind", "oxygen", "", "plasma storm sky"]
    batch = retriever.search_batch(queries, k=3)
    for i, query in enumerate(queries):
        assert [hit.id for hit in retriever.resolve(batch, i)] == [hit.id for hit in retriever.search(query, k=3)]
        scores = [hit.score for hit in retriever.search(query, k=3)]
        np.testing.assert_allclose(batch.row(i)[1], scores, atol=1e-5)


def test_search_from_an_event_loop(index: Index) -> None:
    """Several questions at once, the same answers."""

    async def ask() -> list[list[str]]:
        retriever = Retriever(index, using="hybrid")
        answers = await asyncio.gather(*(retriever.asearch(query) for query in ("wind", "oxygen", "")))
        return [[hit.id for hit in hits] for hits in answers]

    retriever = Retriever(index, using="hybrid")
    assert asyncio.run(ask()) == [[hit.id for hit in retriever.search(query)] for query in ("wind", "oxygen", "")]


def test_a_part_that_is_not_there(tmp_path: Path) -> None:
    """The message says what the index has, and how to build the rest."""
    index = Index.build([Document(id="a", text="wind")], tmp_path / "index")
    with pytest.raises(
        ArtifactMissingError, match="has no dense part, which hybrid search needs; it has: lexical"
    ) as e:
        Retriever(index, using="hybrid")
    assert "--dense MODEL" in str(e.value.hint)


def test_wrong_arguments_are_refused(index: Index) -> None:
    """Each by name."""
    with pytest.raises(InputError, match=r"using must be one of lexical, sparse, dense, hybrid.*; got 'psychic'"):
        Retriever(index, using="psychic")
    with pytest.raises(InputError, match="k must be a whole number of at least 0; got -1"):
        Retriever(index).search("wind", k=-1)
    with pytest.raises(InputError, match=r"k must be a whole number of at least 0; got 2\.5"):
        Retriever(index).search("wind", k=2.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="queries must be strings, several of them"):
        Retriever(index).search_batch("wind")
    with pytest.raises(InputError, match="threads must be at least 1; got 0"):
        Retriever(index, threads=0)


def test_a_model_that_has_changed_since_the_build(make_model: Callable[..., Path], tmp_path: Path) -> None:
    """Its vectors would be compared with those of another model."""
    model = make_model()
    index = Index.build([Document(id="a", text="wind")], tmp_path / "index", dense=str(model))
    make_model(seed=1)
    with pytest.raises(ModelError, match="is not the one the index was built with"):
        Retriever(index, using="dense").search("wind")


def test_settings_tell_of_a_model_that_encodes_queries_alone(index: Index, tiny_model: Path) -> None:
    """Its weights decide the hits; one that encoded the documents as well is told of once."""
    encoder = load_encoder(str(tiny_model), device="cpu", precision="fp32")
    told = Retriever(index, using="dense", encoder=encoder).settings["dense"]
    assert told["query_encoder"] is None
    encoder.card = replace(encoder.card, weights="others", document_weights=encoder.card.weights)
    told = Retriever(index, using="dense", encoder=encoder).settings["dense"]
    assert told["query_encoder"]["weights"] == "others"
    assert told["encoder"]["weights"] != "others"


@pytest.mark.parametrize("using", ["lexical", "dense", "hybrid"])
def test_a_filter_leaves_documents_out(using: str, index: Index) -> None:
    """In every mode: those that it excludes cannot appear, however deep the search."""
    retriever = Retriever(index, using=using)
    assert [hit.id for hit in retriever.search("solar wind", k=10, filter={"year": 2001})] == ["a"]
    assert "a" not in [hit.id for hit in retriever.search("solar wind", k=10, filter={"year": {"$ne": 2001}})]
    assert retriever.search("solar wind", filter={"year": {"$gt": 2001}}) == []


@pytest.fixture(scope="module")
def passages(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Passages of three words, of documents of which one has many that match."""
    documents = [
        Document(id="long", title="Winds", text="solar wind blows " * 40, metadata={"year": 1}),
        Document(id="short", text="a wind storm and some sky", metadata={"year": 2}),
        Document(id="none", text=""),
    ]
    path = tmp_path_factory.mktemp("passages") / "index"
    return Index.build(documents, path, dense=str(tiny_model), chunking=ByWords(size=3, overlap=0))


def test_passages_are_hits_that_know_their_document(passages: Index) -> None:
    """The text is the passage's, and it says which characters of which document it is."""
    hit = Retriever(passages, using="lexical").search("storm")[0]
    assert (hit.id, hit.text, hit.metadata) == ("short#0", "a wind storm", {"year": 2})
    assert hit.passage == Passage(document="short", start=0, end=12)


@pytest.mark.parametrize("using", ["lexical", "dense", "hybrid"])
def test_documents_are_hits_by_their_best_passage(using: str, passages: Index) -> None:
    """Of k documents, also where the first has more passages than are looked at; each keeps its signals."""
    hits = Retriever(passages, using=using, by_document=True).search("solar wind", k=2)
    assert [hit.id for hit in hits] == ["long", "short"]
    best = Retriever(passages, using=using).search("solar wind", k=1)[0]
    assert (hits[0].text, hits[0].score, hits[0].passage) == (best.text, pytest.approx(best.score), best.passage)
    assert hits[0].signals.keys() == best.signals.keys()
    assert [hit.id for hit in Retriever(passages, using=using, by_document=True).search("wind", k=50)] in (
        ["long", "short"],
        ["short", "long"],
    )


def test_an_index_of_whole_documents_has_nothing_to_group(index: Index) -> None:
    """Grouping by document changes nothing there."""
    plain, grouped = Retriever(index), Retriever(index, by_document=True)
    assert plain.search("solar wind") == grouped.search("solar wind")


def test_hybrid_ranks_the_same_for_every_k(index: Index) -> None:
    """Its lists have one depth: a smaller k is the beginning of a larger one."""
    retriever = Retriever(index, using="hybrid", fusion=MinMax(depth=2))
    many = [hit.id for hit in retriever.search("solar wind sky", k=100)]
    assert many[:1] == [hit.id for hit in retriever.search("solar wind sky", k=1)]
    assert len(many) <= 4


def test_an_index_and_its_errors_travel_between_processes(index: Index) -> None:
    """An index is opened again by path, an error keeps its message, place and hint."""
    again = pickle.loads(pickle.dumps(index))
    assert len(again) == len(index)
    error = pickle.loads(pickle.dumps(CorpusError("file", 3, "no id", hint="add one")))
    assert (str(error), error.position, error.hint) == ("file:3: no id", 3, "add one")


def test_by_document_hybrid_looks_as_deep_as_it_must(tmp_path: Path, tiny_model: Path) -> None:
    """A document with more passages than the lists are deep does not hide the others."""
    documents = [Document(id="long", text="solar wind blows " * 30)]
    documents += [Document(id=f"short-{i}", text="some wind") for i in range(5)]
    chunking = ByWords(size=3, overlap=0)
    index = Index.build(documents, tmp_path / "index", dense=str(tiny_model), chunking=chunking)
    retriever = Retriever(index, using="hybrid", fusion=MinMax(depth=5), by_document=True)
    assert len(retriever.search("solar wind", k=6)) == 6


def test_an_index_that_was_replaced_is_not_reopened_as_another(tmp_path: Path) -> None:
    """A process that is handed it would answer from other documents."""
    index = Index.build([Document(id="a", text="wind")], tmp_path / "index")
    handed = pickle.dumps(index)
    Index.build([Document(id="b", text="wind")], tmp_path / "index", overwrite=True)
    with pytest.raises(ArtifactMissingError, match="has been replaced since"):
        pickle.loads(handed)


@pytest.mark.parametrize("using", ["lexical", "dense", "hybrid"])
def test_hits_may_be_asked_for_among_some_documents(using: str, index: Index) -> None:
    """Ids that no document has are nothing; a filter holds beside them."""
    retriever = Retriever(index, using=using)
    everything = retriever.search_batch(["solar wind"], 10)
    found = retriever.search_batch(["solar wind"], 10, among=["b", "a", "unknown"])
    assert set(retriever.ids(found.row(0)[0])) == {"a", "b"}
    if using != "hybrid":
        scores = dict(zip(everything.row(0)[0].tolist(), everything.row(0)[1].tolist(), strict=True))
        assert found.row(0)[1].tolist() == pytest.approx([scores[i] for i in found.row(0)[0].tolist()], rel=1e-6)
    both = retriever.search_batch(["solar wind"], 10, among=["a", "b"], filter={"year": 2001})
    assert retriever.ids(both.row(0)[0]) == ["a"]
    assert retriever.search_batch(["solar wind"], 10, among=[]).counts.tolist() == [0]


def systems(*names: str) -> SystemsManifest:
    """A router that chooses among modes of search."""
    ones = [1.0] * len(FEATURES)
    choices = [System(name=name, milliseconds=1, intercept=0, coefficients=ones) for name in names]
    rest: dict[str, Any] = {"features": list(FEATURES), "means": ones, "scales": ones, "parts": {}, "queries": {}}
    return SystemsManifest(systems=choices, base=names[0], fingerprints=[], **rest)


def test_several_lists_are_fused() -> None:
    """Of a router if one of its choices does so."""
    assert [fuses(using) for using in ("lexical", "dense", "lexical+sparse", "hybrid")] == [False, False, True, True]
    assert not fuses("routed", systems("lexical", "dense"))
    assert fuses("routed", systems("lexical", "lexical+dense"))

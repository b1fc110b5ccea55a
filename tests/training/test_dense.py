"""Dense encoders learn what no word tells, by each method; what several processes, or less memory, do is the same."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

import retrieval  # noqa: E402
from retrieval.encoders.dense import load_encoder  # noqa: E402
from retrieval.encoders.neural.dual import DualEncoder  # noqa: E402
from retrieval.errors import InputError, ModelError  # noqa: E402
from retrieval.learning.dense import METHODS, learn, read_data  # noqa: E402
from retrieval.rerank.neural.cross_encoder import CrossEncoder  # noqa: E402
from retrieval.training.dev import load_dev_set  # noqa: E402
from retrieval.training.log import read_log  # noqa: E402
from retrieval.training.recipes.cet_style import CetStyleRecipe  # noqa: E402
from retrieval.training.recipes.dense import DenseRecipe, evaluator  # noqa: E402
from retrieval.training.recipes.rocketqa import RocketQaRecipe  # noqa: E402
from retrieval.training.settings import CetSettings, DataSettings, RocketQaSettings, TrainerSettings  # noqa: E402
from retrieval.training.trainer import Outcome  # noqa: E402

OPTIMISING = TrainerSettings(steps=60, lr=5e-3, checkpoint_every=0, log_every=1, device="cpu")


def trained(
    collection: Path,
    model: Path,
    out: Path,
    method: str = "dense",
    *,
    teacher: Path | None = None,
    negatives: Path | None = None,
    **changes: Any,
) -> Outcome:
    """What a method makes of the model."""
    optimising = replace(OPTIMISING, **{name: changes.pop(name) for name in list(changes) if hasattr(OPTIMISING, name)})
    files = {"teacher_run": [teacher] if teacher else [], "negatives": [negatives] if negatives else []}
    data, sets = read_data([collection], DataSettings(**files), 0)
    settings = METHODS[method](batch=10, query_length=16, document_length=16, **changes)
    return learn(method, str(model), data, sets, settings, optimising, out, corpus=collection)


def score(model: Path, collection: Path) -> float:
    """nDCG@10 of the test split."""
    encoder = DualEncoder.load(str(model), device="cpu").eval()
    with torch.no_grad():
        return evaluator(encoder, [load_dev_set(collection, "test")])()


@pytest.mark.parametrize("method", ["dense", "star", "pair"])
def test_training_finds_documents_that_share_no_word_with_the_query(
    collection: Path, dense: Path, tmp_path: Path, method: str
) -> None:
    """Queries of the test split find far more than before."""
    outcome = trained(collection, dense, tmp_path, method)
    assert score(outcome.model, collection) > score(dense, collection) + 0.3


def test_adore_trains_the_query_side_alone(collection: Path, dense: Path, tmp_path: Path) -> None:
    """Search gets better on an index that stays as it is, with the model as the index' query encoder."""
    index = retrieval.Index.build(collection, tmp_path / "index", lexical=False, dense=str(dense), device="cpu")
    before = {path.name: path.read_bytes() for path in (tmp_path / "index").rglob("*") if path.is_file()}
    data, sets = read_data([collection], DataSettings(), 0)
    settings = METHODS["adore"](batch=10, depth=20, metric_cut=20, query_length=16)
    outcome = learn("adore", str(dense), data, sets, settings, OPTIMISING, tmp_path / "out", index=tmp_path / "index")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "index").rglob("*") if path.is_file()}
    assert score(outcome.model, collection) > score(dense, collection) + 0.2
    given, made = DualEncoder.load(str(dense)), DualEncoder.load(str(outcome.model))
    assert made.digest() == given.digest() != made.digest("query")
    encoder = load_encoder(str(outcome.model), device="cpu")
    retriever = retrieval.Retriever(index, encoder=encoder)
    query = load_dev_set(collection, "test").queries[0].text
    assert np.array_equal(
        retriever.search_batch([query], 5).scores, index.dense.search(encoder.encode_queries([query]), 5).scores
    )
    log = [line for line in read_log(tmp_path / "out" / "log.jsonl") if "RR" in line]
    assert log[-1]["RR"] > log[0]["RR"]


def test_an_index_knows_that_its_queries_have_another_encoder(collection: Path, dense: Path, tmp_path: Path) -> None:
    """It loads that one by itself, keeps it through changes, notices another in its place, and goes back."""
    import shutil

    model = trained(collection, dense, tmp_path / "adore", "adore", steps=10).model
    index = retrieval.Index.build(collection, tmp_path / "index", dense=str(dense), device="cpu")
    before = index.dense.search(load_encoder(str(dense), device="cpu").encode_queries(["q1x1"]), 5)
    changed = index.set_query_encoder(str(model), device="cpu")
    found = retrieval.Retriever(changed, using="dense", device="cpu").search_batch(["q1x1"], 5)
    theirs = index.dense.search(load_encoder(str(model), device="cpu").encode_queries(["q1x1"]), 5)
    assert np.array_equal(found.scores, theirs.scores)
    assert not np.array_equal(found.scores, before.scores)
    added = changed.add([{"id": "new", "text": "d1x1 d1x2"}], device="cpu")
    assert added.manifest.dense.query_encoder == changed.manifest.dense.query_encoder
    again = added.set_query_encoder(None)
    assert again.manifest.dense.query_encoder is None
    changed = again.set_query_encoder(str(model), device="cpu")
    shutil.rmtree(model)
    DualEncoder.load(str(dense)).with_query_side().save(model)
    with pytest.raises(ModelError, match="encodes queries otherwise"):
        retrieval.Retriever(changed, using="dense", device="cpu").search("q1x1")
    other = trained(collection, dense, tmp_path / "other", steps=2).model
    with pytest.raises(ModelError, match="not the one"):
        changed.set_query_encoder(str(other), device="cpu")


def test_adore_wants_the_index_of_its_model(collection: Path, dense: Path, tmp_path: Path) -> None:
    """Not one of another."""
    trained(collection, dense, tmp_path / "other", steps=2)
    retrieval.Index.build(collection, tmp_path / "index", lexical=False, dense=str(dense), device="cpu")
    data, sets = read_data([collection], DataSettings(), 0)
    with pytest.raises(InputError, match="another model"):
        learn(
            "adore",
            str(tmp_path / "other" / "model"),
            data,
            sets,
            METHODS["adore"](batch=4),
            OPTIMISING,
            tmp_path / "out",
            index=tmp_path / "index",
        )


LISTS: dict[str, Any] = {"ranker_lr": 3e-3, "mined": 0, "negatives_per_query": 5}


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("ar2", {"cycle": 40, "cooling": 0.3, "ranker_warmup": 60, "steps": 120}),
        ("rocketqa", {"ranker_warmup": 60, "steps": 120}),
    ],
)
def test_two_models_learn_together(
    collection: Path, run: Path, dense: Path, tmp_path: Path, method: str, changes: dict[str, Any]
) -> None:
    """Both put the positives of their lists first, retrieval gets better, and both are handed out."""
    outcome = trained(collection, dense, tmp_path, method, negatives=run, ranker=str(dense), **LISTS, **changes)
    log = list(read_log(tmp_path / "log.jsonl"))
    for name in ("ranker_first", "retriever_first"):
        told = [line[name] for line in log if name in line]
        assert np.mean(told[-10:]) > np.mean(told[:10]) + 0.15
    assert score(outcome.model, collection) > score(dense, collection)
    from sentence_transformers import CrossEncoder

    assert CrossEncoder(str(outcome.model / "ranker"), device="cpu").predict([("q1x1", "d1x1")]).shape == (1,)


def test_cet_weighs_what_the_pool_may_have_missed(collection: Path, run: Path, dense: Path, tmp_path: Path) -> None:
    """From all weights 1 to fewer, within their bounds, and the least are told; retrieval gets better."""
    outcome = trained(collection, dense, tmp_path, "cet", negatives=run, **LISTS, uncorrected=6)
    log = list(read_log(tmp_path / "log.jsonl"))
    assert all(line["weight"] == 1 for line in log[:6])
    assert all(0.1 <= line["weight"] < 1 for line in log[6:])
    audit = (tmp_path / "downweighted.tsv").read_text().splitlines()
    assert audit[0].startswith("weight\tquery_id")
    weights = [float(line.split("\t")[0]) for line in audit[1:]]
    assert len(weights) == 100
    assert weights == sorted(weights)
    assert score(outcome.model, collection) > score(dense, collection) + 0.3


def test_the_reranker_of_cet_learns_alone(collection: Path, run: Path, dense: Path, tmp_path: Path) -> None:
    """The retriever stays as it is, and the cross-encoder beside it learns."""
    settings = {**LISTS, "ranker": str(dense), "relevance": "cross"}
    outcome = trained(collection, dense, tmp_path, "cet", negatives=run, **settings)
    assert DualEncoder.load(str(outcome.model)).digest() == DualEncoder.load(str(dense)).digest()
    told = [line["first"] for line in read_log(tmp_path / "log.jsonl") if "first" in line]
    assert np.mean(told[-10:]) > np.mean(told[:10]) + 0.2


def test_ar2_takes_turns(collection: Path, dense: Path, tmp_path: Path) -> None:
    """The ranker's warm-up, then its part of each cycle; each cycle begins with a search."""
    settings = {"ranker": str(dense), "mined": 10, "negatives_per_query": 3, "cycle": 4, "ranker_warmup": 2}
    trained(collection, dense, tmp_path, "ar2", **settings, steps=10)
    turns = ["ranker" if "ranker_first" in line else "retriever" for line in read_log(tmp_path / "log.jsonl")]
    assert turns == ["ranker"] * 3 + ["retriever"] * 3 + ["ranker"] + ["retriever"] * 3
    assert [path.name for path in sorted(tmp_path.glob("negatives-*"))] == [
        "negatives-00000000.jsonl",
        "negatives-00000006.jsonl",
    ]


@pytest.mark.parametrize("with_models", [True, False])
def test_tas_balanced_follows_its_teachers(
    collection: Path, run: Path, dense: Path, tmp_path: Path, with_models: bool
) -> None:
    """A run's scores, or a cross-encoder and a dual encoder that know the task."""
    if not with_models:
        made = trained(
            collection, dense, tmp_path, "tas-b", teacher=run, negatives=run, mined=0, clusters=4, temperature=1.0
        )
        assert made.steps == 60
        told = [line["pairs"] for line in read_log(tmp_path / "log.jsonl")]
        assert np.mean(told[-5:]) < np.mean(told[:5])
        return
    settings = {**LISTS, "ranker": str(dense), "ranker_warmup": 60}
    teacher = trained(collection, dense, tmp_path / "teacher", "rocketqa", negatives=run, **settings, steps=90).model
    models = {"ranker": str(teacher / "ranker"), "batch_teacher": str(teacher)}
    made = trained(collection, dense, tmp_path / "out", "tas-b", negatives=run, **models, mined=0, clusters=6)
    told = [line["loss"] for line in read_log(tmp_path / "out" / "log.jsonl")]
    assert np.mean(told[-5:]) < 0.8 * np.mean(told[:5])
    assert score(made.model, collection) > score(dense, collection)


def test_a_batch_of_tas_balanced_is_of_one_topic() -> None:
    """k-means tells clusters apart, and a pair's margin is drawn evenly among the bins that hold one."""
    from retrieval.training.data import Example
    from retrieval.training.recipes.tas_balanced import balanced_pair, clusters_of

    generator = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0) + generator.normal(0, 0.01, (15, 3)).astype(np.float32)
    assert sorted(clusters_of(vectors, 3)) == [list(range(5)), list(range(5, 10)), list(range(10, 15))]
    # Nine easy negatives and one hard: a hard pair comes as often as an easy one.
    scores = {0: 10.0, 1: 9.0} | dict.fromkeys(range(2, 11), 0.0)
    example = Example("q", "q", (0,), tuple(range(1, 11)), scores)
    drawn = [balanced_pair(example, 10, generator)[1] for _ in range(1000)]
    assert 400 < drawn.count(1) < 600


def test_sentence_transformers_loads_what_was_trained(collection: Path, dense: Path, tmp_path: Path) -> None:
    """With one line, and gives the same vectors; of two sides each its own."""
    from sentence_transformers import SentenceTransformer

    for method in ("dense", "adore"):
        model = trained(collection, dense, tmp_path / method, method, steps=3).model
        theirs, ours = SentenceTransformer(str(model), device="cpu"), load_encoder(str(model), device="cpu")
        texts = ["q1x1 q2x2", "d3x3"]
        assert np.allclose(theirs.encode_query(texts), ours.encode_queries(texts), atol=1e-6)
        assert np.allclose(theirs.encode_document(texts), ours.encode_documents(texts, lambda done: None), atol=1e-6)


def gradient(recipe: DenseRecipe) -> Any:
    torch.manual_seed(0)
    recipe.model.zero_grad()
    recipe.loss(recipe.batch(0, 0, 1), 0).total.backward()
    return torch.cat([p.grad.flatten() for p in recipe.model.parameters() if p.grad is not None])


def test_adore_takes_no_index_of_fewer_documents(collection: Path, dense: Path, tmp_path: Path) -> None:
    """Which it built in a run that was stopped before the corpus grew; nothing would ever find the new ones."""
    folder = Path(shutil.copytree(collection, tmp_path / "data"))

    def run(**changes: Any) -> None:
        data, sets = read_data([folder], DataSettings(), 0)
        learn("adore", str(dense), data, sets, METHODS["adore"](batch=4), OPTIMISING, tmp_path / "out", **changes)

    run(corpus=folder)
    for name in ("model", "checkpoints"):
        shutil.rmtree(tmp_path / "out" / name)
    with (folder / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "new", "title": "", "text": "d0x1 d0x2"}\n')
    with pytest.raises(InputError, match="lacks documents of the data: 1"):
        run(corpus=folder)
    run(corpus=folder, restart=True)


def test_gradients_do_not_depend_on_how_much_is_kept(collection: Path, dense: Path) -> None:
    """Neither on caching nor on how many texts go through the model together; without dropout."""
    data, _ = read_data([collection], DataSettings(), 0)
    found = []
    for changes in ({"at_once": 0}, {"at_once": 3}, {"at_once": 3, "cached": True}):
        settings = METHODS["dense"](batch=10, **changes)
        recipe = DenseRecipe(DualEncoder.load(str(dense), device="cpu").eval(), data, settings)
        found.append(gradient(recipe))
    assert torch.allclose(found[0], found[1], atol=1e-5)
    assert torch.equal(found[1], found[2])


def test_a_ranker_keeps_no_more_than_scores_either(collection: Path, run: Path, dense: Path) -> None:
    """For the backward pass, which runs it again, with the same gradients."""
    data, _ = read_data([collection], DataSettings(negatives=[run]), 0)
    found = []
    for cached in (False, True):
        ranker, ran = CrossEncoder.from_encoder(str(dense), device="cpu").eval(), []
        ranker.register_forward_pre_hook(lambda *_, ran=ran: ran.append(1))
        settings = RocketQaSettings(batch=4, document_length=16, cached=cached)
        recipe = RocketQaRecipe(DualEncoder.load(str(dense), device="cpu").eval(), data, settings, ranker=ranker)
        recipe.loss(recipe.batch(0, 0, 1), 0).total.backward()
        found.append((torch.cat([p.grad.flatten() for p in ranker.parameters() if p.grad is not None]), len(ran)))
    (plain, once), (again, twice) = found
    assert torch.equal(plain, again)
    assert twice == 2 * once


def test_negatives_are_searched_for_anew(collection: Path, dense: Path, tmp_path: Path) -> None:
    """At the start and every so many steps, and what was found is kept for people to read; never a judged one."""
    outcome = trained(collection, dense, tmp_path, "star", steps=9, mined=5, refresh=4)
    files = sorted(path.name for path in tmp_path.glob("negatives-*.jsonl"))
    assert files == ["negatives-00000000.jsonl", "negatives-00000004.jsonl", "negatives-00000008.jsonl"]
    data, _ = read_data([collection], DataSettings(), 0)
    relevant = {example.id: {data.ids[row] for row in example.positives} for example in data.examples}
    for name in files:
        for line in (tmp_path / name).read_bytes().splitlines():
            mined = orjson.loads(line)
            ids = [negative["id"] for negative in mined["negatives"]]
            assert len(ids) == 5
            assert not relevant[mined["query_id"]] & set(ids)
            scores = [negative["score"] for negative in mined["negatives"]]
            assert scores == sorted(scores, reverse=True)
    assert (tmp_path / files[0]).read_bytes() != (tmp_path / files[2]).read_bytes()
    assert outcome.steps == 9


def test_lora_trains_little_and_saves_a_whole_model(collection: Path, dense: Path, tmp_path: Path) -> None:
    """What is saved needs no adapters."""
    before = DualEncoder.load(str(dense), device="cpu")
    outcome = trained(collection, dense, tmp_path, lora=4, lr=2e-2)
    after = DualEncoder.load(str(outcome.model), device="cpu")
    assert before.state_dict().keys() == after.state_dict().keys()
    assert score(outcome.model, collection) > score(dense, collection) + 0.1
    embeddings = [name for name in before.state_dict() if "word_embeddings" in name]
    assert torch.equal(before.state_dict()[embeddings[0]], after.state_dict()[embeddings[0]])


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda folder: (folder / "modules.json").unlink(), "modules.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
    ],
)
def test_a_model_that_cannot_be_trained_is_an_error(
    dense: Path, tmp_path: Path, break_it: Callable[[Path], None], said: str
) -> None:
    """One that says not how to pool, or has no weights."""
    import shutil

    shutil.copytree(dense, tmp_path / "broken")
    break_it(tmp_path / "broken")
    with pytest.raises(ModelError, match=said):
        DualEncoder.load(str(tmp_path / "broken"))


def test_a_tokenizer_of_another_model_is_an_error(dense: Path, tmp_path: Path) -> None:
    """Its tokens would have no embeddings."""
    import shutil

    from transformers import AutoTokenizer

    shutil.copytree(dense, tmp_path / "broken")
    tokenizer = AutoTokenizer.from_pretrained(dense)
    tokenizer.add_tokens([f"new{number}" for number in range(50)])
    tokenizer.save_pretrained(tmp_path / "broken")
    with pytest.raises(ModelError, match="embeddings of"):
        DualEncoder.load(str(tmp_path / "broken"))


def test_beside_a_list_stand_the_other_documents_of_the_batch(collection: Path, run: Path, dense: Path) -> None:
    """But for those in it, wherever they came from, and for what is known to be relevant. CET learns from them."""
    data, _ = read_data([collection], DataSettings(negatives=[run]), 0)
    encoder = DualEncoder.load(str(dense), device="cpu").eval()
    settings = CetSettings(batch=4, negatives_per_query=2, document_length=16, uncorrected=1)
    ranked = CetStyleRecipe(encoder, data, settings)
    step = ranked.batch(0, 0, 1)
    with torch.no_grad():
        (alone, _), (scores, _) = (ranked.scored(step, retriever=True, beside=also) for also in (False, True))
    assert torch.equal(scores[:, :3], alone)
    rows = step.batch.rows
    for place, example in enumerate(step.batch.examples):
        own = {rows[place], *rows[4 + 2 * place : 6 + 2 * place]}
        left_out = [row in own or row in example.positives for row in rows]
        assert (scores[place, 3:] == -torch.inf).tolist() == left_out
    assert torch.isfinite(scores[:, 3:]).any()
    with torch.no_grad():
        learned = ranked.loss(step, 0).parts["relevance"]
    assert learned == pytest.approx(-scores.log_softmax(dim=1)[:, 0].mean().item(), abs=1e-5)


def test_lists_are_scored_in_float32_in_a_run_of_half_precision(collection: Path, run: Path, dense: Path) -> None:
    """A bfloat16 cosine over .05 would be wrong by tenths."""
    data, _ = read_data([collection], DataSettings(negatives=[run]), 0)
    encoder, settings = DualEncoder.load(str(dense), device="cpu").eval(), CetSettings(batch=4, document_length=16)
    ranked, plain = CetStyleRecipe(encoder, data, settings), DenseRecipe(encoder, data, settings)
    step = ranked.batch(0, 0, 1)
    queries, documents = [e.query for e in step.batch.examples], [data.texts[row] for row in step.batch.rows]
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        scores, _ = ranked.scored(step, retriever=True)
        asked, answers = plain.encode([(queries, "query"), (documents, "document")], step)
    assert torch.allclose(scores[:, 0] * ranked.temperature, (asked @ answers.T).diagonal(), atol=1e-5)

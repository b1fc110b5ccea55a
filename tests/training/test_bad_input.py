"""Data, models and disks that training cannot use: an error that says what and where, or nothing of note."""

import json
import math
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

from retrieval.errors import CollectionError, CorpusError, InputError, ModelError, RetrievalError, TrainingError  # noqa: E402
from retrieval.learning.dense import METHODS, learn, read_data  # noqa: E402
from retrieval.rerank.neural.cross_encoder import CrossEncoder  # noqa: E402
from retrieval.training.data import Sources, read_training_data  # noqa: E402
from retrieval.training.settings import DataSettings, check_negatives  # noqa: E402
from tests.training.making import make_collection, make_dense  # noqa: E402
from tests.training.methods import CASES, OPTIMISING, Task, go, state, told  # noqa: E402

METHOD_CASES = [case for case in CASES if case not in ("cached", "lora", "cross-encoder")]


@pytest.fixture(scope="module")
def ranker(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder with a head that has learned nothing."""
    folder = tmp_path_factory.mktemp("ranker")
    CrossEncoder.from_encoder(str(dense)).save(folder)
    return folder


@pytest.fixture
def task(collection: Path, run: Path, dense: Path, ranker: Path) -> Task:
    """What every method learns from."""
    return Task(collection, run, dense, ranker)


def write_lines(path: Path, *records: object) -> Path:
    """One JSON value a line; a text stands as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def trained(data: Path, model: Path, out: Path, method: str = "dense", **settings: Any) -> list[float]:
    """The losses of a few steps on a source of data."""
    training, sets = read_data([data], DataSettings(), 0)
    made = METHODS[method](**{"batch": 4, "query_length": 16, "document_length": 16, **settings})
    optimising = replace(OPTIMISING, steps=3)
    learn(method, str(model), training, sets, made, optimising, out, corpus=data)
    return [line["loss"] for line in told(out) if "loss" in line]


@contextmanager
def small_disk(most: int) -> Iterator[Callable[[], None]]:
    """What it gives makes it so that no file gets larger than so many bytes any more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("case", METHOD_CASES)
def test_each_method_takes_steps_in_bf16(task: Task, tmp_path: Path, case: str) -> None:
    """And its losses are numbers."""
    assert go(case, task, tmp_path, precision="bf16", steps=2, evaluate_every=0).steps == 2
    losses = [line["loss"] for line in told(tmp_path) if "loss" in line]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))


def test_fp16_without_a_gpu_is_an_error(task: Task, tmp_path: Path) -> None:
    """Not one of a library."""
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        go("dense", task, tmp_path, precision="fp16")


@pytest.mark.parametrize("case", ["dense", "star", "adore", "ar2", "rocketqa", "cet", "cet-cross", "pair"])
def test_a_query_with_nothing_but_positives_costs_nothing(task: Task, tmp_path: Path, case: str) -> None:
    """Where every document is relevant: no negative is found, however many are asked for, and the loss is 0."""
    texts = ["", "d0x1 d0x2", "d1x3", "d2x2 d3x1"]
    data = tmp_path / "data"
    write_lines(data / "corpus.jsonl", *({"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(texts)))
    write_lines(data / "queries.jsonl", *({"_id": f"q{n}", "text": f"q{n}x1"} for n in range(3)))
    judged = (f"q{query}\td{document}\t1" for query in range(3) for document in range(len(texts)))
    write_lines(data / "qrels" / "train.tsv", "query-id\tcorpus-id\tscore", *judged)
    settings = dict(CASES[case])
    method = settings.pop("method")
    if "ranker_lr" in settings:
        settings["ranker"] = str(task.ranker)
    losses = trained(data, task.model, tmp_path / "out", method, **{**settings, "mined": 50})
    # ADORE's index has no vector of the document without a text.
    assert losses == [0.0, 0.0, 0.0]


def test_more_hits_than_documents_and_more_queries_than_there_are(task: Task, tmp_path: Path) -> None:
    """A search finds what there is, and a batch runs on into the next epoch."""
    data = make_collection(tmp_path / "data", queries=9, documents=12)
    losses = trained(data, task.model, tmp_path / "out", "star", mined=500, batch=20)
    assert all(0 < loss < 100 for loss in losses)


def test_tas_balanced_needs_pairs_that_a_teacher_knows(task: Task, tmp_path: Path) -> None:
    """And would not know those of negatives that are found later."""
    data = write_lines(tmp_path / "a.jsonl", {"query": "q0x1", "pos": ["d0x1"], "neg": ["d1x1"]})
    with pytest.raises(InputError, match="no query has two pairs"):
        trained(data, task.model, tmp_path / "out", "tas-b", mined=0, ranker=str(task.ranker))
    with pytest.raises(InputError, match="scored once"):
        METHODS["tas-b"](refresh=2, mined=5)


def test_tas_balanced_goes_on_with_queries_of_one_id(task: Task, tmp_path: Path) -> None:
    """As those of two folders may be; each keeps its own scores, and one that was left out stays out."""
    from retrieval.encoders.neural.dual import DualEncoder
    from retrieval.training.recipes.tas_balanced import TasBalancedRecipe

    records = [
        {"query_id": "q", "query": "q0x1", "pos": ["d0x1"], "neg": ["d1x1", "d2x1"]},
        {"query_id": "q", "query": "q1x1", "pos": ["d0x2"], "neg": ["d1x1"]},
        {"query_id": "q", "query": "q2x1", "pos": ["d0x3"], "neg": ["d1x2", "d3x1"]},
    ]
    data = read_training_data(Sources(data=[write_lines(tmp_path / "a.jsonl", *records)]))
    model, ranker = DualEncoder.load(str(task.model), device="cpu"), CrossEncoder.load(str(task.ranker), device="cpu")
    one, other = (
        TasBalancedRecipe(model, data, METHODS["tas-b"](mined=0, clusters=2), ranker=ranker) for _ in range(2)
    )
    one.begin()
    other.load_state(one.state())
    assert [example.query for example in one.data.examples] == ["q0x1", "q2x1"]
    assert other.data.examples == one.data.examples
    assert other.batch(0, 0, 1).batch.rows == one.batch(0, 0, 1).batch.rows


@pytest.mark.parametrize("evaluate_every", [0, 4])
def test_a_full_disk_keeps_the_last_checkpoint(task: Task, tmp_path: Path, evaluate_every: int) -> None:
    """Whether the next or a best model cannot be written; a run with room again goes on as if nothing had been."""
    changes = {"evaluate_every": evaluate_every, "steps": 5}
    go("dense", task, tmp_path / "whole", **changes)
    with small_disk(20_000) as fill, pytest.raises(TrainingError, match=r"cannot be written .*what was kept") as caught:
        go("dense", task, tmp_path / "out", progress=lambda stage, done, total: done == 3 and fill(), **changes)
    assert "the same command again" in str(caught.value.hint)
    assert [path.name for path in (tmp_path / "out" / "checkpoints").glob("step-*")] == ["step-00000002"]
    assert not list((tmp_path / "out").rglob("*.new"))
    go("dense", task, tmp_path / "out", **changes)
    assert told(tmp_path / "out") == told(tmp_path / "whole")
    found, expected = state(tmp_path / "out")["model"], state(tmp_path / "whole")["model"]
    assert all(torch.equal(found[name], expected[name]) for name in expected)


RECORD = {"query": "q0x1", "pos": ["d0x1"], "neg": ["d1x1"]}


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("a.jsonl", [RECORD, {"query": "", "pos": ["d0x1"]}], r"a.jsonl:2: no query"),
        ("a.jsonl", [RECORD, {"query": "q", "pos": "d0x1"}], r"a.jsonl:2: pos must be a list of texts"),
        ("a.jsonl", [RECORD, {**RECORD, "pos_scores": [1, 2]}], r"a.jsonl:2: pos_scores must be 1 numbers"),
        ("a.jsonl", [RECORD, "{"], r"a.jsonl:2"),
        ("a.tsv", ["q0x1\td0x1\td1x1", "q0x1\td0x1"], r"a.tsv:2: expected query, positive and negative"),
        ("a.tsv", ["q0x1\td0x1\td1x1", "q0x1\t\td0x1"], r"a.tsv:2: expected query, positive and negative"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, name: str, lines: list[object], said: str) -> None:
    """By file and number."""
    with pytest.raises(CorpusError, match=said):
        read_training_data(Sources(data=[write_lines(tmp_path / name, *lines)]))


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl", "run.trec"])
def test_a_file_that_is_no_text_is_an_error(collection: Path, tmp_path: Path, name: str) -> None:
    """Not a traceback."""
    (tmp_path / name).write_bytes(b"q0x1\td\xff0x1\td1x1\n")
    given = (
        {"data": [collection], "negatives": [tmp_path / name]} if name == "run.trec" else {"data": [tmp_path / name]}
    )
    with pytest.raises(RetrievalError, match=name):
        read_training_data(Sources(**given))


def test_examples_without_a_positive_are_left_out_and_noted(tmp_path: Path) -> None:
    """And where that is all of them, nothing is left to train on."""
    empty = {"query": "q1x1", "pos": [], "neg": ["d1x1"]}
    data = read_training_data(Sources(data=[write_lines(tmp_path / "a.jsonl", RECORD, empty)]))
    assert len(data.examples) == 1
    assert data.notes == ["1 training query has no positive, and is left out: q1x1"]
    with pytest.raises(CollectionError, match="nothing to train on") as caught:
        read_training_data(Sources(data=[write_lines(tmp_path / "b.jsonl", empty)]))
    assert "no positive" in str(caught.value.hint)


def test_negatives_that_nobody_knows_are_noted(collection: Path, tmp_path: Path) -> None:
    """Documents that the corpus lacks; where no query of the file trains, that is an error."""
    negatives = [{"id": "d1"}, {"id": "gone"}, {"id": "lost"}]
    some = write_lines(tmp_path / "some.jsonl", {"query_id": "q0", "negatives": negatives})
    data = read_training_data(Sources(data=[collection], negatives=[some]))
    assert "data: negatives that the corpus lacks: 2" in data.notes
    other = write_lines(tmp_path / "other.jsonl", {"query_id": "nobody", "negatives": [{"id": "d1"}]})
    with pytest.raises(CollectionError, match="holds no hit of any training query"):
        read_training_data(Sources(data=[collection], negatives=[other]))


def test_a_hold_out_leaves_something(task: Task, tmp_path: Path) -> None:
    """To train on: of one query, none would be left."""
    data = make_collection(tmp_path / "data", queries=2, documents=12)
    with pytest.raises(CollectionError, match="nothing to train on") as caught:
        read_data([data], DataSettings(hold_out=0.9), 0)
    assert "held out as dev data" in str(caught.value.hint)


def test_what_trains_does_not_choose_the_model(collection: Path) -> None:
    """A split is for one of the two."""
    with pytest.raises(InputError, match="split train trains"):
        read_data([collection], DataSettings(dev="train"), 0)


def test_files_of_negatives_are_not_passed_over() -> None:
    """Where the model finds its own; of a method that does so by default as well."""
    given = DataSettings(negatives=[Path("mined.jsonl")])
    with pytest.raises(InputError, match=r"mined.jsonl would not count") as caught:
        check_negatives(METHODS["star"](), given)
    assert "--mined 0" in str(caught.value.hint)
    check_negatives(METHODS["star"](mined=0), given)
    check_negatives(METHODS["star"](), DataSettings())


def test_one_query_alone_has_something_to_learn_from() -> None:
    """At least a negative."""
    with pytest.raises(InputError, match="nothing to learn from"):
        METHODS["dense"](batch=1, negatives_per_query=0)


def test_adore_is_judged_on_documents_of_its_index(task: Task, tmp_path: Path) -> None:
    """On dev data of another collection every score would be 0."""
    other = make_collection(tmp_path / "other")
    for path in (other / "corpus.jsonl", *(other / "qrels").glob("*.tsv")):
        path.write_text(path.read_text().replace('"d', '"other').replace("\td", "\tother"))
    data, sets = read_data([task.collection], DataSettings(dev="test", dev_data=[other]), 0)
    with pytest.raises(InputError, match="no document of dev data 'other'"):
        learn(
            "adore", str(task.model), data, sets, METHODS["adore"](), OPTIMISING, tmp_path / "o", corpus=task.collection
        )


def test_a_new_beginning_of_adore_has_a_new_index(task: Task, tmp_path: Path) -> None:
    """The one that an earlier run built may be of another model."""
    other = replace(task, model=make_dense(tmp_path / "model", seed=1))
    go("adore", task, tmp_path / "out", steps=1)
    with pytest.raises(InputError, match="another model"):
        go("adore", other, tmp_path / "out", steps=1)
    assert go("adore", other, tmp_path / "out", steps=1, restart=True).steps == 1


def test_a_ranker_has_one_label_or_two_or_gets_a_head(task: Task, bare: Path, tmp_path: Path) -> None:
    """Three are an error; an encoder without a head gets one."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    config = BertConfig.from_pretrained(bare, num_labels=3)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "three")
    BertTokenizer.from_pretrained(bare).save_pretrained(tmp_path / "three")
    with pytest.raises(ModelError, match="tells 3 labels apart"):
        go("ar2", replace(task, ranker=tmp_path / "three"), tmp_path / "out")
    assert go("rocketqa", replace(task, ranker=task.model), tmp_path / "out", steps=1).steps == 1


def test_a_run_goes_on_only_with_what_it_began_with(task: Task, tmp_path: Path) -> None:
    """Settings, data, model, ranker: what differs is named."""
    from tests.training.training import undone

    out = tmp_path / "out"
    go("rocketqa", task, out)
    undone(out)
    collection = make_collection(tmp_path / "data", seed=1)
    other = make_dense(tmp_path / "model", seed=1)
    CrossEncoder.from_encoder(str(task.model), seed=1).save(tmp_path / "ranker")
    changed: list[tuple[str, Task, dict[str, Any]]] = [
        ("kl_weight was 1.0 and is 0.5", task, {"kl_weight": 0.5}),
        ("clip was 1.0 and is 2.0", task, {"clip": 2.0}),
        ("data was 'sha256:", replace(task, collection=collection), {}),
        ("document_model was 'sha256:", replace(task, model=other), {}),
        ("ranker_model was 'sha256:", replace(task, ranker=tmp_path / "ranker"), {}),
    ]
    for said, given, changes in changed:
        with pytest.raises(TrainingError, match=said) as caught:
            go("rocketqa", given, out, **changes)
        assert "--restart" in str(caught.value.hint)
    with pytest.raises(TrainingError, match="method was 'RocketQaRecipe' and is 'PairRecipe'"):
        go("pair", task, out)
    assert go("rocketqa", task, out, log_every=3).steps == 5


def test_adore_goes_on_only_on_its_index(task: Task, collection: Path, tmp_path: Path) -> None:
    """Another of the same model holds other documents."""
    import retrieval
    from tests.training.training import undone

    for name in ("one", "other"):
        documents = collection if name == "one" else make_collection(tmp_path / "data", documents=30)
        retrieval.Index.build(documents, tmp_path / name, lexical=False, dense=str(task.model), device="cpu")
    out = tmp_path / "out"
    go("adore", replace(task, index=tmp_path / "one"), out, steps=3)
    undone(out)
    with pytest.raises(TrainingError, match="index was"):
        go("adore", replace(task, index=tmp_path / "other"), out, steps=3)


def test_a_run_goes_on_only_with_its_dev_data(task: Task, tmp_path: Path) -> None:
    """Scores of others cannot be compared with its best."""
    from tests.training.training import undone

    def run(queries: int) -> None:
        data, sets = read_data([task.collection], DataSettings(dev="test"), 0)
        sets = [replace(dev, queries=dev.queries[:queries]) for dev in sets]
        made = METHODS["dense"](batch=4)
        learn("dense", str(task.model), data, sets, made, replace(OPTIMISING, steps=2), tmp_path / "out")

    run(20)
    undone(tmp_path / "out")
    with pytest.raises(TrainingError, match="dev was"):
        run(10)


def test_a_teacher_has_learned(task: Task, tmp_path: Path) -> None:
    """An encoder without a head would get a new one, which knows nothing."""
    with pytest.raises(ModelError, match="is no cross-encoder"):
        go("tas-b", replace(task, ranker=task.model), tmp_path)


@pytest.mark.parametrize("case", ["ar2", "rocketqa"])
def test_a_new_head_does_not_teach_before_it_has_learned(task: Task, tmp_path: Path, case: str) -> None:
    """Of a ranker that is a plain encoder; the warm-up is named."""
    with pytest.raises(InputError, match="knows nothing") as caught:
        go(case, replace(task, ranker=task.model), tmp_path, ranker_warmup=0)
    assert "--ranker-warmup" in str(caught.value.hint)


def test_adore_passes_over_positives_that_its_index_lacks(task: Task, collection: Path, tmp_path: Path) -> None:
    """An index may be of a part of the corpus."""
    import retrieval

    lines = (collection / "corpus.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "part.jsonl").write_text("".join(lines[:30]))
    retrieval.Index.build(
        tmp_path / "part.jsonl", tmp_path / "index", lexical=False, dense=str(task.model), device="cpu"
    )
    assert go("adore", replace(task, index=tmp_path / "index"), tmp_path / "out", steps=2).steps == 2

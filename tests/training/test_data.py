"""Training data is read from every kind of source, and what may not train is left out and named."""

import json
from pathlib import Path

import pytest

from retrieval.errors import CollectionError, CorpusError, InputError
from retrieval.training.data import Sources, TrainingData, read_training_data
from retrieval.training.negatives import Teacher

CORPUS = [("a", "Title", "one"), ("b", "", "two"), ("c", "", "three"), ("d", "", "four")]
QUERIES = {"q1": "first", "q2": "second", "t1": "tested", "q3": "Tested "}


def folder(path: Path, train: str, test: str = "t1\ta\t1\n") -> Path:
    (path / "qrels").mkdir(parents=True)
    records = [{"_id": id_, "title": title, "text": text} for id_, title, text in CORPUS]
    queries = [{"_id": id_, "text": text} for id_, text in QUERIES.items()]
    (path / "corpus.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (path / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    for split, lines in (("train", train), ("test", test)):
        (path / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    return path


def run(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line} tag\n" for line in lines))
    return path


def by_text(data: TrainingData, number: int = 0) -> tuple[list[str], list[str]]:
    """Positives and negatives of an example, as texts."""
    example = data.examples[number]
    return [data.texts[row] for row in example.positives], [data.texts[row] for row in example.negatives]


def test_a_folder_gives_positives_and_the_runs_give_negatives(tmp_path: Path) -> None:
    """Judged irrelevant ones first, then the runs' hits rank by rank, never one that is relevant, never unknown."""
    source = folder(tmp_path / "data", "q1\ta\t2\nq1\td\t0\nq2\tb\t1\n")
    first = run(tmp_path / "1.trec", "q1 Q0 a 1 9", "q1 Q0 b 2 8", "q1 Q0 zzz 3 7")
    second = run(tmp_path / "2.trec", "q1 Q0 c 1 9", "q1 Q0 b 2 8")
    data = read_training_data(Sources(data=[source], negatives=[first, second]))
    assert [example.id for example in data.examples] == ["q1", "q2"]
    assert by_text(data) == (["Title one"], ["four", "three", "two"])
    assert by_text(data, 1) == (["two"], [])
    shallow = read_training_data(Sources(data=[source], negatives=[first, second], depth=1))
    assert by_text(shallow) == (["Title one"], ["four", "three"])


def test_the_teacher_is_the_mean_of_rescaled_runs(tmp_path: Path) -> None:
    """Each list from 0 to 1; one that lacks a document gives it 0; of one hit it has 1; of other queries none."""
    first = run(tmp_path / "1.trec", "q1 Q0 a 1 30", "q1 Q0 b 2 20", "q1 Q0 c 3 10")
    second = run(tmp_path / "2.trec", "q1 Q0 c 1 5")
    assert Teacher([first, second]).scores("q1") == {"a": 0.5, "b": 0.25, "c": 0.5}
    assert Teacher([first]).scores("unknown") == {}
    other = run(tmp_path / "3.trec", "q2 Q0 a 1 2")
    assert Teacher([first, other]).scores("q1") == Teacher([first]).scores("q1")
    source = folder(tmp_path / "data", "q1\ta\t1\n")
    data = read_training_data(Sources(data=[source], teacher=[first, second]))
    scores = {data.texts[row]: score for row, score in data.examples[0].scores.items()}
    assert scores == {"Title one": 0.5, "two": 0.25, "three": 0.5}


def test_positives_may_be_those_that_a_run_has_found(tmp_path: Path) -> None:
    """Within its depth; the others are neither positives nor negatives, and a query of none has nothing to learn."""
    source = folder(tmp_path / "data", "q1\ta\t1\nq1\tb\t1\nq2\tb\t1\n")
    hits = run(tmp_path / "1.trec", "q1 Q0 a 1 3", "q1 Q0 c 2 2", "q1 Q0 b 3 1", "q2 Q0 c 1 1")
    data = read_training_data(Sources(data=[source], negatives=[hits], depth=2, found_positives=True))
    (example,) = data.examples
    told = [[data.ids[row] for row in rows] for rows in (example.positives, example.negatives, example.neither)]
    assert told == [["a"], ["c"], ["b"]]
    assert data.notes == ["1 training query has no positive, and is left out: q2"]
    deeper = read_training_data(Sources(data=[source], negatives=[hits], found_positives=True))
    assert [deeper.ids[row] for row in deeper.examples[0].positives] == ["a", "b"]


def test_queries_of_other_splits_never_train(tmp_path: Path) -> None:
    """By id and by text, whatever its case; those held out are left out without a word, as the caller knows them."""
    source = folder(tmp_path / "data", "q1\ta\t1\nt1\tb\t1\nq3\tb\t1\nq2\tb\t1\n")
    data = read_training_data(Sources(data=[source], held_out=frozenset({"q2"})))
    assert [example.id for example in data.examples] == ["q1"]
    assert data.notes == ["2 training queries stand in another split as well, and are left out: t1, q3"]


def test_what_does_not_fit_is_noted(tmp_path: Path) -> None:
    """Judged documents that the corpus lacks, queries without a positive, and judged queries that are not there."""
    source = folder(tmp_path / "data", "q1\ta\t1\nq1\tzzz\t1\nq2\tb\t0\nnone\tb\t1\n")
    data = read_training_data(Sources(data=[source]))
    assert [example.id for example in data.examples] == ["q1"]
    assert len(data.notes) == 3
    assert "judged query not in the queries file: none" in data.notes[0]
    assert data.notes[1] == "data: judged documents that the corpus lacks: 1"
    assert data.notes[2] == "1 training query has no positive, and is left out: q2"


def test_nothing_to_train_on_is_an_error_with_the_reason(tmp_path: Path) -> None:
    """So is a run of other queries."""
    source = folder(tmp_path / "data", "q2\tb\t0\n")
    with pytest.raises(CollectionError, match="nothing to train on") as caught:
        read_training_data(Sources(data=[source]))
    assert "no positive" in str(caught.value.hint)
    other = folder(tmp_path / "other", "q1\ta\t1\n")
    strange = run(tmp_path / "strange.trec", "x Q0 a 1 1")
    for name in ("negatives", "teacher"):
        with pytest.raises(CollectionError, match=r"strange.trec: holds no"):
            read_training_data(Sources(data=[other], **{name: [strange]}))


def test_jsonl_holds_texts_and_scores(tmp_path: Path) -> None:
    """A text that is positive is not negative; equal texts are one document."""
    path = tmp_path / "mined.jsonl"
    records = [
        {"query": "q", "pos": ["x"], "neg": ["y", "x", "y"], "pos_scores": [3], "neg_scores": [1, 3, 1.0]},
        {"query": "r", "query_id": 7, "pos": ["y"]},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    data = read_training_data(Sources(data=[path]))
    assert data.texts == ["x", "y"]
    assert by_text(data) == (["x"], ["y"])
    assert data.examples[0].scores == {0: 3.0, 1: 1.0}
    assert (data.examples[1].id, by_text(data, 1)) == ("7", (["y"], []))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"pos": ["x"]}, "no query"),
        ({"query": "q", "pos": "x"}, "pos must be a list of texts"),
        ({"query": "q", "pos": ["x"], "neg": [3]}, "neg must be a list of texts"),
        ({"query": "q", "pos": ["x"], "pos_scores": [1, 2]}, "pos_scores must be 1 numbers"),
        ({"query": "q", "pos": ["x"], "pos_scores": ["high"]}, "pos_scores must be 1 numbers"),
        ({"query": "q", "pos": ["x"], "pos_scores": 3}, "pos_scores must be 1 numbers"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_with_its_line(
    tmp_path: Path, record: dict[str, object], reason: str
) -> None:
    """And with what is wrong."""
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"query": "q", "pos": ["x"]}) + "\n" + json.dumps(record) + "\n")
    with pytest.raises(CorpusError, match=f"bad.jsonl:2: {reason}"):
        read_training_data(Sources(data=[path]))


def test_triples(tmp_path: Path) -> None:
    """Lines of one query are one example; a line of another form is an error with its number."""
    path = tmp_path / "triples.tsv"
    path.write_text("q\tx\ty\nq\tz\ty\nr\ty\tx\n")
    data = read_training_data(Sources(data=[path]))
    assert [by_text(data, number) for number in (0, 1)] == [(["x", "z"], ["y"]), (["y"], ["x"])]
    path.write_text("q\tx\ty\nq\tx\n")
    with pytest.raises(CorpusError, match=r"triples.tsv:2: expected query, positive and negative"):
        read_training_data(Sources(data=[path]))


@pytest.mark.parametrize(
    "header", ["query\tpositive\tnegative", "Anchor\tpos\tneg", '#"queries"\t"positive_passages"\tneg_doc']
)
def test_a_header_of_triples_is_no_triple(tmp_path: Path, header: str) -> None:
    """It stands in the first line, and there alone."""
    path = tmp_path / "triples.tsv"
    path.write_text(f"{header}\nq\tx\ty\nquery\tz\tnegative\n")
    data = read_training_data(Sources(data=[path]))
    assert [example.id for example in data.examples] == ["q", "query"]


@pytest.mark.parametrize("other", ["", "gone\ta\t1\n"])
def test_another_split_that_judges_no_query_holds_none_out(tmp_path: Path, other: str) -> None:
    """Whether it is empty or of queries that there are none of."""
    data = read_training_data(Sources(data=[folder(tmp_path / "data", "q1\ta\t1\n", test=other)]))
    assert [example.id for example in data.examples] == ["q1"]


def test_files_of_other_systems_are_read_as_ours(tmp_path: Path) -> None:
    """With a byte order mark, and lines that end as Windows has them; in runs and judgements as well."""
    folder(tmp_path / "plain", "q1\ta\t1\nq2\tb\t1\n")
    (tmp_path / "plain.tsv").write_text("q\tx\ty\nr\ty\tx\n")
    (tmp_path / "plain.jsonl").write_text('{"query": "s", "pos": ["x"], "neg": ["z"]}\n')
    run(tmp_path / "plain.trec", "q1 Q0 c 1 9", "q1 Q0 b 2 8")
    other = folder(tmp_path / "other", "q1\ta\t1\nq2\tb\t1\n")
    for path in [*tmp_path.glob("plain.*"), *other.rglob("*.*")]:
        content = path.read_bytes().replace(b"\n", b"\r\n")
        path.with_stem(path.stem.replace("plain", "other")).write_bytes(b"\xef\xbb\xbf" + content)

    def read(name: str) -> TrainingData:
        data = [tmp_path / name, *(tmp_path / f"{name}.{kind}" for kind in ("tsv", "jsonl"))]
        return read_training_data(Sources(data=data, negatives=[tmp_path / f"{name}.trec"]))

    assert read("other") == read("plain")


def test_another_kind_of_file_is_an_error(tmp_path: Path) -> None:
    """With the kinds there are."""
    (tmp_path / "data.txt").write_text("")
    with pytest.raises(InputError, match=r"a BEIR folder, a \.jsonl or a \.tsv"):
        read_training_data(Sources(data=[tmp_path / "data.txt"]))


def test_the_fingerprint_tells_data_apart(tmp_path: Path) -> None:
    """Another text, another negative or another score is another data set; the same is the same."""
    source = folder(tmp_path / "data", "q1\ta\t1\n")
    hits = run(tmp_path / "1.trec", "q1 Q0 b 1 9", "q1 Q0 c 2 8")
    variants = [{}, {"negatives": [hits]}, {"negatives": [hits], "depth": 1}, {"teacher": [hits]}]
    prints = [read_training_data(Sources(data=[source], **variant)).fingerprint() for variant in variants]
    assert len(set(prints)) == len(variants)
    assert read_training_data(Sources(data=[source])).fingerprint() == prints[0]


def test_held_out_texts_never_train_wherever_they_stand(tmp_path: Path) -> None:
    """Dev queries that another file, or another id, asks again."""
    triples = tmp_path / "triples.tsv"
    triples.write_text("First\tone\ttwo\nother\ttwo\tone\n")
    data = read_training_data(Sources(data=[triples], held_texts=frozenset({"first "})))
    assert [example.query for example in data.examples] == ["other"]


def test_what_is_relevant_to_one_query_is_so_to_all_of_its_text(tmp_path: Path) -> None:
    """And a negative of none of them."""
    path = tmp_path / "twice.jsonl"
    records = [{"query": "q", "pos": ["x"], "neg": ["y", "z"]}, {"query": "Q", "pos": ["y"], "neg": ["x"]}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    data = read_training_data(Sources(data=[path]))
    assert [by_text(data, number) for number in (0, 1)] == [(["x", "y"], ["z"]), (["x", "y"], [])]


def test_what_has_no_text_plays_no_part(tmp_path: Path) -> None:
    """Neither a document nor a query; both are noted."""
    source = folder(tmp_path / "data", "q1\ta\t1\nq1\tb\t1\nq2\tb\t1\n")
    for name in ("corpus", "queries"):
        path = source / f"{name}.jsonl"
        path.write_text(path.read_text().replace('"two"', '" "').replace('"second"', '" "'))
    data = read_training_data(Sources(data=[source]))
    assert data.texts == ["Title one", "three", "four"]
    assert [by_text(data, number) for number in range(len(data.examples))] == [(["Title one"], [])]
    assert "data: documents without a text, which play no part: 1" in data.notes
    assert "1 training query has no text, and is left out: q2" in data.notes


def test_the_document_with_the_querys_id_is_no_negative(tmp_path: Path) -> None:
    """Nor is one that a cross-encoder takes for relevant, where it is not learned from."""
    source = folder(tmp_path / "data", "c\ta\t1\n")
    (source / "queries.jsonl").write_text(json.dumps({"_id": "c", "text": "asked"}) + "\n")
    (source / "qrels" / "test.tsv").unlink()
    line = {"query_id": "c", "negatives": [{"id": "c"}, {"id": "b"}], "positives": [{"id": "d"}]}
    (tmp_path / "mined.jsonl").write_text(json.dumps(line) + "\n")
    hits = run(tmp_path / "run.trec", "c Q0 d 1 9", "c Q0 c 2 8", "c Q0 b 3 7")
    negatives = [tmp_path / "mined.jsonl", hits]
    data = read_training_data(Sources(data=[source], negatives=negatives))
    assert by_text(data) == (["Title one"], ["two"])
    assert [data.texts[row] for row in data.examples[0].neither] == ["three", "four"]
    learned = read_training_data(Sources(data=[source], negatives=negatives, pseudo_positives=True))
    assert by_text(learned) == (["Title one", "four"], ["two"])


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl", "folder"])
def test_a_source_that_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    """Of every kind."""
    with pytest.raises(InputError, match=f"{name}: no such file or folder"):
        read_training_data(Sources(data=[tmp_path / name]))

"""Mined files are read as they were meant, and what is wrong with one is said with its line."""

import json
from pathlib import Path

import pytest

from retrieval.errors import CollectionError
from retrieval.training.data import Sources, read_training_data
from retrieval.training.negatives import Mined, read_mined, read_negatives

LINE = {
    "query_id": "q1",
    "negatives": [{"id": "b", "source": "dense", "rank": 3, "score": 0.5, "weight": 0.25}, {"id": "c"}],
    "positives": [{"id": "d", "source": "dense", "score": 0.97}],
}


def mined_file(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_a_mined_file_is_read_with_weights_and_pseudo_positives(tmp_path: Path) -> None:
    """Fields that are absent have their usual values, and blank lines are nothing."""
    path = mined_file(tmp_path / "negatives.jsonl", LINE, "", {"query_id": "q2", "negatives": []})
    found = {query: lists.negatives for query, lists in read_negatives(path, 10).items()}
    assert found == {"q1": [Mined("b", 0.25, "dense", 3, 0.5), Mined("c")], "q2": []}
    assert [mined.id for mined in read_negatives(path, 1)["q1"].negatives] == ["b"]
    assert read_mined(path)["q1"].positives == [Mined("d", 1.0, "dense", 0, 0.97)]


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    """As some editors leave one; nor are ends of lines of two characters."""
    path = mined_file(tmp_path / "negatives.jsonl", LINE)
    plain = read_mined(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_mined(path) == plain


def test_any_other_name_is_a_run(tmp_path: Path) -> None:
    """Its hits by score, each with its rank, its score and weight 1."""
    path = tmp_path / "bm25.trec"
    path.write_text("q1 Q0 a 1 1.5 tag\nq1 Q0 b 2 2.5 tag\nq2 Q0 a 1 1 tag\n")
    found = {query: lists.negatives for query, lists in read_negatives(path, 1).items()}
    assert found == {"q1": [Mined("b", 1.0, "bm25", 1, 2.5)], "q2": [Mined("a", 1.0, "bm25", 1, 1.0)]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "'query_id'"),
        ({"negatives": []}, "'query_id'"),
        ({"query_id": 7}, "'query_id'"),
        (LINE, "query q1 stands in the file already"),
        ({"query_id": "q", "negatives": {"id": "b"}}, "negatives must be a list of objects"),
        ({"query_id": "q", "negatives": [{"source": "dense"}]}, r"negatives\[0\]: no id"),
        ({"query_id": "q", "negatives": [{"id": "a"}, {"id": 3}]}, r"negatives\[1\]: no id"),
        ({"query_id": "q", "negatives": [{"id": "a", "weight": -1}]}, "the weight must be a number of at least 0"),
        ({"query_id": "q", "negatives": [{"id": "a", "weight": "1"}]}, "the weight must be a number of at least 0"),
        ({"query_id": "q", "negatives": [{"id": "a", "rank": "1"}]}, "the rank a whole number"),
        ({"query_id": "q", "negatives": [{"id": "a", "score": "1"}]}, "the score must be a number"),
        ({"query_id": "q", "negatives": [{"id": "a"}, {"id": "a"}]}, "a document stands in negatives twice"),
        ({"query_id": "q", "negatives": [{"id": "a"}], "positives": [{"id": "a"}]}, "a negative and a positive"),
    ],
)
def test_a_wrong_line_is_named(line: object, said: str, tmp_path: Path) -> None:
    """With the file and the line."""
    path = mined_file(tmp_path / "negatives.jsonl", LINE, line)
    with pytest.raises(CollectionError, match=rf"negatives\.jsonl:2: .*{said}"):
        read_mined(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Under either name."""
    for name in ("none.jsonl", "none.trec"):
        with pytest.raises(CollectionError, match=f"{name}: cannot be read"):
            read_negatives(tmp_path / name, 10)


def test_mined_negatives_train_beside_those_of_runs(tmp_path: Path) -> None:
    """Rank by rank, as those of two runs do; but for what a mined file takes for relevant."""
    (tmp_path / "qrels").mkdir()
    corpus = [{"_id": name, "text": f"text of {name}"} for name in "abcde"]
    mined_file(tmp_path / "corpus.jsonl", *corpus)
    mined_file(tmp_path / "queries.jsonl", {"_id": "q1", "text": "first"})
    (tmp_path / "qrels" / "train.tsv").write_text("q1\ta\t1\n")
    path = mined_file(tmp_path / "negatives.jsonl", LINE)
    run = tmp_path / "run.trec"
    run.write_text("q1 Q0 e 1 2 tag\nq1 Q0 d 2 1 tag\n")
    data = read_training_data(Sources(data=[tmp_path], negatives=[path, run]))
    assert [data.texts[row] for row in data.examples[0].negatives] == ["text of b", "text of e", "text of c"]

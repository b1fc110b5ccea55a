"""What Lucene's engine does with odd texts and queries, with changes, with damage, and on the command line."""

import asyncio
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import ArtifactDamagedError, InputError
from retrieval.index.lucene.options import LuceneOptions
from retrieval.indexing import Index
from retrieval.pipeline import Retriever
from retrieval.types import Document
from tests.index.changing import ToyEncoder, document
from tests.index.lucene import reference
from tests.index.test_contract import assert_same

pytestmark = reference.needs_lucene

WORDS = ("wind", "storm", "plasma", "oxygen")

ODD = (
    *("", "   ", "the and of", "AND (", 'wind^2 OR "', "wind*", "w?nd~", "contents:wind", "[a TO b]", "+-&&||!{}\\/"),
    *("\U0001f600", "a", "wind \U0001f600 wind", "x\0y", "\ud800", "日本語", "naïve", "ﬁne", "n" * 1000),
)


def build(texts: list[str], path: Path, **options: object) -> Index:
    """An index of texts by Lucene."""
    documents = [Document(id=f"d{i}", text=text) for i, text in enumerate(texts)]
    return Index.build(documents, path, lexical=LuceneOptions(), overwrite=True, **options)


def found(index: Index, query: str, k: int = 100) -> list[int]:
    """The ordinals of a query's hits."""
    return index.lexical.search([query], k).row(0)[0].tolist()


@given(
    lengths=st.lists(st.integers(0, 5000), min_size=1, max_size=6),
    query=st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join),
    k1=st.sampled_from([0.0, 0.9, 1.5]),
    b=st.sampled_from([0.0, 0.4, 1.0]),
)
@settings(max_examples=30)
def test_scores_are_those_of_lucenes_formula(
    lengths: list[int], query: str, k1: float, b: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """To the bit, with lengths of which a byte is kept."""
    texts = [" ".join(WORDS[(place * place + i) % 4] for place in range(n)) for i, n in enumerate(lengths)]
    options = LuceneOptions(k1=k1, b=b)
    documents = [Document(id=f"d{i}", text=text) for i, text in enumerate(texts)]
    index = Index.build(documents, tmp_path_factory.mktemp("lucene") / "index", lexical=options)
    assert_same(index.lexical.search([query], 10), reference.search(texts, [query], 10, options))


def test_no_query_is_an_expression(tmp_path: Path) -> None:
    """What is syntax elsewhere finds what its words find, and whatever can be typed is searched for."""
    index = build(["wind", "storm", "to b", *(text for text in ODD if "\ud800" not in text)], tmp_path / "index")
    assert found(index, "AND ( wind OR +") == found(index, "wind")
    assert found(index, "wind^9 storm") == found(index, "wind storm")
    for query in ODD:
        found(index, query)
    assert found(index, "the and of") == found(index, "") == found(index, " \n") == []
    assert all(found(index, query) for query in ("日本", "naïve", "\U0001f600", "b"))
    assert found(index, "\ud800 storm") == found(index, "storm")
    assert [one.text for one in index.documents] == ["wind", "storm", "to b", *(t for t in ODD if t != "\ud800")]
    assert index.problems() == []


def test_repeated_words_count_and_long_queries_work(tmp_path: Path) -> None:
    """Five thousand different words are a query."""
    index = build(["wind storm", " ".join(f"word{i}" for i in range(5000))], tmp_path / "index")
    assert found(index, " ".join(f"word{i}" for i in range(5000))) == [1]
    once, twice = (index.lexical.search([query], 1).row(0)[1][0] for query in ("wind", "wind wind"))
    assert twice == 2 * once


def test_an_index_of_nothing(tmp_path: Path) -> None:
    """Neither without documents nor without words is anything found."""
    for texts in ([], ["", ""], ["the"]):
        index = build(texts, tmp_path / "index")
        assert (found(index, "wind the"), index.lexical.n_terms, index.lexical.n_postings) == ([], 0, 0)
        assert index.problems() == []


def test_texts_must_be_kept(tmp_path: Path) -> None:
    """They are analysed again after each change."""
    with pytest.raises(InputError, match="stored texts"):
        build(["wind"], tmp_path / "index", store_text=False)
    assert not (tmp_path / "index").exists()


def test_filters_are_exact_few_or_many(tmp_path: Path) -> None:
    """Also between deleted documents, which Lucene does not hold."""
    texts = [" ".join(["wind"] * (1 + i % 7)) for i in range(60)]
    index = build(texts, tmp_path / "index").delete([f"d{i}" for i in range(0, 25)])
    assert index.manifest.deleted == 25
    everything = found(index, "wind")
    assert sorted(everything) == list(range(25, 60))
    for size in (0, 1, 5, 30, 34, 35):
        allowed = np.zeros(60, dtype=bool)
        allowed[np.random.default_rng(size).permutation(np.arange(25, 60))[:size]] = True
        hits = index.lexical.search(["wind", "storm"], 10, 2, allowed)
        assert hits.row(0)[0].tolist() == [one for one in everything if allowed[one]][:10]
        assert hits.counts[1] == 0


@pytest.mark.parametrize("when", ["before it is opened", "before the first search"])
def test_an_altered_byte_is_an_error(when: str, tmp_path: Path) -> None:
    """It names the file; one that was read when the index was opened still answers."""
    built = build(["wind storm"] * 50, tmp_path / "index")
    files = [path for path in sorted((tmp_path / "index").glob("generation-*/lucene/*")) if path.stat().st_size]
    assert {path.suffix for path in files} == {".cfe", ".cfs", ".si", ""}
    for number, path in enumerate(files):
        content = path.read_bytes()
        index = Index.open(built.path)
        place = len(content) // (number + 2)
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        if when == "before it is opened":
            with pytest.raises(ArtifactDamagedError, match=path.name):
                found(Index.open(built.path), "wind")
        else:
            assert found(index, "wind") == list(range(50))
        assert index.problems()
        path.write_bytes(content)
    assert built.problems() == []


def test_a_file_that_is_cut_under_a_reader_is_an_error(tmp_path: Path) -> None:
    """Java would read zeros behind its end."""
    index = build(["wind storm"] * 50, tmp_path / "index")
    assert found(index, "wind")
    path = next(index.path.glob("generation-*/lucene/*.cfs"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactDamagedError, match="has been cut"):
        found(index, "wind")


def test_files_that_are_not_ours_are_not_read(tmp_path: Path) -> None:
    """Such as what another program of Lucene's leaves there."""
    index = build(["wind"], tmp_path / "index")
    folder = next(index.path.glob("generation-*/lucene"))
    (folder / "write.lock").touch()
    shutil.copy(folder / "segments_1", folder / "segments_2")
    assert found(index, "wind") == [0]
    assert index.problems() == []


@pytest.mark.parametrize("asked", [True, False])
def test_a_reader_keeps_what_it_opened(asked: bool, tmp_path: Path) -> None:
    """Whether or not it had searched before a writer removed the files, or all was built again."""
    index = build(["wind", "storm wind"], tmp_path / "index")
    other = Index.open(index.path)
    if asked:
        assert found(index, "wind") == found(other, "wind") == [0, 1]
    changed = index.add([Document(id="new", text="wind wind")])
    assert not (index.path / "generation-1").exists()
    assert (found(index, "wind"), found(changed, "wind")) == ([0, 1], [2, 0, 1])
    assert index.problems() == []
    shutil.rmtree(index.path)
    build(["plasma"], index.path)
    assert found(other, "wind") == [0, 1]


def test_another_process_opens_it_for_itself(tmp_path: Path) -> None:
    """From a pickle."""
    index = build(["storm", "wind"], tmp_path / "index")
    (tmp_path / "pickle").write_bytes(pickle.dumps(Retriever(index, threads=1).index))
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).lexical.search(['wind'], 5).row(0)[0])"
    with (tmp_path / "pickle").open("rb") as file:
        done = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, text=True, check=True)
    assert done.stdout == "[1]\n"


def test_threads_come_and_go(tmp_path: Path) -> None:
    """Java forgets them."""
    index = build(["wind"], tmp_path / "index")
    answers: list[list[int]] = []
    for _ in range(50):
        thread = threading.Thread(target=lambda: answers.append(found(index, "wind")))
        thread.start()
        thread.join()
    assert answers == [[0]] * 50
    assert [hit.id for hit in asyncio.run(Retriever(index).asearch("wind"))] == ["d0"]


def test_hybrid_explains_and_chunks(tmp_path: Path) -> None:
    """Lucene's list is fused with the dense one as the native engine's is."""
    encoder = ToyEncoder()
    index = Index.build([document(i, i) for i in range(30)], tmp_path / "i", lexical=LuceneOptions(), dense=encoder)
    retriever = Retriever(index, encoder=encoder)
    hits = retriever.search("wind storm", filter={"year": {"$gte": 1}})
    alone = Retriever(index, using="lexical").search("wind storm", 30, filter={"year": {"$gte": 1}})
    assert hits
    for hit in hits:
        same = [one for one in alone if one.id == hit.id]
        assert [one.rank for one in same] == ([hit.signals["lexical"].rank] if "lexical" in hit.signals else [])
    assert retriever.settings["lexical"]["engine"] == "lucene"

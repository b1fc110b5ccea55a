"""Synthetic collections: the same from the same settings, of the length asked for, with a vocabulary that grows."""

from pathlib import Path

import numpy as np
import orjson
import pytest
from synthetic import Growth, Resampler, Source, fit_growth, key_of, make, word_of

SYLLABLES = [one + other for one in "bcdfghlmnprst" for other in "aeiou"]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 documents of some 40 words drawn from a Zipf law, in sentences, and 50 queries."""
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("real")
    ranks = np.minimum(10 * (rng.random((2000, 40)) ** -0.7 - 1), 1e9).astype(int)
    with (folder / "corpus.jsonl").open("wb") as file:
        for number, row in enumerate(ranks.tolist()):
            words = [spelled(rank) + ("." if place % 10 == 9 else "") for place, rank in enumerate(row)]
            text = " ".join(words[: 20 + number % 21])
            file.write(orjson.dumps({"_id": str(number), "title": 'Of "signs"', "text": text}) + b"\n")
    with (folder / "queries.jsonl").open("wb") as file:
        for number, row in enumerate(ranks[:50].tolist()):
            file.write(
                orjson.dumps({"_id": str(number), "text": " ".join(map(spelled, row[: 1 + number % 9]))}) + b"\n"
            )
    return folder


def spelled(rank: int) -> str:
    """A word for a number."""
    word = ""
    while rank or not word:
        rank, digit = divmod(rank, len(SYLLABLES))
        word += SYLLABLES[digit]
    return f"k{word}k"


def records(path: Path) -> list[dict[str, str]]:
    """Of a JSONL file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_the_same_settings_give_the_same_collection(collection: Path, tmp_path: Path) -> None:
    """Byte for byte; another seed gives another one, and one that is there is not made again."""
    one, same, other = (
        make(tmp_path / name, 300, [collection], seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    for name in ("corpus.jsonl", "queries.jsonl"):
        assert (one / name).read_bytes() == (same / name).read_bytes()
    assert (one / "corpus.jsonl").read_bytes() != (other / "corpus.jsonl").read_bytes()
    made = (one / "corpus.jsonl").stat().st_mtime_ns
    assert make(tmp_path / "a", 300, [collection], seed=0) == one
    assert (one / "corpus.jsonl").stat().st_mtime_ns == made
    make(tmp_path / "a", 300, [collection], words=10, seed=0)
    assert (one / "corpus.jsonl").stat().st_mtime_ns != made


def test_documents_have_the_length_asked_for(collection: Path, tmp_path: Path) -> None:
    """On average; ids count up, and what JSON escapes in the real documents is read as it was there."""
    documents = records(make(tmp_path, 2000, [collection], words=56) / "corpus.jsonl")
    assert [document["_id"] for document in documents] == [str(number) for number in range(2000)]
    lengths = [len(document["text"].split()) for document in documents]
    assert np.mean(lengths) == pytest.approx(56, rel=0.03)
    assert min(lengths) < 45
    assert max(lengths) > 65
    assert any('"signs"' in document["text"] for document in documents)


def test_the_vocabulary_grows_as_it_does_in_the_source(collection: Path) -> None:
    """Heaps' law of the source, also far beyond its size, where the source's own words have run out."""
    source = Source.of(document["text"] for document in records(collection / "corpus.jsonl"))
    resampler = Resampler(source, 50, seed=0)
    seen: set[str] = set()
    tokens = 0
    for _ in range(10):
        for text in resampler.texts(4000):
            words = [key_of(orjson.loads(b'"' + text + b'"')) for text in text.split()]
            tokens += len(words)
            seen.update(words)
    assert tokens > 20 * len(source.tokens)
    assert len(seen) > 3 * len(set(source.keys))
    assert len(seen) == pytest.approx(source.growth.words(tokens), rel=0.25)


def test_growth_is_fitted() -> None:
    """A stream in which new words come at the rate of a known law."""
    law = Growth(10, 0.6)
    counts = np.array([law.words(n) for n in range(1, 200_001)]).astype(np.int32)
    fitted = fit_growth(np.maximum.accumulate(counts))
    assert fitted.exponent == pytest.approx(law.exponent, abs=0.02)
    assert fitted.factor == pytest.approx(law.factor, rel=0.2)


def test_no_two_ranks_have_one_word() -> None:
    """Beyond the real rare words, each rank is spelled in its own way, and keeps its spelling when stemmed."""
    import Stemmer

    rare = ["xerox,", "Axes", "running"]
    words = [word_of(rank, rare) for rank in range(20_000)]
    assert words[:3] == rare
    assert len(set(Stemmer.Stemmer("english").stemWords([word.lower() for word in words]))) == len(words)


def test_queries_are_real_and_short(collection: Path, tmp_path: Path) -> None:
    """Of two to seven terms."""
    real = {record["text"] for record in records(collection / "queries.jsonl")}
    made = [record["text"] for record in records(make(tmp_path, 10, [collection]) / "queries.jsonl")]
    assert made
    assert set(made) <= real
    assert {len(text.split()) for text in made} <= set(range(2, 8))

"""Collections of any size made of real documents, for measuring at sizes that no collection at hand has.

A document is a stretch of a stream of sentences, each drawn from a real document; its length is drawn from the lengths
of the real documents, scaled to a given mean. So words occur together, and as often, as in real text.

But sentences drawn again bring no new words, while the vocabulary of real text grows with its tokens as V = K n^β
(Heaps). K and β are fitted to the real documents, and every token whose word is rare there is replaced: its word is
drawn anew from a Zipf law with exponent 1/β that begins where the frequent words end. Draws from such a law hold
Γ(1 - β) (n q (s - 1))^β r^(1 - β) different words among n tokens, s being the exponent, q the share of replaced tokens
and r the rank at which the law begins; r is set so that this is K n^β. The first ranks are the real rare words, and
those beyond are made up, of a real word's beginning and syllables that spell the rank.
"""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import gamma
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

RARE = 8
"""Occurrences up to which a word of the real documents is rare."""

QUERIES = 1000
QUERY_TERMS = (2, 7)
"""The least and the most terms of a query, stop words aside; MS MARCO's have 3.5 on average."""

_VERSION = 1  # of what is made of the same settings
_AT_ONCE = 20_000  # documents
_LARGEST_RANK = 1 << 40
_NOT_WORD = re.compile(r"\W+")
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*$")
_CONSONANTS, _VOWELS = "bdgkmnprtvz", "aiou"
_SYLLABLES = [one + other for one in _CONSONANTS for other in _VOWELS]
_BEGINNING = 4  # letters


@dataclass(frozen=True)
class Growth:
    """Heaps' law: n tokens hold `factor` n^`exponent` different words."""

    factor: float
    exponent: float

    def words(self, tokens: float) -> float:
        """Different words in so many tokens."""
        return float(self.factor * tokens**self.exponent)


@dataclass(frozen=True)
class Source:
    """Real documents, taken apart.

    Attributes:
        surfaces: every form in which a word occurs, with case and punctuation.
        tokens: (n,) int32, of all documents one after another, as places in `surfaces`.
        keys: (surfaces,) int32, the word of each form: the same for all that differ in case and punctuation only.
        rare: (surfaces,) bool, whether its word is rare.
        sentences: (m + 1,) int64, where sentences begin among the tokens.
        lengths: tokens of each document that has any.
        growth: of the vocabulary.
    """

    surfaces: list[str]
    tokens: NDArray[np.int32]
    keys: NDArray[np.int32]
    rare: NDArray[np.bool_]
    sentences: NDArray[np.int64]
    lengths: NDArray[np.int64]
    growth: Growth

    @classmethod
    def of(cls, texts: Iterable[str], seed: int = 0) -> "Source":
        """Of texts; the vocabulary is counted along them in a random order."""
        split = [words for words in (text.split() for text in texts) if words]
        np.random.default_rng(seed).shuffle(split)  # type: ignore[arg-type]
        surfaces: dict[str, int] = {}
        tokens = np.array([surfaces.setdefault(word, len(surfaces)) for words in split for word in words], np.int32)
        words: dict[str, int] = {}
        keys = np.array([words.setdefault(key_of(surface), len(words)) for surface in surfaces], np.int32)
        lengths = np.array([len(one) for one in split], np.int64)
        ends = np.array([bool(_SENTENCE_END.search(surface)) for surface in surfaces])[tokens]
        ends[np.cumsum(lengths) - 1] = True
        occurrences = np.bincount(keys[tokens], minlength=len(words))
        return cls(
            surfaces=list(surfaces),
            tokens=tokens,
            keys=keys,
            rare=(occurrences <= RARE)[keys],
            sentences=np.concatenate([[0], np.flatnonzero(ends) + 1]).astype(np.int64),
            lengths=lengths,
            growth=fit_growth(keys[tokens]),
        )


def key_of(surface: str) -> str:
    """The word of a form."""
    return _NOT_WORD.sub("", surface).lower()


def fit_growth(words: NDArray[np.int32]) -> Growth:
    """Heaps' law by least squares on logarithms, from a tenth of the tokens to all."""
    first = np.sort(np.unique(words, return_index=True)[1])
    tokens = np.geomspace(max(len(words) // 10, 1), len(words), 20)
    seen = np.searchsorted(first, tokens)
    exponent, logarithm = np.polyfit(np.log(tokens), np.log(seen), 1)
    return Growth(float(np.exp(logarithm)), float(exponent))


class Resampler:
    """Documents without end, of a source's sentences.

    Args:
        source: the real documents.
        words: of a document on average.
        seed: the same gives the same documents.
    """

    def __init__(self, source: Source, words: float, seed: int) -> None:
        self._source = source
        self._rng = np.random.default_rng(seed)
        self._scale = words / source.lengths.mean()
        self._escaped = np.array([_escaped(surface) for surface in source.surfaces], dtype=object)
        firsts = np.unique(source.keys, return_index=True)[1]
        self._rare_words = [source.surfaces[place] for place in firsts if source.rare[place]]
        self._first_rank = self._rank_where_rare_words_begin()

    def _rank_where_rare_words_begin(self) -> float:
        share = float(self._source.rare[self._source.tokens].mean())
        growth = self._source.growth
        steepness = 1 / growth.exponent - 1
        drawn = gamma(1 - growth.exponent) * (share * steepness) ** growth.exponent
        return float((growth.factor / drawn) ** (1 / (1 - growth.exponent)))

    def texts(self, n: int) -> list[bytes]:
        """The next n documents' texts, as they stand between the quotes of JSON."""
        lengths = self._lengths(n)
        forms = self._forms(int(lengths.sum()))
        pieces = self._escaped[forms]
        replaced = np.flatnonzero(self._source.rare[forms])
        pieces[replaced] = self._rare(len(replaced))
        pieces = pieces.tolist()
        ends = np.cumsum(lengths).tolist()
        return [b" ".join(pieces[end - length : end]) for length, end in zip(lengths.tolist(), ends, strict=True)]

    def _lengths(self, n: int) -> NDArray[np.int64]:
        """Of documents; between two numbers the nearer is drawn more often, so that the mean is kept."""
        scaled = self._rng.choice(self._source.lengths, n) * self._scale
        return np.maximum((scaled + self._rng.random(n)).astype(np.int64), 1)

    def _forms(self, tokens: int) -> NDArray[np.int32]:
        """A stretch of the stream of sentences, as places among the source's forms."""
        begins, ends = self._source.sentences[:-1], self._source.sentences[1:]
        mean = len(self._source.tokens) / len(begins)
        places: list[NDArray[np.int64]] = []
        missing = tokens
        while missing > 0:
            drawn = self._rng.integers(len(begins), size=int(missing / mean) + 10)
            sizes = ends[drawn] - begins[drawn]
            offsets = np.cumsum(sizes) - sizes
            places.append(np.repeat(begins[drawn] - offsets, sizes) + np.arange(sizes.sum()))
            missing -= len(places[-1])
        stream: NDArray[np.int32] = self._source.tokens[np.concatenate(places)[:tokens]]
        return stream

    def _rare(self, n: int) -> NDArray[np.object_]:
        """Words drawn from the Zipf law, as bytes of JSON."""
        exponent = self._source.growth.exponent
        drawn = self._first_rank * self._rng.random(n) ** (-exponent / (1 - exponent))
        ranks = (np.minimum(drawn, _LARGEST_RANK) - self._first_rank).astype(np.int64)
        different, places = np.unique(ranks, return_inverse=True)
        spelled = np.empty(len(different), dtype=object)
        spelled[:] = [_escaped(word_of(rank, self._rare_words)) for rank in different.tolist()]
        words: NDArray[np.object_] = spelled[places]
        return words


def word_of(rank: int, rare_words: Sequence[str]) -> str:
    """A real rare word, or one made up for a rank beyond them; no two ranks have words with the same stem."""
    if rank < len(rare_words):
        return rare_words[rank]
    syllables = []
    left = rank
    while left:
        left, digit = divmod(left, len(_SYLLABLES))
        syllables.append(_SYLLABLES[digit])
    beginning = key_of(rare_words[rank % len(rare_words)])[:_BEGINNING] if rare_words else ""
    # The consonant x stands between the two parts and at the end, where no stemmer takes it for a suffix.
    return f"{beginning}x{''.join(syllables)}x"


def _escaped(word: str) -> bytes:
    return orjson.dumps(word)[1:-1]


def make(parent: Path, documents: int, sources: Sequence[Path], *, words: float = 56, seed: int = 0) -> Path:
    """A folder in BEIR's layout, without judgements; one of the same settings that is there already is taken as it is.

    Args:
        parent: where the folder is made.
        documents: how many.
        sources: folders in BEIR's layout whose documents and queries it is made of.
        words: of a document on average.
        seed: of all that is drawn.
    """
    folder = parent / f"synthetic-{documents}"
    settings = {
        "version": _VERSION,
        "documents": documents,
        "sources": [[source.name, (source / "corpus.jsonl").stat().st_size] for source in sources],
        "words": words,
        "seed": seed,
    }
    described = folder / "synthetic.json"
    if described.is_file() and orjson.loads(described.read_bytes())["settings"] == settings:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = Source.of(text for one in sources for text in _texts(one))
    _write_documents(folder / "corpus.jsonl", Resampler(source, words, seed), documents)
    _write_queries(folder / "queries.jsonl", sources, seed)
    growth: dict[str, Any] = asdict(source.growth)
    described.write_bytes(orjson.dumps({"settings": settings, "growth": growth}))  # last: now it is whole
    return folder


def _texts(folder: Path) -> Iterator[str]:
    with (folder / "corpus.jsonl").open("rb") as lines:
        for line in lines:
            record = orjson.loads(line)
            yield f"{record.get('title') or ''} {record['text']}".strip()


def _write_documents(path: Path, resampler: Resampler, documents: int) -> None:
    with path.open("wb", buffering=1 << 22) as file:
        for first in range(0, documents, _AT_ONCE):
            texts = resampler.texts(min(_AT_ONCE, documents - first))
            file.writelines(
                b'{"_id":"%d","title":"","text":"%b"}\n' % (number, text) for number, text in enumerate(texts, first)
            )


def _write_queries(path: Path, sources: Sequence[Path], seed: int) -> None:
    """Real queries of a few terms, in a random order: up to QUERIES of them."""
    from retrieval.index.lexical.analyzer import Analyzer, AnalyzerSettings

    analyzer = Analyzer(AnalyzerSettings.for_language("english"))
    lines = [line for source in sources for line in (source / "queries.jsonl").read_bytes().splitlines()]
    texts = list(dict.fromkeys(orjson.loads(line)["text"] for line in lines))
    least, most = QUERY_TERMS
    kept = [text for text in texts if least <= len(analyzer.terms(text)) <= most]
    order = np.random.default_rng(seed).permutation(len(kept))[:QUERIES]
    records = [orjson.dumps({"_id": str(number), "text": kept[place]}) for number, place in enumerate(order)]
    path.write_bytes(b"\n".join([*records, b""]))

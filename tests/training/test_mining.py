"""What may be a negative: the rules, by hand and as properties."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.errors import InputError, ModelError
from retrieval.training.mining import Asked, Candidate, Found, Miner, MiningSettings, Ranking, Scorer
from retrieval.training.negatives import MinedLists
from retrieval.types import Query

QUERY = Query("q", "the question")

Scores = Sequence[tuple[str, float]]


def texts_of(*ids: str, **given: str) -> dict[str, str]:
    """Texts that repeat each other in nothing, but for those given."""
    return {id_: f"{id_}1 {id_}2 {id_}3 {id_}4" for id_ in ids} | given


def asked(
    grades: Mapping[str, int], *lists: Scores, positives: Mapping[str, float] | None = None, query: Query = QUERY
) -> Asked:
    """A query with the lists of sources `s0`, `s1`, ...; positives have the scores they have there, or those given."""
    rankings = []
    for number, pairs in enumerate(lists):
        hits = [Found(id_, rank, score) for rank, (id_, score) in enumerate(pairs, 1)]
        known = {hit.id: hit.score for hit in hits if grades.get(hit.id, 0) > 0} if positives is None else positives
        rankings.append(Ranking(f"s{number}", hits, known))
    return Asked(query, grades, rankings)


def mined(
    one: Asked, texts: Mapping[str, str] | None = None, scorer: Scorer | None = None, **changes: Any
) -> tuple[MinedLists, dict[str, str], Miner]:
    """The lists of one query, each candidate's outcome by id (of the last source that found it), and the miner."""
    ids = {hit.id for ranking in one.rankings for hit in ranking.hits} | set(one.grades)
    miner = Miner(MiningSettings(**{"sample": "top", **changes}), scorer)
    ((_, lists, candidates),) = miner.mine([one], texts or texts_of(*ids))
    return lists, {candidate.hit.id: candidate.outcome for candidate in candidates}, miner


def kept(lists: MinedLists) -> list[str]:
    return [item.id for item in lists.negatives]


def scorer_of(probabilities: Mapping[str, float]) -> Scorer:
    """A cross-encoder with these probabilities, by the first word of the document's text without its number."""

    def score(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        values = np.array([probabilities[text.split()[0][:-1]] for _, text in pairs])
        return np.log(values / (1 - values)).astype(np.float32)

    return score


def test_ranks_are_those_of_the_list_and_the_range_holds_both_ends() -> None:
    """Relevant documents count as ranks; what is beyond the range is no candidate."""
    lists, outcomes, _ = mined(asked({"b": 1}, [("a", 5), ("b", 4), ("c", 3), ("d", 2), ("e", 1)]), first=2, last=4)
    assert [(item.id, item.rank, item.score, item.source) for item in lists.negatives] == [
        ("c", 3, 3, "s0"),
        ("d", 4, 2, "s0"),
    ]
    assert outcomes == {"b": "positive", "c": "kept", "d": "kept"}


def test_the_relative_margin_by_hand() -> None:
    """Below .95 of 10, the best positive's score, and not at it; a weak second positive changes nothing."""
    hits = [("a", 10.5), ("p", 10.0), ("b", 9.5), ("c", 9.49), ("p2", 1.0), ("d", 0.5)]
    lists, outcomes, _ = mined(asked({"p": 1, "p2": 2}, hits), relative_margin=0.95)
    assert kept(lists) == ["c", "d"]
    assert outcomes["a"] == outcomes["b"] == "margin"


def test_the_absolute_margin_by_hand() -> None:
    """Lower than the best positive by more than the margin; scores may be negative."""
    hits = [("a", -1.0), ("p", -2.0), ("b", -2.5), ("c", -2.6)]
    lists, outcomes, _ = mined(asked({"p": 1}, hits), absolute_margin=0.5)
    assert kept(lists) == ["c"]
    assert outcomes["a"] == outcomes["b"] == "margin"


def test_a_share_of_a_negative_score_is_refused() -> None:
    """And the way out is named."""
    with pytest.raises(InputError, match=r"s0: query q: its best positive has the score -2") as caught:
        mined(asked({"p": 1}, [("a", -1.0), ("p", -2.0)]), relative_margin=0.95)
    assert "--margin-absolute" in str(caught.value.hint)


def test_a_positive_without_a_score_lets_all_pass_and_is_counted() -> None:
    """Only where the source knows no score of any positive."""
    lists, _, miner = mined(asked({"p": 1}, [("a", 3), ("b", 2)]), relative_margin=0.5)
    assert kept(lists) == ["a", "b"]
    assert miner.queries["without positive score"] == 1
    lists, _, miner = mined(asked({"p": 1}, [("a", 3), ("b", 2)], positives={"p": 5.0}), relative_margin=0.5)
    assert kept(lists) == ["b"]
    assert miner.queries["without positive score"] == 0


def test_near_duplicates_of_a_positive_are_left_out() -> None:
    """By trigrams of words without case and punctuation; texts of fewer than three words by words."""
    body = " ".join(f"w{number}" for number in range(40))
    texts = {
        "p": body,
        "short": "Two words",
        "same": body.upper().replace(" ", ", "),
        "near": f"{body} more",
        "far": f"{body} {body[::-1]}",
        "brief": "words two",
        "other": "two others",
    }
    hits = [(id_, 1.0) for id_ in ("same", "near", "far", "brief", "other")]
    lists, outcomes, _ = mined(asked({"p": 1, "short": 1}, hits), texts)
    assert kept(lists) == ["far", "other"]
    assert [outcomes[id_] for id_ in ("same", "near", "brief")] == ["near-duplicate"] * 3
    lists, _, _ = mined(asked({"p": 1, "short": 1}, hits), texts, near_duplicate=1.0)
    assert kept(lists) == ["near", "far", "other"]


def test_documents_judged_not_relevant_pass_every_rule() -> None:
    """They stand first, under the source `judged`, and use up the count."""
    hits = [("a", 9), ("j", 8), ("p", 7), ("b", 1), ("c", 0.5)]
    texts = texts_of("a", "p", "b", "c", j="p1 p2 p3 p4")
    lists, outcomes, _ = mined(
        asked({"p": 1, "j": 0}, hits), texts, scorer_of({"b": 0.01, "c": 0.01}), relative_margin=0.9, count=2
    )
    assert [(item.id, item.source, item.rank) for item in lists.negatives] == [("j", "judged", 2), ("b", "s0", 4)]
    assert outcomes == {"a": "margin", "j": "judged", "p": "positive", "b": "kept", "c": "not drawn"}


def test_the_query_itself_is_no_negative_of_its_own() -> None:
    """Some collections ask with documents."""
    lists, outcomes, _ = mined(asked({"p": 1}, [("q", 9), ("a", 8)]))
    assert kept(lists) == ["a"]
    assert outcomes["q"] == "own id"


def test_a_query_without_a_positive_is_left_out_and_counted() -> None:
    """Also one whose positives the corpus lacks."""
    miner = Miner(MiningSettings())
    texts = texts_of("a")
    assert miner.mine([asked({"a": 0}, [("a", 1)]), asked({"gone": 1}, [("a", 1)])], texts) == []
    assert miner.queries == {"without positive": 2}


def test_the_bands_of_a_cross_encoder() -> None:
    """Below .1 a negative, above .9 a pseudo-positive with its probability, between them nothing."""
    hits = [("a", 9), ("b", 8), ("c", 7), ("d", 6)]
    scorer = scorer_of({"a": 0.95, "b": 0.5, "c": 0.05, "d": 0.99})
    lists, outcomes, _ = mined(asked({"p": 1}, hits), scorer=scorer)
    assert kept(lists) == ["c"]
    assert [(item.id, round(item.score or 0, 4)) for item in lists.positives] == [("d", 0.99), ("a", 0.95)]
    assert outcomes == {"a": "pseudo-positive", "b": "denoised", "c": "kept", "d": "pseudo-positive"}


def test_the_margin_may_be_held_to_the_cross_encoders_probabilities() -> None:
    """Of the best positive by the cross-encoder, whatever the search says of it."""
    hits = [("a", 9), ("b", 8), ("c", 7)]
    scorer = scorer_of({"p": 0.8, "p2": 0.1, "a": 0.75, "b": 0.5, "c": 0.3})
    one = asked({"p": 1, "p2": 1}, hits)
    changes = {"margin_by": "cross-encoder", "absolute_margin": 0.2, "below": 0.4, "above": 0.9}
    _, outcomes, _ = mined(one, scorer=scorer, **changes)
    assert outcomes == {"a": "margin", "b": "denoised", "c": "kept"}
    with pytest.raises(InputError, match="needs one"):
        Miner(MiningSettings(margin_by="cross-encoder"))


def test_where_denoising_leaves_nothing_deeper_documents_are_drawn() -> None:
    """At random from below the range, unread, still never a positive; counted."""
    hits = [("a", 9), ("b", 8), ("c", 7), ("p", 6), ("d", 5)]
    lists, outcomes, miner = mined(asked({"p": 1}, hits), scorer=scorer_of({"a": 0.5, "b": 0.5}), last=2)
    assert kept(lists) == ["c", "d"]
    assert outcomes == {"a": "denoised", "b": "denoised", "c": "fallback", "d": "fallback"}
    assert miner.queries["fallback"] == 1
    lists, _, miner = mined(asked({"p": 1}, [("p", 6), ("c", 5)]), last=1)
    assert kept(lists) == []
    assert (miner.queries["fallback"], miner.queries["without negatives"]) == (0, 1)


def test_sources_are_merged() -> None:
    """Each draws its own, a document stands there once, and what one margin drops no source keeps."""
    first = [("p", 10), ("a", 9.9), ("b", 5), ("c", 4)]
    second = [("b", 0.9), ("p", 0.8), ("a", 0.1), ("d", 0.1), ("e", 0.1)]
    lists, _, _ = mined(asked({"p": 1}, first, second), relative_margin=0.95, count=1)
    assert [(item.id, item.source, item.rank) for item in lists.negatives] == [("c", "s0", 4), ("d", "s1", 4)]


@pytest.mark.parametrize("sample", ["uniform", "simans"])
def test_draws_follow_the_seed_and_the_query_alone(sample: str) -> None:
    """The same beside other queries and in other batches; another seed or another query draws others."""
    hits = [("p", 60.0), *((f"d{number}", 50.0 - number / 100) for number in range(40))]
    texts = texts_of(*(id_ for id_, _ in hits))
    one, other = asked({"p": 1}, hits), asked({"p": 1}, hits, query=Query("other", "another question"))

    def draw(batch: Sequence[Asked], seed: int = 0) -> list[list[str]]:
        miner = Miner(MiningSettings(sample=sample, count=5, seed=seed))  # type: ignore[arg-type]
        return [kept(lists) for _, lists, _ in miner.mine(batch, texts)]

    assert draw([one, other]) == [draw([one])[0], draw([other])[0]]
    assert draw([one])[0] not in (draw([other])[0], draw([one], seed=1)[0])


def test_simans_draws_near_the_positive() -> None:
    """With a large factor it draws the nearest, at any distance; shifted, those at the shift."""
    hits = [("a", 109.0), ("p", 100.0), ("b", 93.0), ("c", 40.0), ("d", 39.0)]
    one = asked({"p": 1}, hits)
    assert kept(mined(one, sample="simans", simans_a=50.0, count=2)[0]) == ["a", "b"]
    assert kept(mined(one, sample="simans", simans_a=50.0, simans_b=-61.2, count=1)[0]) == ["d"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first": 5, "last": 4}, "5 to 4 is an empty range"),
        ({"first": 0}, "empty range"),
        ({"count": 0}, "count must be at least 1"),
        ({"seed": -1}, "seed"),
        ({"sample": "best"}, "sample must be one of"),
        ({"relative_margin": 0.9, "absolute_margin": 0.1}, "not both"),
        ({"relative_margin": 1.5}, "relative margin"),
        ({"relative_margin": float("nan")}, "relative margin"),
        ({"absolute_margin": -0.1}, "absolute margin"),
        ({"near_duplicate": 0.0}, "near_duplicate"),
        ({"below": 0.9, "above": 0.1}, "bands"),
        ({"simans_a": -1.0}, "simans"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any], said: str) -> None:
    """With the value."""
    with pytest.raises(InputError, match=said):
        MiningSettings(**changes)


def test_scores_that_are_no_numbers_are_refused() -> None:
    """Of a search and of a cross-encoder, which must give one for each pair."""
    with pytest.raises(InputError, match="s0: query q has a score that is not a number"):
        mined(asked({"p": 1}, [("a", float("nan"))]))
    with pytest.raises(ModelError, match="score of document a is not a number"):
        mined(asked({"p": 1}, [("a", 1.0)]), scorer=lambda pairs: np.full(len(pairs), np.nan, dtype=np.float32))
    with pytest.raises(ModelError, match=r"shape \(2,\) for 1 pairs"):
        mined(asked({"p": 1}, [("a", 1.0)]), scorer=lambda pairs: np.zeros(2, dtype=np.float32))
    with pytest.raises(InputError, match="document a has no text"):
        mined(asked({"p": 1}, [("a", 1.0)]), texts_of("p"))


IDS = [f"d{number}" for number in range(12)]
LISTS = st.lists(
    st.permutations(IDS).flatmap(lambda ids: st.integers(0, len(ids)).map(lambda n: ids[:n])), min_size=1, max_size=3
)


@given(
    lists=LISTS,
    grades=st.dictionaries(st.sampled_from([*IDS, "unknown"]), st.integers(-1, 2)),
    probabilities=st.none() | st.fixed_dictionaries({id_: st.floats(0.01, 0.99) for id_ in IDS}),
    sample=st.sampled_from(["uniform", "top", "simans"]),
    margin=st.sampled_from([{}, {"relative_margin": 0.9}, {"absolute_margin": 1.0}]),
    first=st.integers(1, 4),
)
@settings(max_examples=200)
def test_no_judged_positive_is_ever_a_negative(
    lists: list[list[str]],
    grades: dict[str, int],
    probabilities: dict[str, float] | None,
    sample: str,
    margin: dict[str, float],
    first: int,
) -> None:
    """Whatever the rules; no document twice, at most `count` of a source, and every candidate has one outcome."""
    pairs = [[(id_, float(len(ids) - rank)) for rank, id_ in enumerate(ids)] for ids in lists]
    one = asked(grades, *pairs)
    options: dict[str, Any] = {"sample": sample, "first": first, "last": 8, "count": 3, **margin}
    miner = Miner(MiningSettings(**options), scorer_of(probabilities) if probabilities else None)
    found: list[Candidate] = []
    for _, result, candidates in miner.mine([one], texts_of(*IDS)):
        found += candidates
        ids = kept(result)
        assert len(set(ids)) == len(ids) <= 3 * len(lists)
        assert not {id_ for id_ in (*ids, *(p.id for p in result.positives)) if grades.get(id_, 0) > 0}
        assert {item.id for item in result.negatives if item.source == "judged"} <= set(grades)
        assert not {item.id for item in result.positives} & set(ids)
    assert sum(miner.outcomes.values()) == len(found)
    assert all(candidate.outcome for candidate in found)

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import InputError
from retrieval.fusion import Fusion, MinMax, ReciprocalRank, ZScore, fuse
from retrieval.types import Hits, ScoreKind

Ranking = Sequence[tuple[int, float]]


def make_hits(*rankings: Ranking, width: int | None = None) -> Hits:
    """The hits of a stage: for each query, pairs of ordinal and score, best first."""
    longest = max(map(len, rankings), default=0)
    hits = Hits.empty(len(rankings), longest if width is None else width, ScoreKind.BM25)
    for i, ranking in enumerate(rankings):
        hits.counts[i] = len(ranking)
        for j, (ordinal, score) in enumerate(ranking):
            hits.ordinals[i, j], hits.scores[i, j] = ordinal, score
    return hits


def ranking_of(hits: Hits, query: int = 0) -> list[tuple[int, float]]:
    """Pairs of ordinal and score."""
    ordinals, scores = hits.row(query)
    return list(zip(ordinals.tolist(), scores.tolist(), strict=True))


def near(ranking: Ranking) -> Ranking:
    """The same documents in the same order, with scores that may differ by rounding."""
    return [(ordinal, pytest.approx(score)) for ordinal, score in ranking]


def one(fusion: Fusion, k: int = 10, **rankings: Ranking) -> list[tuple[int, float]]:
    """The fused ranking of one query's lists."""
    return ranking_of(fuse({name: make_hits(ranking) for name, ranking in rankings.items()}, fusion, k))


LEXICAL = [(7, 12.0), (3, 9.0), (5, 2.0)]
DENSE = [(3, 0.9), (8, 0.5), (7, 0.4)]


def test_min_max_adds_scores_rescaled_to_0_and_1() -> None:
    """Document 3: .7 + 1; 7: 1 + 0; 8: .2; 5: 0."""
    assert one(MinMax(), lexical=LEXICAL, dense=DENSE) == near([(3, 1.7), (7, 1.0), (8, 0.2), (5, 0.0)])


def test_reciprocal_rank_adds_one_over_constant_plus_rank() -> None:
    """Scores do not matter; 60 is the constant."""
    expected = [(3, 1 / 62 + 1 / 61), (7, 1 / 61 + 1 / 63), (8, 1 / 62), (5, 1 / 63)]
    assert one(ReciprocalRank(), lexical=LEXICAL, dense=DENSE) == near(expected)


def test_the_constant_of_reciprocal_rank_can_be_set() -> None:
    """With 0, a rank is worth its reciprocal."""
    assert one(ReciprocalRank(constant=0), lexical=LEXICAL) == near([(7, 1.0), (3, 1 / 2), (5, 1 / 3)])


def test_z_score_adds_standard_deviations_above_the_last() -> None:
    """Lists of 4, 2, 0 and of 9, 6: their deviations are √(8/3) and 1.5."""
    fused = one(ZScore(), lexical=[(1, 4.0), (2, 2.0), (3, 0.0)], dense=[(3, 9.0), (4, 6.0)])
    deviation = math.sqrt(8 / 3)
    assert fused == near([(1, 4 / deviation), (3, 2.0), (2, 2 / deviation), (4, 0.0)])


def test_rescaling_does_not_depend_on_the_scale_of_scores() -> None:
    """Shifted and stretched scores, below 0 as well, fuse alike."""
    for fusion in (MinMax(), ZScore()):
        stretched = [(ordinal, 0.25 * score - 50) for ordinal, score in LEXICAL]
        assert one(fusion, lexical=stretched, dense=DENSE) == near(one(fusion, lexical=LEXICAL, dense=DENSE))


@pytest.mark.parametrize("fusion", [MinMax(), ZScore()])
def test_a_list_of_one_hit_or_of_equal_scores_gives_each_1(fusion: Fusion) -> None:
    """A division by zero does not lose them, whatever the score."""
    assert one(fusion, lexical=[(4, -3.0)]) == near([(4, 1.0)])
    assert one(fusion, lexical=[(4, 0.0), (6, 0.0), (9, 0.0)]) == near([(4, 1.0), (6, 1.0), (9, 1.0)])


@pytest.mark.parametrize("fusion", [MinMax(), ZScore(), ReciprocalRank()])
def test_an_empty_list_adds_nothing(fusion: Fusion) -> None:
    """A query that one stage cannot answer is answered by the other, and one that none can has no hits."""
    assert one(fusion, lexical=[], dense=DENSE) == near(one(fusion, dense=DENSE))
    assert one(fusion, lexical=[], dense=[]) == []


def test_each_query_is_fused_on_its_own() -> None:
    """Rows of different lengths do not touch each other, and cells beyond a list's count mean nothing."""
    lexical = make_hits([(1, 2.0), (2, 1.0)], [], [(0, 5.0)], width=4)
    dense = make_hits([(2, 1.0)], [(6, 1.0), (4, 0.0)], [], width=4)
    fused = fuse({"lexical": lexical, "dense": dense}, MinMax(), 3)
    assert fused.counts.tolist() == [2, 2, 1]
    assert [ranking_of(fused, i) for i in range(3)] == [[(1, 1.0), (2, 1.0)], [(6, 1.0), (4, 0.0)], [(0, 1.0)]]


def test_ties_stand_in_order_of_ordinals() -> None:
    """Also where they come from different lists, and where the last digit of a double would tell them apart."""
    assert one(ReciprocalRank(), lexical=[(9, 2.0)], dense=[(2, 8.0)]) == near([(2, 1 / 61), (9, 1 / 61)])
    thirds = one(MinMax(weights={"a": 0.1, "b": 0.2, "c": 0.3}), a=[(5, 1.0)], b=[(5, 1.0)], c=[(4, 1.0)])
    assert [ordinal for ordinal, _ in thirds] == [4, 5]


def test_weights_multiply_what_a_list_says() -> None:
    """A list without a weight counts once; one of weight 0 leaves its documents in, with nothing."""
    assert one(MinMax(weights={"lexical": 3}), lexical=LEXICAL, dense=DENSE)[:2] == near([(3, 3.1), (7, 3.0)])
    assert one(MinMax(weights={"lexical": 0}), lexical=LEXICAL, dense=DENSE) == near([(3, 1), (8, 0.2), (5, 0), (7, 0)])


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_is_a_number_of_at_least_0(weight: float) -> None:
    """The error names the list and the value."""
    with pytest.raises(InputError, match=f"weight of 'dense' must be a number of at least 0; got {weight!r}"):
        MinMax(weights={"dense": weight})


def test_a_weight_for_an_unknown_list_is_an_error() -> None:
    """A misspelt name would change nothing in silence."""
    with pytest.raises(InputError, match="a weight is given for 'lexcal'; the lists are lexical, dense"):
        one(MinMax(weights={"lexcal": 2}), lexical=LEXICAL, dense=DENSE)


def test_depth_and_constant_are_checked() -> None:
    """A depth below 1 takes no hits, and a constant below 0 could divide by zero."""
    with pytest.raises(InputError, match="depth of fusion must be at least 1; got 0"):
        MinMax(depth=0)
    with pytest.raises(InputError, match="constant of reciprocal rank fusion must be at least 0; got -1"):
        ReciprocalRank(constant=-1)


def test_the_kind_of_a_fused_score_is_no_stage_s_kind() -> None:
    """Sums of rescaled scores and of reciprocal ranks are told apart."""
    lists = {"lexical": make_hits(LEXICAL), "dense": make_hits(DENSE)}
    kinds = [fuse(lists, fusion, 2).kind for fusion in (MinMax(), ZScore(), ReciprocalRank())]
    assert kinds == [ScoreKind.SCORE_FUSION, ScoreKind.SCORE_FUSION, ScoreKind.RANK_FUSION]


def test_signals_keep_what_each_list_said() -> None:
    """Rank from 1 and raw score; 0 and NaN where a list lacks the document."""
    fused = fuse({"lexical": make_hits(LEXICAL), "dense": make_hits(DENSE)}, MinMax(), 3)
    assert fused.row(0)[0].tolist() == [3, 7, 8]
    assert fused.signals["lexical"].ranks.tolist() == [[2, 1, 0]]
    assert fused.signals["dense"].ranks.tolist() == [[1, 3, 2]]
    np.testing.assert_array_equal(fused.signals["lexical"].scores, np.float32([[9, 12, np.nan]]))
    np.testing.assert_array_equal(fused.signals["dense"].scores, np.float32([[0.9, 0.4, 0.5]]))


@pytest.mark.parametrize(("k", "count"), [(0, 0), (1, 1), (4, 4), (100, 4)])
def test_k_cuts_and_never_pads(k: int, count: int) -> None:
    """The first k of the whole ranking; all there is where k is larger."""
    whole = one(MinMax(), lexical=LEXICAL, dense=DENSE)
    assert one(MinMax(), k, lexical=LEXICAL, dense=DENSE) == near(whole[:count])


def slow(lists: Mapping[str, Ranking], fusion: Fusion) -> dict[int, float]:
    """The definition, one document at a time."""
    sums: dict[int, float] = {}
    for name, ranking in lists.items():
        scores = [score for _, score in ranking]
        for rank, (ordinal, score) in enumerate(ranking, 1):
            said = slow_rescale(fusion, scores, rank, score)
            sums[ordinal] = sums.get(ordinal, 0.0) + fusion.weights.get(name, 1.0) * said
    return sums


def slow_rescale(fusion: Fusion, scores: list[float], rank: int, score: float) -> float:
    """What a list says of its document at `rank`."""
    if isinstance(fusion, ReciprocalRank):
        return 1 / (fusion.constant + rank)
    if max(scores) == min(scores):
        return 1.0
    if isinstance(fusion, MinMax):
        return (score - min(scores)) / (max(scores) - min(scores))
    mean = sum(scores) / len(scores)
    deviation = math.sqrt(sum((other - mean) ** 2 for other in scores) / len(scores))
    return (score - min(scores)) / deviation


# Quarters are exact in float32, so that ties are frequent and the same for both sides.
quarters = st.integers(-40, 40).map(lambda number: number / 4)


@st.composite
def rankings(draw: st.DrawFn) -> Ranking:
    """Distinct documents, scores descending, ties by ordinal."""
    scores = draw(st.dictionaries(st.integers(0, 12), quarters, max_size=8))
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


fusions = st.one_of(
    *(
        st.builds(method, weights=st.dictionaries(st.sampled_from(["a", "b"]), quarters.map(abs)))
        for method in (MinMax, ZScore, ReciprocalRank)
    )
)


@given(lists=st.fixed_dictionaries({"a": rankings(), "b": rankings(), "c": rankings()}), fusion=fusions)
def test_fusion_equals_its_definition(lists: dict[str, Ranking], fusion: Fusion) -> None:
    """Every document of every list is there, with the sum that the definition gives it."""
    expected = slow(lists, fusion)
    fused = fuse({name: make_hits(ranking) for name, ranking in lists.items()}, fusion, 40)
    ordinals, scores = fused.row(0)
    assert dict(zip(ordinals.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(lists=st.fixed_dictionaries({"a": rankings(), "b": rankings()}), fusion=fusions, k=st.integers(0, 30))
def test_fused_hits_are_sorted_and_a_prefix_of_more(lists: dict[str, Ranking], fusion: Fusion, k: int) -> None:
    """Scores descend, ties stand by ordinal, and asking for more does not change the first."""
    hits = {name: make_hits(ranking) for name, ranking in lists.items()}
    ordinals, scores = fuse(hits, fusion, 40).row(0)
    keys = list(zip((-scores).tolist(), ordinals.tolist(), strict=True))
    assert keys == sorted(keys)
    cut = fuse(hits, fusion, k)
    assert cut.counts[0] == min(k, len(keys))
    np.testing.assert_array_equal(cut.row(0)[0], ordinals[:k])

import time

import pytest

from retrieval.beir_eval import cost


def test_every_query_is_asked_by_itself_after_one_that_is_not_timed() -> None:
    """Percentiles are times of queries that were asked, and the slowest ones count."""
    asked: list[str] = []

    def answer(query: str) -> None:
        asked.append(query)
        time.sleep(0.02 if query == "slow" else 0)

    found = cost.single_queries(answer, ["a", "slow", "b"])
    assert asked == ["a", "a", "slow", "b"]
    assert found["timed_queries"] == 3
    assert found["p50_ms"] <= found["p95_ms"] == found["p99_ms"]
    assert found["p99_ms"] >= 20


def test_of_many_queries_some_are_timed_spread_over_all() -> None:
    """A hundred, so that a measurement does not take as long as all of them."""
    asked: list[str] = []
    found = cost.single_queries(asked.append, [str(number) for number in range(1000)])
    assert found["timed_queries"] == 100
    assert asked[1:4] == ["0", "10", "20"]


def test_slow_queries_are_not_timed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is timed in any case."""
    monkeypatch.setattr(cost, "_ENOUGH_SECONDS", 0.001)
    found = cost.single_queries(lambda query: time.sleep(0.002), ["a", "b", "c"])
    assert found["timed_queries"] == 1


def test_peak_memory_grows_with_what_is_held() -> None:
    """And does not shrink again."""
    before = cost.peak_bytes()
    held = bytearray(before + (64 << 20))
    held[::4096] = b"x" * len(held[::4096])
    after = cost.peak_bytes()
    del held
    assert after >= before + (64 << 20)
    assert cost.peak_bytes() >= after - (4 << 20)  # the system counts pages of several threads now and then


def test_the_price_of_a_million_queries() -> None:
    """By hand: 100 queries a second are 360,000 an hour."""
    assert cost.per_million(0.36, 100) == pytest.approx(1.0)

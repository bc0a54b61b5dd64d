"""Limits per address: token buckets and counts."""

from __future__ import annotations

from crowdstream.web.auth.limits import REMEMBERED, Count, Rank, TokenBuckets


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_buckets_are_per_address_and_the_least_recent_is_evicted() -> None:
    buckets = TokenBuckets(1.0, 2.0, Clock())
    first, second = buckets.of("first"), buckets.of("second")
    assert first is not second and buckets.of("first") is first
    for number in range(REMEMBERED - 2):
        buckets.of(str(number))
    assert buckets.of("first") is first, "as many as there is room for are kept"
    buckets.of("one more")
    assert len(buckets._buckets) == REMEMBERED
    assert buckets.of("first") is first, "it was in use later than the second"
    assert buckets.of("second") is not second


def test_a_count_is_limited_per_address_and_in_total() -> None:
    count = Count(4, 2)
    assert [count.enter("a") for _ in range(3)] == [True, True, False]
    assert [count.enter("b") for _ in range(2)] == [True, True]
    assert count.total == 4
    assert not count.enter("c") and not count.enter("127.0.0.1")
    count.leave("a")
    assert count.total == 3
    assert not count.enter("b"), "the place that is free is not for one that has its share"
    assert count.enter("a") and not count.enter("a")


def test_this_machine_has_only_the_total_limit() -> None:
    count = Count(5, 1)
    assert [count.enter("127.0.0.1") for _ in range(6)] == [True] * 5 + [False]
    for _ in range(5):
        count.leave("127.0.0.1")
    assert count.total == 0
    assert count._each == {}, "an address without a connection is forgotten"


def test_each_address_has_a_connection_limit() -> None:
    count = Count(10, 2)
    assert [count.enter("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert count.enter("10.0.0.2")
    assert all(count.enter("127.0.0.1") for _ in range(7)), "this machine has all that is left"
    assert not count.enter("10.0.0.3")
    count.leave("10.0.0.1")
    assert count.enter("10.0.0.1")


def test_slots_are_reserved_for_this_machine_and_token_holders() -> None:
    count = Count(10, 100, 4)
    assert sum(count.enter(f"10.0.0.{number}") for number in range(20)) == 6
    assert [count.enter("127.0.0.1") for _ in range(3)] == [True, True, False]
    assert [count.enter("10.0.0.99", Rank.HOLDER) for _ in range(3)] == [True, True, False]


def test_the_address_with_the_most_connections_is_found() -> None:
    count = Count(9, 9)
    assert count.largest == "" and count.of("a") == 0
    for address in ("a", "b", "b", "c"):
        assert count.enter(address)
    assert count.largest == "b" and count.of("b") == 2
    count.leave("b")
    count.leave("b")
    assert count.of("b") == 0 and count.largest in ("a", "c")

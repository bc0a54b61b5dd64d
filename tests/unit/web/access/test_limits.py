"""Limits by address: token buckets, counts, and what an address is."""

from __future__ import annotations

import pytest

from crowdstream.web.access.limits import (
    REMEMBERED,
    Bucket,
    Buckets,
    Count,
    is_loopback,
    same_sender,
)


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_refills_at_its_rate_and_holds_no_more_than_its_size() -> None:
    clock = Clock()
    bucket = Bucket(4.0, 10.0, clock)
    assert bucket.wait() == bucket.wait(10.0) == 0.0
    assert bucket.take(10.0)
    assert bucket.wait() == 0.25
    assert not bucket.take()
    assert bucket.wait(3.0) == 0.75, "a token that was refused is not taken"
    clock.now += 0.5
    assert bucket.take(2.0) and not bucket.take()
    clock.now += 100.0
    assert bucket.wait(11.0) == 0.25, "it is full at ten"
    assert bucket.take() and bucket.take(9.0) and not bucket.take()


def test_a_bucket_takes_one_token_unless_told_otherwise() -> None:
    bucket = Bucket(1.0, 3.0, Clock())
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    assert bucket.wait() == 1.0


def test_each_address_has_a_bucket_and_the_longest_silent_one_is_forgotten() -> None:
    buckets = Buckets(1.0, 2.0, Clock())
    first, second = buckets.of("first"), buckets.of("second")
    assert first is not second and buckets.of("first") is first
    for number in range(REMEMBERED - 2):
        buckets.of(str(number))
    assert buckets.of("first") is first, "as many as there is room for are kept"
    buckets.of("one more")
    assert len(buckets._buckets) == REMEMBERED
    assert buckets.of("first") is first, "it was in use later than the second"
    assert buckets.of("second") is not second


def test_a_count_has_a_limit_for_each_address_and_for_all() -> None:
    count = Count(4, 2)
    assert [count.enter("a") for _ in range(3)] == [True, True, False]
    assert [count.enter("b") for _ in range(2)] == [True, True]
    assert count.total == 4
    assert not count.enter("c") and not count.enter("127.0.0.1")
    count.leave("a")
    assert count.total == 3
    assert not count.enter("b"), "the place that is free is not for one that has its share"
    assert count.enter("a") and not count.enter("a")


def test_this_machine_is_limited_by_what_all_may_have_alone() -> None:
    count = Count(5, 1)
    assert [count.enter("127.0.0.1") for _ in range(6)] == [True] * 5 + [False]
    for _ in range(5):
        count.leave("127.0.0.1")
    assert count.total == 0
    assert count._each == {}, "an address without a connection is forgotten"


@pytest.mark.parametrize(
    ("host", "sender"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:0:0:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a name", "a name"),
    ],
)
def test_an_address_is_counted_under_itself_or_its_network(host: str, sender: str) -> None:
    assert same_sender(host) == sender


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("::1%lo", True),
        ("::ffff:127.0.0.1", True), ("localhost", True), ("LocalHost.", True),
        ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("::", False), ("0.0.0.0", False),
        ("localhost.evil", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback

"""A rate limit that allows bursts."""

from __future__ import annotations

from crowdstream.system.token_bucket import TokenBucket


class Clock:
    """A clock moved by the test."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_refills_at_its_rate_up_to_its_burst() -> None:
    clock = Clock()
    bucket = TokenBucket(4.0, 10.0, clock)
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


def test_a_bucket_takes_one_token_by_default() -> None:
    bucket = TokenBucket(1.0, 3.0, Clock())
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    assert bucket.wait() == 1.0


def test_left_reports_tokens_without_taking_them() -> None:
    clock = Clock()
    bucket = TokenBucket(2.0, 6.0, clock)
    assert bucket.take(5.0) and bucket.left() == bucket.left() == 1.0
    clock.now += 1.5
    assert bucket.left() == 4.0
    clock.now += 10.0
    assert bucket.left() == 6.0


def test_debt_must_be_refilled_before_tokens_are_available() -> None:
    clock = Clock()
    bucket = TokenBucket(2.0, 6.0, clock)
    bucket.charge(10.0)
    assert bucket.left() == -4.0 and not bucket.take(0.5)
    assert bucket.wait() == 2.5
    clock.now += 2.5
    assert bucket.take() and not bucket.take()


def test_a_given_time_takes_precedence_over_the_clock() -> None:
    bucket = TokenBucket(2.0, 6.0, Clock(), now=0.0)
    assert bucket.take(6.0, 0.0) and not bucket.take(1.0, 0.25)
    assert bucket.wait(1.0, 0.25) == 0.25
    assert bucket.left(1.0) == 2.0 and bucket.take(2.0, 1.0)

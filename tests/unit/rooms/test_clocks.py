"""Estimates of another machine's clock and of a sound card's."""

from __future__ import annotations

import random

import pytest

from crowdstream.rooms.clocks import CardClock, RemoteClock

YEARS = 1e9  # s


def exchanges(
    clock: RemoteClock, seconds: float, skew: float, begin: float = 0.0, seed: int = 1,
    offset: float = YEARS, delay: float = 0.04,
) -> None:
    """Fifty exchanges a second over a network that delays each packet by up to `delay`."""
    rng = random.Random(seed)
    for number in range(int(50 * seconds)):
        sent = begin + number / 50
        there = sent + rng.uniform(0.0, delay)
        back = there + 1e-4 + rng.uniform(0.0, delay)
        theirs = offset + there * (1.0 + skew)
        clock.add(sent, theirs, theirs + 1e-4, back)


@pytest.mark.parametrize("skew", [0.0, 80e-6, -80e-6])
def test_a_clock_is_found_behind_forty_milliseconds_of_jitter(skew: float) -> None:
    clock = RemoteClock()
    exchanges(clock, 60.0, skew)
    reading = clock.read(60.0)
    assert reading is not None
    assert reading.theirs(60.0) == pytest.approx(YEARS + 60.0 * (1.0 + skew), abs=3e-4)
    assert reading.skew == pytest.approx(skew, abs=10e-6)
    assert reading.own(reading.theirs(61.0)) == pytest.approx(61.0, abs=1e-6)


def test_the_error_that_is_stated_bounds_the_true_one() -> None:
    for seed in range(20):
        clock = RemoteClock()
        exchanges(clock, 2.0, 0.0, seed=seed)
        reading = clock.read(2.0)
        assert reading is not None and reading.error > 0.0
        assert abs(reading.theirs(2.0) - YEARS - 2.0) <= reading.error + 1e-6


def test_a_clock_that_was_set_by_years_is_measured_again() -> None:
    clock = RemoteClock()
    exchanges(clock, 5.0, 0.0)
    exchanges(clock, 5.0, 0.0, begin=5.1, offset=3.0)
    reading = clock.read(10.1)
    assert clock.contradictions == 1
    assert reading is not None and reading.theirs(10.1) == pytest.approx(13.1, abs=2e-3)


@pytest.mark.parametrize(
    "exchange",
    [
        (1.0, 5.0, 5.0, 0.5),  # returned before it was sent
        (1.0, 5.0, 4.0, 2.0),  # answered before it was received
        (1.0, 5.0, 9.0, 2.0),  # kept for longer than it took
        (1.0, float("nan"), 5.0, 2.0), (1.0, float("inf"), float("inf"), 2.0),
    ],
)
def test_an_impossible_exchange_is_ignored(exchange: tuple[float, ...]) -> None:
    clock = RemoteClock()
    assert not clock.add(*exchange)
    assert clock.read(2.0) is None


@pytest.mark.parametrize("ppm", [-100.0, 0.0, 250.0])
def test_a_card_is_followed_although_its_callbacks_are_late(ppm: float) -> None:
    rng = random.Random(2)
    card, rate = CardClock(48000.0), 48000.0 * (1.0 + ppm * 1e-6)
    for block in range(3000):
        late = rng.expovariate(2000.0) + (rng.random() < 0.02) * 0.01
        card.add(100.0 + block * 512 / rate + late, block * 512)
    now = 100.0 + 3000 * 512 / rate
    reading = card.read(now)
    assert reading is not None
    assert reading.rate == pytest.approx(rate, rel=10e-6)
    assert reading.out_at(now) == pytest.approx(3000 * 512, abs=48000 * 2e-4)


def test_an_interruption_of_the_stream_is_noticed() -> None:
    card = CardClock(48000.0)
    for block in range(400):
        pause = 0.5 if block >= 200 else 0.0
        card.add(block * 512 / 48000.0 + pause, block * 512)
    reading = card.read(400 * 512 / 48000.0 + 0.5)
    assert card.interruptions == 1
    assert reading is not None
    assert reading.out_at(400 * 512 / 48000.0 + 0.5) == pytest.approx(400 * 512, abs=5.0)


def test_one_callback_that_is_very_late_is_no_interruption() -> None:
    card = CardClock(48000.0)
    for block in range(400):
        card.add(block * 512 / 48000.0 + (0.2 if block == 200 else 0.0), block * 512)
    assert card.interruptions == 0

"""The loudness limit holds both limits for any course of loudness, and recovers slowly."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.audiofile.loudness import lufs
from crowdstream.control.decks.loudness_limit import (
    AVERAGE_SECONDS,
    MAX_REDUCTION_DB,
    RISE_DB_SECOND,
    LoudnessLimit,
)


def power(loudness: float) -> float:
    return 10 ** ((loudness + 0.691) / 10)


def play(limit: LoudnessLimit, course: list[float]) -> tuple[list[float], list[float]]:
    """Return the loudness of the output and the gain, second by second."""
    heard, gains = [], []
    for loudness in course:
        mix = power(loudness)
        output = mix * 10 ** (limit.gain_db / 10)
        heard.append(lufs(output))
        gains.append(limit.second(output, mix))
    return heard, gains


def average(heard: list[float], seconds: int) -> list[float]:
    """The mean loudness of each span of that length."""
    sums = np.cumsum([0.0, *(power(one) for one in heard)])
    return [lufs(float(one)) for one in (sums[seconds:] - sums[:-seconds]) / seconds]


def test_without_limits_the_gain_stays_at_one() -> None:
    assert set(play(LoudnessLimit(), [-5.0] * 100)[1]) == {0.0}


def test_a_mix_below_the_limits_is_left_alone() -> None:
    assert set(play(LoudnessLimit(-14.0, -17.0), [-20.0] * 2000)[1]) == {0.0}


def test_a_loud_mix_meets_the_short_term_limit_within_three_seconds() -> None:
    heard, _ = play(LoudnessLimit(short_term=-20.0), [-60.0] * 5 + [-10.0] * 20)
    assert heard[5] == pytest.approx(-10.0)
    assert max(average(heard[8:], 3)) <= -20.0 + 0.01
    assert heard[-1] == pytest.approx(-20.0, abs=0.1)


def test_the_average_limit_is_held_for_hours_of_changing_loudness() -> None:
    random = np.random.default_rng(3)
    course: list[float] = []
    while len(course) < 4 * 3600:
        course += [float(random.uniform(-30, -8))] * int(random.uniform(60, 600))
    heard, gains = play(LoudnessLimit(average=-17.0), course)
    assert max(average(heard, AVERAGE_SECONDS)) <= -17.0 + 0.5
    # It takes no more than necessary: an evenly loud mix meets the limit.
    heard, _ = play(LoudnessLimit(average=-17.0), [-12.0] * 3600)
    assert heard[-1] == pytest.approx(-17.0, abs=0.05)
    assert min(gains) >= -MAX_REDUCTION_DB


def test_the_gain_rises_too_slowly_to_be_heard() -> None:
    _, gains = play(LoudnessLimit(-20.0, -20.0), [-8.0] * 1000 + [-30.0] * 3000)
    assert max(np.diff(gains)) <= RISE_DB_SECOND + 1e-9
    assert gains[-1] == 0.0


def test_a_lower_limit_takes_effect_at_once() -> None:
    limit = LoudnessLimit(short_term=-14.0)
    play(limit, [-14.0] * 60)
    limit.short_term = -20.0
    heard, _ = play(limit, [-14.0] * 4)
    assert heard[1:] == pytest.approx([-20.0] * 3, abs=0.05)

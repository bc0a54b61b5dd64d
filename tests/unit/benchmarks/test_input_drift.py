"""The benchmark of the drift: its figures are those of the engine, and it counts clicks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.input_drift import HERTZ, RATE, measure, second_of, tone
from tests.support.live_input import LiveInput


def test_a_drifting_input_has_no_gap_and_no_step() -> None:
    row = measure(200.0, 0.0, 2)
    assert (row["gaps"], row["steps"]) == (0, 0)
    assert row["learnt ppm"] == pytest.approx(200.0, abs=0.5)
    assert row["worst dB"] < -90.0 and row["then ppm"] < 0.5


def test_gaps_and_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    play = LiveInput.play
    seconds = 0

    def damaged(one: LiveInput, length: float) -> np.ndarray:
        nonlocal seconds
        out = play(one, length)
        if length == 1.0:
            seconds += 1
            if seconds == 30:
                one.stalled += 0.4
            elif seconds == 100:
                out[1000] += 0.5
        return out

    monkeypatch.setattr(LiveInput, "play", damaged)
    row = measure(0.0, 0.0, 2)
    assert row["gaps"] == 1 and row["steps"] == 2


def test_pitch_and_distortion_of_a_known_tone() -> None:
    times = np.arange(round(RATE)) / RATE
    decibels, hertz = second_of(tone(times * 1.0001))
    assert hertz == pytest.approx(1.0001 * HERTZ, rel=1e-8) and decibels < -150.0
    noisy = tone(times) + 0.005 * np.sin(2.0 * np.pi * 3000.0 * times)
    assert second_of(noisy)[0] == pytest.approx(-40.0, abs=0.1)

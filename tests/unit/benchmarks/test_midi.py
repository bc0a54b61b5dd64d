"""The benchmark of the MIDI clock: the simulated input."""

from __future__ import annotations

import pytest

from benchmarks.midi import follow


def test_a_steady_clock_is_followed_exactly() -> None:
    row = follow(125.0, 0.0)
    assert row["lock s"] < 2.0 and row["beat ms"] == 0.0
    assert row["after 8 s, bpm"] == 0.0


@pytest.mark.parametrize("bpm", [60.0, 174.0])
def test_a_jittering_clock_is_averaged(bpm: float) -> None:
    row = follow(bpm, 3.0)
    assert 0.0 < row["lock s"] < 4.0
    assert row["after 8 s, bpm"] < 0.3 and row["beat ms"] < 1.0

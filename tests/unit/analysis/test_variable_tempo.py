"""Tracking a variable tempo, on synthetic onset functions."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.analysis.features import FRAME_RATE
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.tempo import Doubles, Floats
from crowdstream.analysis.variable_tempo import Part, join_parts, track_variable_tempo
from crowdstream.audiofile.beatgrid import BeatGrid

BREAK = (24.0, 40.0)  # s without drums


def _drums(beats: Doubles) -> Floats:
    # Kick, snare, hats and background noise; only the noise in the break.
    lines = 0.02 * np.random.default_rng(3).random((int((beats[-1] + 1) * FRAME_RATE), 5))
    count = len(beats) - 1
    for step in range(4 * count):
        second = float(np.interp(step / 4, np.arange(count + 1), beats))
        if BREAK[0] <= second < BREAK[1]:
            continue
        at = round(second * FRAME_RATE)
        inside = step % 16
        lines[at : at + 2, 0] += 4.0 * (inside in (0, 6, 10))
        lines[at : at + 2, 2] += 3.0 * (inside in (4, 12))
        lines[at : at + 2, 4] += 2.0 * (inside % 2 == 0) + 0.7 * (inside % 2)
    return lines.astype(np.float32)


@pytest.mark.parametrize("drift", [0.21, 0.45])
def test_a_tempo_drift_within_a_break_loses_no_beat(drift: float) -> None:
    # Within the break, the beats advance by nearly one or two sixteenths in total, and sixteenths
    # are hard to distinguish.
    even = np.arange(140) * 60 / 120
    share = np.clip((even - BREAK[0]) / (BREAK[1] - BREAK[0]), 0, 1)
    beats = even - drift * 0.5 * share * (1 + 0.002 * even)
    found = track_variable_tempo(_drums(beats), 2.0)
    outside = beats[(beats < BREAK[0]) | (beats > BREAK[1])]
    numbers = np.arange(len(beats))[(beats < BREAK[0]) | (beats > BREAK[1])]
    off = found.beat(outside) - numbers
    assert np.abs(off - np.median(off)).max() < 0.06


@pytest.mark.parametrize("phase", np.arange(0.0, 0.5, 0.02))
def test_joined_parts_are_a_grid_for_a_deck_wherever_the_beat_resumes(phase: float) -> None:
    parts = [Part(0.0, Beats.even(2.0)), Part(49.04, Beats.even(2.0, phase))]
    joined = join_parts(parts)
    grid = BeatGrid.through(list(zip(joined.numbers, joined.times, strict=True)))
    for part, second in ((parts[0], 20.0), (parts[1], 60.0)):
        times = part.beats.time(np.arange(2 * second, 2 * second + 8))
        beats = joined.beat(times)
        assert beats == pytest.approx(np.round(beats))
    assert grid.bpm == pytest.approx(120.0, abs=3.0)

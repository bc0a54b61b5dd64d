"""Alignment of grids with onsets that are early as well as late."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.analysis.features import ATTACK_RATE
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.onsets import settle_moving
from crowdstream.analysis.source import Floats

BEATS = 128


def _attacks(times: np.ndarray, seconds: float) -> Floats:
    # Envelopes of notes that decay within 60 ms.
    line = np.full(round(seconds * ATTACK_RATE), 1e-6)
    note = np.exp(-np.arange(round(0.3 * ATTACK_RATE)) / (0.06 * ATTACK_RATE))
    for time in times:
        begin = round(time * ATTACK_RATE)
        line[begin : begin + len(note)] += note[: len(line) - begin]
    return np.stack([line, line], axis=1).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_a_moving_grid_follows_the_mean_of_loosely_played_notes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.arange(BEATS, dtype=np.float64)
    true = 0.5 + 0.5 * numbers + 0.3 * np.sin(numbers / 40)
    notes = np.concatenate([true + rng.normal(0.0, 0.012, BEATS) for _player in range(3)])
    attacks = _attacks(notes, 0.5 * BEATS + 2)
    rough = Beats(numbers[::8], np.interp(numbers[::8], numbers, true) + 0.004)
    found = settle_moving(attacks, rough, 0.5 * BEATS + 2)
    error = found.time(numbers) - true
    assert abs(float(np.median(error))) < 0.006

"""A beat grid, and the one tempo of a track that keeps to one.

A steady tempo shows as one sharp line in the spectrum of the onsets of the whole track; how sharp
is a matter of the track's length, so two minutes give 0.01 beats a minute. `moving.py` follows a
tempo that moves; `attacks.py` then puts either grid on the attacks themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crowdstream.analysis.features import FRAME_RATE
from crowdstream.analysis.tempo import Doubles, Floats

PULL = 0.025  # share of the rough tempo by which the exact one may differ
HARMONICS = (1, 2, 4)  # of the beat: quarters, eighths, sixteenths
COHERENCE_WINDOW = 6.0  # s
STEADY = 0.97  # coherence from which a tempo is steady
GAIN = 0.02  # by which a moving grid must be better than an even one


@dataclass
class Beats:
    """A grid: `times` (s) of evenly numbered beats `numbers`; linear between and beyond."""

    numbers: Doubles
    times: Doubles

    @classmethod
    def even(cls, hertz: float, phase: float = 0.0) -> Beats:
        """Beat 0 at `phase` (s), `hertz` beats a second."""
        return cls(np.array([0.0, 1.0]), np.array([phase, phase + 1 / hertz]))

    def time(self, beat: Doubles) -> Doubles:
        """Seconds of beats."""
        return _line(beat, self.numbers, self.times)

    def beat(self, second: Doubles) -> Doubles:
        """Beats of seconds."""
        return _line(second, self.times, self.numbers)

    def shifted(self, beats: float) -> Beats:
        """The same grid with what was beat `beats` as beat 0."""
        return Beats(self.numbers - beats, self.times)

    def whole(self, seconds: float) -> Doubles:
        """All whole beats from 0 to `seconds`."""
        first, last = self.beat(np.array([0.0, seconds]))
        return np.arange(np.ceil(first - 1e-6), last)


def _line(at: Doubles, x: Doubles, y: Doubles) -> Doubles:
    # Interpolation that goes on straight beyond the ends.
    at = np.asarray(at, np.float64)
    found = np.interp(at, x, y)
    low, high = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    found = np.where(at < x[0], y[0] + (at - x[0]) * low, found)
    line: Doubles = np.where(at > x[-1], y[-1] + (at - x[-1]) * high, found)
    return line


def steady_tempo(lines: Floats, hertz: float) -> float:
    """The exact beats a second near `hertz` that all of the track agrees on most."""
    pulse = lines.sum(axis=1)
    pulse = pulse - pulse.mean()
    size = 1 << (4 * len(pulse)).bit_length()
    spectrum = np.abs(np.fft.rfft(pulse, size))
    width = FRAME_RATE / size  # Hz of a bin
    step = width / HARMONICS[-1] / 2
    grid = np.arange(hertz * (1 - PULL), hertz * (1 + PULL), step)
    places = np.arange(len(spectrum)) * width
    # Somewhat more of the middle: the rough tempo is not off by much.
    score = sum(np.interp(grid * number, places, spectrum) for number in HARMONICS)
    score = score * (1 - 4 * np.square(grid / hertz - 1) / PULL)
    return float(grid[int(np.argmax(score))])


def coherence(lines: Floats, beats: Beats) -> float:
    """How well the pulse keeps to the grid all along: 1 is never off."""
    pulse = lines.sum(axis=1)
    turns = beats.beat(np.arange(len(pulse)) / FRAME_RATE)
    width = int(COHERENCE_WINDOW * FRAME_RATE)
    count = max(1, len(pulse) // width)
    best = 0.0
    for number in HARMONICS:
        wave = pulse * np.exp(-2j * np.pi * number * turns)
        parts = np.array([part.sum() for part in np.array_split(wave, count)])
        length = float(np.abs(parts).sum())
        best = max(best, abs(complex(parts.sum())) / max(length, 1e-9))
    return best

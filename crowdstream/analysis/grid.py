"""The beat grid, and the exact tempo of a steady track.

A steady tempo appears as one sharp line in the spectrum of the onset detection function of the
whole track. Its width depends on the length of the track: two minutes give a resolution of
0.01 BPM. `variable_tempo.py` tracks a variable tempo; `onsets.py` then aligns either kind of grid
with the onsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crowdstream.analysis.features import FRAME_RATE
from crowdstream.analysis.tempo import Doubles, Floats

MAX_TEMPO_ERROR = 0.025  # maximum relative difference of the exact tempo from the rough one
HARMONICS = (1, 2, 4)  # of the beat: quarters, eighths, sixteenths
COHERENCE_WINDOW = 6.0  # s
STEADY = 0.97  # minimum coherence of a steady tempo
GAIN = 0.02  # minimum gain of coherence that justifies a variable grid


@dataclass
class Beats:
    """A beat grid: the times (s) of the beats `numbers`, linear between and beyond them."""

    numbers: Doubles
    times: Doubles

    @classmethod
    def even(cls, hertz: float, phase: float = 0.0) -> Beats:
        """Return a steady grid with beat 0 at `phase` (s) and `hertz` beats per second."""
        return cls(np.array([0.0, 1.0]), np.array([phase, phase + 1 / hertz]))

    def time(self, beat: Doubles) -> Doubles:
        """Convert beats to times in seconds."""
        return _line(beat, self.numbers, self.times)

    def beat(self, second: Doubles) -> Doubles:
        """Convert times in seconds to beats."""
        return _line(second, self.times, self.numbers)

    def shifted(self, beats: float) -> Beats:
        """Return the grid renumbered such that the previous beat `beats` is beat 0."""
        return Beats(self.numbers - beats, self.times)

    def whole(self, seconds: float) -> Doubles:
        """Return all whole beats between the times 0 and `seconds`."""
        first, last = self.beat(np.array([0.0, seconds]))
        return np.arange(np.ceil(first - 1e-6), last)


def _line(at: Doubles, x: Doubles, y: Doubles) -> Doubles:
    # Linear interpolation, with linear extrapolation beyond the ends.
    at = np.asarray(at, np.float64)
    found = np.interp(at, x, y)
    low, high = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    found = np.where(at < x[0], y[0] + (at - x[0]) * low, found)
    line: Doubles = np.where(at > x[-1], y[-1] + (at - x[-1]) * high, found)
    return line


def steady_tempo(lines: Floats, hertz: float) -> float:
    """Return the exact tempo near `hertz`, in beats per second, of the whole track.

    It maximizes the spectrum of the summed onset functions at `HARMONICS` of the beat.
    """
    pulse = lines.sum(axis=1)
    pulse = pulse - pulse.mean()
    size = 1 << (4 * len(pulse)).bit_length()
    spectrum = np.abs(np.fft.rfft(pulse, size))
    width = FRAME_RATE / size  # Hz of a bin
    step = width / HARMONICS[-1] / 2
    grid = np.arange(hertz * (1 - MAX_TEMPO_ERROR), hertz * (1 + MAX_TEMPO_ERROR), step)
    places = np.arange(len(spectrum)) * width
    # Prefer tempi near the rough one, whose error is small.
    score = sum(np.interp(grid * number, places, spectrum) for number in HARMONICS)
    score = score * (1 - 4 * np.square(grid / hertz - 1) / MAX_TEMPO_ERROR)
    return float(grid[int(np.argmax(score))])


def coherence(lines: Floats, beats: Beats) -> float:
    """Return the phase coherence of the onsets with the grid over the whole track, 0 to 1.

    It is 1 if the phase of the onsets within the beat never changes.
    """
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

"""The beat grid, and the exact tempo of a steady track.

A steady tempo appears as one sharp line in the spectrum of the onset detection function of the
whole track. Its width depends on the length of the track: two minutes give a resolution of
0.01 BPM. `variable_tempo.py` tracks a variable tempo; `onsets.py` then aligns either kind of grid
with the onsets.

Detect grids that may be wrong: the fit of a grid is measured window by window, as the share of the
onsets that it explains, relative to the best steady tempo of the same window.

The limits were set on generated tracks of seeds 20000 to 20047 and pairs of these;
docs/development/analysis.md lists the results with other tracks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crowdstream.analysis.features import FRAME_RATE
from crowdstream.analysis.memo import per_array
from crowdstream.analysis.tempo import Doubles, Floats

Complexes = npt.NDArray[np.complex128]

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
    spectrum = _spectrum(lines)
    width = FRAME_RATE / (2 * (len(spectrum) - 1))  # Hz of a bin
    step = width / HARMONICS[-1] / 2
    grid = np.arange(hertz * (1 - MAX_TEMPO_ERROR), hertz * (1 + MAX_TEMPO_ERROR), step)
    # Prefer tempi near the rough one, whose error is small.
    score = sum(_at(grid * (number / width), spectrum) for number in HARMONICS)
    score = score * (1 - 4 * np.square(grid / hertz - 1) / MAX_TEMPO_ERROR)
    return float(grid[int(np.argmax(score))])


@per_array
def _spectrum(lines: Floats) -> Doubles:
    # The magnitude spectrum of the summed onset functions, up to the highest harmonic in use.
    pulse = lines.sum(axis=1)
    pulse = pulse - pulse.mean()
    return np.asarray(np.abs(np.fft.rfft(pulse, 1 << (4 * len(pulse)).bit_length())))


def _at(places: Doubles, rows: Doubles) -> Doubles:
    # Linear interpolation of the last axis at fractional indices.
    low = np.minimum(places.astype(np.int64), rows.shape[-1] - 2)
    share = places - low
    found: Doubles = rows[..., low] * (1 - share) + rows[..., low + 1] * share
    return found


def coherence(lines: Floats, beats: Beats) -> float:
    """Return the phase coherence of the onsets with the grid over the whole track, 0 to 1.

    It is 1 if the phase of the onsets within the beat never changes.
    """
    pulse = lines.sum(axis=1)
    turns = beats.beat(np.arange(len(pulse)) / FRAME_RATE)
    width = int(COHERENCE_WINDOW * FRAME_RATE)
    count = max(1, len(pulse) // width)
    best = 0.0
    for carrier in _waves(turns):
        parts = np.array([part.sum() for part in np.array_split(pulse * carrier, count)])
        length = float(np.abs(parts).sum())
        best = max(best, abs(complex(parts.sum())) / max(length, 1e-9))
    return best


def _waves(turns: Doubles) -> Iterator[Complexes]:
    # The complex waves of `HARMONICS`, each of which is the square of the one before.
    wave: Complexes = np.exp(-2j * np.pi * turns)
    for number in HARMONICS:
        if number > 1:
            wave = wave * wave
        yield wave


WINDOW, HOP = 10.0, 2.5  # s
MAX_WINDOWS = 400  # the hop is longer for longer sounds
# Range of the possible tempi in beats per second, and their relative distance.
MIN_BEAT_HZ, MAX_BEAT_HZ, STEP = 0.9, 3.5, 0.01
QUIET = 0.25  # of the mean onset strength: a quieter window has no beats that a grid could miss
BAD_WINDOWS = 4  # consecutive bad windows, 17.5 s, that count: shorter ones are fills and breaks
MIN_FIT = 0.65  # minimum fit: steady tracks have 0.75 or more, wrong grids 0.57 or less


def hop_frames(lines: Floats) -> int:
    """Return the distance between two windows in frames."""
    spare = len(lines) - WINDOW * FRAME_RATE
    return max(int(HOP * FRAME_RATE), -(-int(spare) // MAX_WINDOWS))


def window_scores(lines: Floats) -> tuple[Doubles, Doubles]:
    """Score how well each possible tempo explains each window.

    Returns the tempi in beats per second, and scores `(windows, tempi)`; the best score in each
    window is 1. There are no windows if the sound is shorter than one.
    """
    windows = _windows(lines)
    return windows.hertz, windows.scores / np.maximum(windows.best[:, None], 1e-9)


def worst_fit(lines: Floats, beats: Beats) -> float:
    """Return the fit of a grid in its worst passage of `BAD_WINDOWS` windows.

    The fit is about 1 if no other tempo explains the onsets better. `lines` holds the onset
    functions of `tempo.normalize_onsets`.
    """
    windows = _windows(lines)
    if not len(windows.parts):
        return 1.0
    count, width = windows.parts.shape
    turns = beats.beat(np.arange(len(lines)) / FRAME_RATE)
    own = np.zeros(count)
    for wave in _waves(turns):
        for at, first in enumerate(windows.first):
            own[at] += abs(windows.parts[at] @ wave[first : first + width])
    kept = np.where(windows.quiet, 1.0, own / np.maximum(windows.best, 1e-9))
    rows = [max(kept[at : at + BAD_WINDOWS]) for at in range(max(1, count - BAD_WINDOWS + 1))]
    return float(min(rows))


@dataclass(frozen=True)
class _Windows:
    """The windows of the summed onset functions.

    hertz: the possible tempi in beats per second.
    first: the first frame of each window.
    parts: the samples, without their mean, `(windows, frames)`.
    quiet: whether a window has hardly any onsets.
    scores: how well each tempo explains each window, `(windows, tempi)`.
    best: the highest score of each window.
    """

    hertz: Doubles
    first: list[int]
    parts: Doubles
    quiet: npt.NDArray[np.bool_]
    scores: Doubles
    best: Doubles


@per_array
def _windows(lines: Floats) -> _Windows:
    pulse = lines.sum(axis=1)
    width = int(WINDOW * FRAME_RATE)
    size = 1 << (2 * width).bit_length()
    hertz = np.exp(np.arange(np.log(MIN_BEAT_HZ), np.log(MAX_BEAT_HZ), STEP))
    first = list(range(0, len(pulse) - width + 1, hop_frames(lines)))
    raw = np.zeros((len(first), width))
    for at, begin in enumerate(first):
        raw[at] = pulse[begin : begin + width]
    means = raw.mean(axis=1)
    parts = (raw - means[:, None]) * np.hanning(width)
    spectra = np.abs(np.fft.rfft(parts, size, axis=1))
    places = hertz * (size / FRAME_RATE)
    scores = np.zeros((len(first), len(hertz)))
    for number in HARMONICS:
        scores += _at(number * places, spectra)
    quiet = means < QUIET * float(pulse.mean())
    return _Windows(hertz, first, parts, quiet, scores, scores.max(axis=1, initial=0.0))

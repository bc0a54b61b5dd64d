"""Tempo estimation: the candidate tempi of a track, and their traits.

The autocorrelation of the onset detection functions (Ellis, "Beat Tracking by Dynamic
Programming", 2007) shows at which lags the music repeats. The strongest periodicities and their
multiples and fractions (see `RELATIVES`) are the candidates. A linear model chooses between them
by the activity of kick, snare and hats at their subdivisions; its weights are fitted by
`benchmarks/fit_analysis.py`. The usual fixed prior over tempi makes octave errors, such
as 70 for 140 BPM; here, the prior is one of many traits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crowdstream.analysis.features import FRAME_RATE
from crowdstream.analysis.memo import per_array

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

MIN_BPM, MAX_BPM = 55.0, 205.0
MAX_LAG = 9.0  # s: two bars at 55 BPM
RELATIVES = (1 / 3, 1 / 2, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 2.0, 3.0)
BASES = 3  # number of strongest periodicities whose relatives become candidates
SAME = 0.03  # relative difference below which two candidates are the same
SUBDIVISIONS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)  # beats
NEAR = 0.025  # relative tolerance of a lag: tempi vary
AVERAGE = 0.6  # s: window of the moving average that is subtracted from the onset functions
PAIRS = 0.5  # share of the sound's length up to which lags count
CENTRE = 120.0  # BPM


@dataclass(frozen=True)
class Candidate:
    """A candidate tempo, in beats per second, and the traits by which it is judged."""

    hertz: float
    traits: Doubles


def normalize_onsets(onsets: Floats) -> Floats:
    """Normalize the onset detection functions of all bands, `(n, 5)`.

    Subtracts a moving average, half-wave rectifies, and scales each band to an RMS value of 1.
    """
    width = int(AVERAGE * FRAME_RATE)
    if not len(onsets):
        return onsets
    sums = np.cumsum(np.pad(onsets.astype(np.float64), ((width // 2 + 1, width // 2), (0, 0)),
                            "edge"), axis=0)  # fmt: skip
    local = (sums[width:] - sums[:-width])[: len(onsets)] / width
    out = np.maximum(onsets - local.astype(np.float32), 0.0)
    scale = np.sqrt(np.mean(np.square(out), axis=0))
    made: Floats = (out / np.maximum(scale, 1e-9)).astype(np.float32, copy=False)
    return made


def _smooth(lines: Floats) -> Floats:
    # Over 5 frames, 29 ms, so that slightly early and late notes still coincide.
    kernel = np.array([0.25, 0.75, 1.0, 0.75, 0.25], np.float32)
    padded = np.pad(lines, ((2, 2), (0, 0)))
    out: Floats = sum(
        (weight * padded[at : at + len(lines)] for at, weight in enumerate(kernel)),
        np.zeros_like(lines),
    )
    return out


@per_array
def autocorrelation(lines: Floats) -> Doubles:
    """Return the autocorrelation of each column up to `MAX_LAG`: `(lags, columns)`.

    It is 1 at lag 0, and compensated for the smaller number of pairs at long lags.
    """
    lines = _smooth(lines)
    lines = lines - lines.mean(axis=0)
    lags = int(MAX_LAG * FRAME_RATE)
    size = 1 << (len(lines) + lags).bit_length()
    found = np.zeros((lags, lines.shape[1]))
    for column in range(lines.shape[1]):
        spectrum = np.fft.rfft(lines[:, column], size)
        line = np.fft.irfft(np.square(spectrum.real) + np.square(spectrum.imag), size)[:lags]
        found[:, column] = line / max(float(line[0]), 1e-9)
    # Compensate for the smaller number of pairs at long lags.
    found /= np.maximum(1 - np.arange(lags) / max(len(lines), 1), 0.1)[:, None]
    return found


def repeat_at(curve: Doubles, seconds: float) -> Doubles:
    """Return the maximum of each column of `autocorrelation` near a lag in seconds."""
    low = int(seconds * (1 - NEAR) * FRAME_RATE)
    high = math.ceil(seconds * (1 + NEAR) * FRAME_RATE) + 1
    part = curve[min(low, len(curve) - 1) : max(high, low + 1)]
    found: Doubles = part.max(axis=0) if len(part) else np.zeros(curve.shape[1])
    return found


def _bases(curve: Doubles) -> list[float]:
    # The tempi (beats per second) at whose multiples and fractions the music repeats most.
    whole = curve @ np.array([1.0, 0.8, 1.0, 0.6, 0.8])
    hertz = np.exp(np.arange(math.log(0.95), math.log(3.6), 0.004))
    scores = np.zeros(len(hertz))
    places = np.arange(len(whole))
    for beats, weight in ((0.25, 0.5), (0.5, 0.8), (1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (8.0, 0.5)):
        lag = beats / hertz * FRAME_RATE
        inside = lag < len(whole) - 1
        scores += np.where(inside, weight * np.interp(lag, places, whole), 0.0)
    is_peak = np.flatnonzero((scores[1:-1] > scores[:-2]) & (scores[1:-1] >= scores[2:])) + 1
    best = is_peak[np.argsort(-scores[is_peak])][:BASES]
    return [float(hertz[at]) for at in best]


def candidates(lines: Floats) -> list[Candidate]:
    """Return the candidate tempi with their traits, given a result of `normalize_onsets`.

    The list is empty for sounds shorter than 2 s or without onsets.
    """
    if len(lines) < 2 * FRAME_RATE or not np.any(lines):
        return []
    curve = autocorrelation(lines)
    found: list[float] = []
    for base in _bases(curve):
        for relative in RELATIVES:
            hertz = base * relative
            if MIN_BPM <= 60 * hertz <= MAX_BPM and all(
                abs(hertz / other - 1) > SAME for other in found
            ):
                found.append(hertz)
    grouped = np.stack([curve[:, 0], 0.5 * (curve[:, 1] + curve[:, 2]), curve[:, 4]], axis=1)
    strength = [_strength(curve, hertz) for hertz in found]
    most = max([1e-6, *strength])
    return [
        Candidate(hertz, _traits(grouped, hertz, own / most))
        for hertz, own in zip(found, strength, strict=True)
    ]


def regularity(lines: Floats, found: list[Candidate]) -> float:
    """Return the pulse clarity: mean autocorrelation at the best of these tempi.

    It is about 0 for noise, and at most 1.
    """
    curve = autocorrelation(lines)
    longest = PAIRS * len(lines) / FRAME_RATE  # longer lags have too few pairs to be meaningful
    means = []
    for candidate in found:
        lags = [beats / candidate.hertz for beats in (1.0, 2.0, 4.0, 8.0)]
        repeats = [float(repeat_at(curve, lag).mean()) for lag in lags if lag < longest]
        means.append(sum(repeats) / max(len(repeats), 1))
    return max(means, default=0.0)


def _strength(curve: Doubles, hertz: float) -> float:
    return float(sum(repeat_at(curve, beats / hertz).sum() for beats in (0.5, 1.0, 2.0, 4.0)))


def _traits(grouped: Doubles, hertz: float, strength: float) -> Doubles:
    octave = math.log2(60 * hertz / CENTRE)
    repeats = np.concatenate([repeat_at(grouped, beats / hertz) for beats in SUBDIVISIONS])
    # A kick on every beat, or on every half beat: products of two repeats express this.
    half, whole = (repeats[3 * SUBDIVISIONS.index(beats)] for beats in (0.5, 1.0))
    kick = [half * whole, half**2, whole**2]
    return np.concatenate(
        [[octave, octave**2, octave**3, strength], repeats, repeats[:12] * octave, kick]
    )

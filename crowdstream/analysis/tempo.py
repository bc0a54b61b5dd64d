"""Which tempi are possible, and what speaks for each.

Autocorrelation of the onsets (Ellis, "Beat Tracking by Dynamic Programming", 2007) says at which
lags the music repeats itself. All halves, doubles and thirds of the strongest beat are
candidates; what kick, snare and hats do at each candidate's subdivisions decides between them, with
weights fitted to made tracks (`benchmarks/fit_analysis.py`). A fixed prior for tempi, as is usual,
takes 70 for 140: here the prior is one of many features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crowdstream.analysis.features import FRAME_RATE

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

MIN_BPM, MAX_BPM = 55.0, 205.0
MAX_LAG = 9.0  # s: two bars of 55 beats a minute
RELATIVES = (1 / 3, 1 / 2, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 2.0, 3.0)
BASES = 3  # strongest beats whose relatives are looked at
SAME = 0.03  # candidates closer than this are one
SUBDIVISIONS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)  # beats
NEAR = 0.025  # share of a lag by which a repeat may come early or late: tempi that move
AVERAGE = 0.6  # s: onsets are what stands out from an average this long
PAIRS = 0.5  # of the sound's length: lags up to which a repeat counts
CENTRE = 120.0  # beats a minute


@dataclass(frozen=True)
class Candidate:
    """A possible tempo: beats a second, and what is known of it."""

    hertz: float
    traits: Doubles


def pulses(onsets: Floats) -> Floats:
    """What stands out of each band from its surroundings, each band scaled alike: `(n, 5)`."""
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
    # Over 5 frames, 29 ms: a swung or a hurried note is still the same note.
    kernel = np.array([0.25, 0.75, 1.0, 0.75, 0.25], np.float32)
    padded = np.pad(lines, ((2, 2), (0, 0)))
    out: Floats = sum(
        (weight * padded[at : at + len(lines)] for at, weight in enumerate(kernel)),
        np.zeros_like(lines),
    )
    return out


def autocorrelation(lines: Floats) -> Doubles:
    """Of each column, up to `MAX_LAG`, 1 at lag 0: `(lags, columns)`."""
    lines = _smooth(lines)
    lines = lines - lines.mean(axis=0)
    lags = int(MAX_LAG * FRAME_RATE)
    size = 1 << (len(lines) + lags).bit_length()
    found = np.zeros((lags, lines.shape[1]))
    for column in range(lines.shape[1]):
        spectrum = np.fft.rfft(lines[:, column], size)
        line = np.fft.irfft(np.square(spectrum.real) + np.square(spectrum.imag), size)[:lags]
        found[:, column] = line / max(float(line[0]), 1e-9)
    # Long lags have fewer pairs.
    found /= np.maximum(1 - np.arange(lags) / max(len(lines), 1), 0.1)[:, None]
    return found


def repeat_at(curve: Doubles, seconds: float) -> Doubles:
    """The strongest repeat near that lag, per column. `curve`: of `autocorrelation`."""
    low = int(seconds * (1 - NEAR) * FRAME_RATE)
    high = math.ceil(seconds * (1 + NEAR) * FRAME_RATE) + 1
    part = curve[min(low, len(curve) - 1) : max(high, low + 1)]
    found: Doubles = part.max(axis=0) if len(part) else np.zeros(curve.shape[1])
    return found


def _bases(curve: Doubles) -> list[float]:
    # Beats a second at whose multiples and parts the music repeats itself most.
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
    """Possible tempi, with their traits; empty where nothing repeats. `lines`: of `pulses`."""
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
    """How much the sound repeats itself at the best of these tempi: about 0 for noise, up to 1."""
    curve = autocorrelation(lines)
    longest = PAIRS * len(lines) / FRAME_RATE  # longer lags have too few pairs to say anything
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
    # A kick on every beat, or on every half one: that is two things at once.
    half, whole = (repeats[3 * SUBDIVISIONS.index(beats)] for beats in (0.5, 1.0))
    kick = [half * whole, half**2, whole**2]
    return np.concatenate(
        [[octave, octave**2, octave**3, strength], repeats, repeats[:12] * octave, kick]
    )

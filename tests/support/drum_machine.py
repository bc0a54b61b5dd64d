"""Kick, snare and hat at exactly known beats, as a reference for beat grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RATE = 22_050  # Hz: the rate of the analysis, so that nothing is resampled
Sound = npt.NDArray[np.float32]


def _hit(seconds: float, high: float, low: float, decay: float, noise: float, seed: int) -> Sound:
    t = np.arange(int(seconds * RATE)) / RATE
    hertz = low + (high - low) * np.exp(-40 * t)
    tone = np.sin(2 * np.pi * np.cumsum(hertz) / RATE)
    hiss = np.random.default_rng(seed).standard_normal(len(t))
    return (((1 - noise) * tone + noise * hiss) * np.exp(-t / decay)).astype(np.float32)


KICK = _hit(0.25, 150, 50, 0.09, 0.02, 1)
SNARE = _hit(0.2, 250, 180, 0.06, 0.75, 2)
HAT = np.diff(_hit(0.06, 8000, 8000, 0.015, 1, 3), prepend=np.float32(0))


def beats_at(bpm: float, seconds: float, start: float = 0.0) -> npt.NDArray[np.float64]:
    """Return the beats of a steady tempo in seconds, from `start` up to `seconds`."""
    return np.arange(start, seconds - 1e-9, 60 / bpm)


def drums(bpm: float, seconds: float, start: float = 0.0, beats_per_bar: int = 4) -> Sound:
    """Return a steady mono beat: a kick on each beat, a snare on every other one, hats between.

    In bars of three, a kick is followed by two snares.
    """
    made: Sound = np.zeros(round(seconds * RATE), np.float32)
    for number, at in enumerate(beats_at(bpm, seconds, start)):
        if beats_per_bar == 4:
            _place(made, at, KICK, 0.55)
            if number % 2:
                _place(made, at, SNARE, 0.35)
        else:
            _place(made, at, SNARE if number % beats_per_bar else KICK, 0.5)
        _place(made, at + 30 / bpm, HAT, 0.15)
    made *= np.float32(0.8)
    return made


def chords(bpm: float, seconds: float, root: float = 220.0, minor: bool = True) -> Sound:
    """Return mono triads: on the root in most bars, on the fourth and fifth in others."""
    t = np.arange(round(seconds * RATE)) / RATE
    bar = 240 / bpm
    step = np.array([0, 0, 5, 7])[(t // bar).astype(int) % 4]
    made = np.zeros(len(t))
    for interval in (0, 3 if minor else 4, 7):
        phase = 2 * np.pi * np.cumsum(root * 2 ** ((step + interval) / 12)) / RATE
        made += np.sin(phase) + 0.3 * np.sin(2 * phase)
    envelope = np.minimum(1, (t % bar) / 0.02) * np.exp(-(t % bar) * 0.8)
    sound: Sound = (0.06 * made * envelope).astype(np.float32)
    return sound


def _place(into: Sound, at: float, hit: Sound, gain: float) -> None:
    first = round(at * RATE)
    part = into[first : first + len(hit)]
    part += gain * hit[: len(part)]


def worst_error(
    anchors: Sequence[tuple[float, float]], beats: npt.NDArray[np.float64]
) -> float:
    """Return the largest distance in seconds from one of the beats to the grid's nearest beat."""
    number, second = np.array(anchors, np.float64).T
    first, last = number[0] - 8, number[-1] + len(beats) + 8
    whole = np.arange(np.ceil(first), last)
    steps = np.diff(second) / np.diff(number)
    at = np.clip(np.searchsorted(number, whole, "right") - 1, 0, len(steps) - 1)
    places = second[at] + (whole - number[at]) * steps[at]
    return float(max(np.abs(places - beat).min() for beat in beats))

"""Downbeat detection: which sixteenth of a grid begins the bar.

The traits of each of the 16 possible positions of the downbeat are the mean onset strength of each
band in the 16 steps of the bar, and the novelty of harmony, bass and spectrum at these steps. A
linear model chooses the most likely position; its weights are fitted to generated tracks
(`benchmarks/fit_analysis.py`).
"""

from __future__ import annotations

import numpy as np

from crowdstream.analysis.chroma import FINE
from crowdstream.analysis.features import FRAME_RATE, SLOW_RATE, Features
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.tempo import Doubles, Floats

STEPS = 16  # sixteenths per bar
BINS = 48  # histogram bins per beat, to find the phase of the sixteenths
NEAR = 0.2  # of a sixteenth: tolerance for early and late notes
HARMONY_BEATS, SECTION_BEATS = 2.0, 8.0  # length of the passages compared for novelty


def sixteenth_offset(lines: Floats, beats: Beats) -> float:
    """Return the phase of the sixteenths relative to the grid, in beats from 0 to 0.25."""
    pulse = lines.sum(axis=1)
    turns = beats.beat(np.arange(len(pulse)) / FRAME_RATE)
    place = np.floor((turns % 1.0) * BINS).astype(np.int64) % BINS
    folded = np.bincount(place, pulse, BINS) / np.maximum(np.bincount(place, minlength=BINS), 1)
    kernel = np.array([0.5, 1.0, 0.5])
    folded = np.convolve(np.concatenate([folded[-1:], folded, folded[:1]]), kernel, "valid")
    # Squares emphasize the loud sixteenths, whose positions swing does not change.
    parts = np.square(folded - folded.min()).reshape(4, BINS // 4).sum(axis=0)
    return float((int(np.argmax(parts)) + 0.5) / BINS)


def _sampled(lines: Floats, beats: Beats, seconds: float) -> tuple[Doubles, Doubles, Floats]:
    # The numbers and times of the sixteenths, and each band's maximum onset near each of them.
    first, last = beats.beat(np.array([0.0, seconds])) * 4
    numbers = np.arange(np.ceil(first), np.floor(last))
    times = beats.time(numbers / 4)
    length = beats.time((numbers + 1) / 4) - times
    found = np.zeros((len(numbers), lines.shape[1]), np.float32)
    for share in (-NEAR, -NEAR / 2, 0.0, NEAR / 2, NEAR):
        at = np.rint((times + share * length) * FRAME_RATE).astype(np.int64)
        np.maximum(found, lines[np.clip(at, 0, len(lines) - 1)], out=found)
    return numbers, times, found


def _means(line: Doubles, rate: float, begin: Doubles, end: Doubles) -> Doubles:
    # Mean rows between the times `begin` and `end`. `line` holds cumulative sums, with a first
    # row of zeros.
    low = np.clip(np.rint(begin * rate).astype(np.int64), 0, len(line) - 1)
    high = np.clip(np.rint(end * rate).astype(np.int64), 0, len(line) - 1)
    means: Doubles = (line[high] - line[low]) / np.maximum(high - low, 1)[:, None]
    return means


def _sums(rows: Doubles) -> Doubles:
    return np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])


def _classes(fine: Floats) -> Doubles:
    classes = fine.reshape(len(fine), 12, FINE // 12).sum(axis=2).astype(np.float64)
    unit: Doubles = classes / np.maximum(np.linalg.norm(classes, axis=1, keepdims=True), 1e-6)
    return unit


def _changes(rows: Doubles, rate: float, times: Doubles, reach: Doubles, cosine: bool) -> Doubles:
    sums = _sums(rows)
    before = _means(sums, rate, times - reach, times)
    after = _means(sums, rate, times, times + reach)
    if not cosine:
        return np.asarray(np.linalg.norm(after - before, axis=1))
    product = (before * after).sum(axis=1)
    scale = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return np.where(scale > 1e-9, 1 - product / np.maximum(scale, 1e-9), 0.0)


def _by_step(values: Doubles, numbers: Doubles) -> Doubles:
    step = numbers.astype(np.int64) % STEPS
    sums = np.bincount(step, values, STEPS)
    mean: Doubles = sums / np.maximum(np.bincount(step, minlength=STEPS), 1)
    return np.asarray((mean - mean.mean()) / max(float(mean.std()), 1e-6))


def log_bands(features: Features) -> Doubles:
    """Return the band powers in dB, with a noise floor relative to the loudest frame: `(k, 8)`."""
    power = features.bands.astype(np.float64)
    loudest = float(power.sum(axis=1).max(initial=0.0))
    return np.asarray(10 * np.log10(power + 1e-5 * loudest + 1e-12))


def bar_traits(features: Features, lines: Floats, beats: Beats) -> Doubles:
    """Return the traits of each sixteenth as the downbeat: `(16, traits)`.

    `lines` is a result of `tempo.normalize_onsets`; `beats` is a grid whose sixteenths are in
    phase with the music.
    """
    numbers, times, sampled = _sampled(lines, beats, features.seconds)
    beat = beats.time(numbers / 4 + 1) - times
    columns = [_by_step(band, numbers) for band in sampled.T.astype(np.float64)]
    slow = _changes(log_bands(features), SLOW_RATE, times, SECTION_BEATS * beat, False)
    treble = _classes(features.pitches.treble())
    bass = _classes(features.pitches.bass())
    rate = features.pitches.rate
    changes = [slow, np.square(slow), np.square(np.square(slow))]
    changes += [_changes(rows, rate, times, HARMONY_BEATS * beat, True) for rows in (treble, bass)]
    novelty = [_by_step(change, numbers) for change in changes]
    rolls = np.arange(STEPS)
    traits = [np.stack([np.roll(column, -at) for at in rolls]) for column in columns]
    traits += [
        np.stack([np.roll(column, -at)[[0, 2, 4, 8, 12, 14]] for at in rolls])
        for column in novelty
    ]
    return np.concatenate(traits, axis=1)

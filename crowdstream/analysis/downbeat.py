"""Meter and downbeat: how many beats a bar has, and which sixteenth of a grid begins it.

The meter shows in the number of beats after which onsets and harmony repeat, and in the division of
the beat in halves or thirds. The traits of each possible position of the downbeat, 16 in a bar of
four beats, are the mean onset strength of each band in the steps of the bar, and the novelty of
harmony, bass and spectrum at these steps. Linear models choose the most likely meter and position;
their weights are fitted by `benchmarks/fit_analysis.py`.
"""

from __future__ import annotations

import numpy as np

from crowdstream.analysis.chroma import FINE
from crowdstream.analysis.features import FRAME_RATE, SLOW_RATE, Features
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.tempo import Doubles, Floats

METERS = (4, 3, 2)  # beats per bar; those of two beats are divided in thirds, as in 6/8
BEAT_STEPS = 4  # steps per beat
REPEATS = (1, 2, 3, 4, 5, 6, 8, 12)  # beats after which a bar or a phrase may repeat
# Those of them that are no whole bars, by meter.
OTHER_REPEATS = {4: (3, 5, 6), 3: (4, 5, 8), 2: (3, 5)}
BEAT_BINS = 12  # parts of a beat: both halves and thirds are whole numbers of them
# Steps of the bar at which novelty is a trait, by meter: the first beats and their neighbours.
NOVEL_STEPS = {4: (0, 2, 4, 8, 12, 14), 3: (0, 2, 4, 8, 10), 2: (0, 2, 4, 6)}
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


def _by_step(values: Doubles, numbers: Doubles, steps: int) -> Doubles:
    step = numbers.astype(np.int64) % steps
    sums = np.bincount(step, values, steps)
    mean: Doubles = sums / np.maximum(np.bincount(step, minlength=steps), 1)
    return np.asarray((mean - mean.mean()) / max(float(mean.std()), 1e-6))


def beat_strengths(lines: Floats, beats: Beats, seconds: float) -> Doubles:
    """Return the onset strength on each of the four steps of a beat, relative to the strongest one.

    `(4, 2)`: of all bands, and of the lowest one. `seconds` is the length of the track.
    """
    numbers, _times, sampled = _sampled(lines, beats, seconds)
    step = numbers.astype(np.int64) % BEAT_STEPS
    rows = np.stack([sampled.sum(axis=1), sampled[:, 0]], axis=1).astype(np.float64)
    counts = np.maximum(np.bincount(step, minlength=BEAT_STEPS), 1)
    means = np.stack(
        [np.bincount(step, row, BEAT_STEPS) / counts for row in rows.T], axis=1
    )
    return np.asarray(means / np.maximum(means.max(axis=0), 1e-9))


def log_bands(features: Features) -> Doubles:
    """Return the band powers in dB, with a noise floor relative to the loudest frame: `(k, 8)`."""
    power = features.bands.astype(np.float64)
    loudest = float(power.sum(axis=1).max(initial=0.0))
    return np.asarray(10 * np.log10(power + 1e-5 * loudest + 1e-12))


def meter_traits(features: Features, lines: Floats, beats: Beats) -> Doubles:
    """Return the traits of each of `METERS`: `(3, traits)`.

    `lines` is a result of `tempo.normalize_onsets`; `beats` is a grid in phase with the beats.
    """
    first, last = beats.beat(np.array([0.0, features.seconds]))
    numbers = np.arange(np.ceil(first), np.floor(last))
    if len(numbers) < 2 * REPEATS[-1]:
        return np.zeros((len(METERS), len(METERS) * (2 * len(REPEATS) + 4)))
    edges = beats.time(np.append(numbers, numbers[-1] + 1))
    pulse = _means(
        _sums(lines.astype(np.float64)), FRAME_RATE,
        beats.time((numbers[:, None] + np.arange(BEAT_BINS) / BEAT_BINS).ravel()),
        beats.time((numbers[:, None] + np.arange(1, BEAT_BINS + 1) / BEAT_BINS).ravel()),
    )  # fmt: skip
    onsets = pulse.reshape(len(numbers), -1)
    chroma = [_classes(part) for part in (features.pitches.treble(), features.pitches.bass())]
    harmony = np.concatenate(
        [_means(_sums(part), features.pitches.rate, edges[:-1], edges[1:]) for part in chroma],
        axis=1,
    )
    repeats = np.concatenate([_repeats(onsets), _repeats(harmony)])
    within = pulse.sum(axis=1).reshape(len(numbers), BEAT_BINS).mean(axis=0)
    within = within / max(float(within.max()), 1e-9)
    # The second eighth, the second and third triplet, and the sixteenths around the eighth.
    parts = [within[[5, 6]].max(), within[4], within[8], within[[3, 9]].mean()]
    own = np.concatenate([repeats, parts])
    return np.kron(np.eye(len(METERS)), own)


def _repeats(rows: Doubles) -> Doubles:
    # The similarity of beats that are `REPEATS` apart, relative to that of any two beats.
    rows = rows - rows.mean(axis=0)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return np.array([float((rows[:-n] * rows[n:]).sum(axis=1).mean()) for n in REPEATS])


def missing_bars(traits: Doubles, meter: int) -> float:
    """Return by how much onsets repeat less after bars of `meter` beats than after other numbers.

    `traits` is a result of `meter_traits`. It is 0 for nearly all grids in the right tempo. At
    another one, a bar has another number of beats: six, for a bar of three at twice its tempo.
    """
    alike = dict(zip(REPEATS, traits[0, : len(REPEATS)].tolist(), strict=True))
    bar = (alike[meter] + alike[2 * meter]) / 2
    return float(max(0.0, max(alike[beats] for beats in OTHER_REPEATS[meter]) - bar))


def bar_traits(features: Features, lines: Floats, beats: Beats, meter: int = 4) -> Doubles:
    """Return the traits of each step of a bar of `meter` beats as the downbeat: `(steps, traits)`.

    `lines` is a result of `tempo.normalize_onsets`; `beats` is a grid whose sixteenths are in
    phase with the music.
    """
    numbers, times, sampled = _sampled(lines, beats, features.seconds)
    beat = beats.time(numbers / 4 + 1) - times
    steps = BEAT_STEPS * meter
    columns = [_by_step(band, numbers, steps) for band in sampled.T.astype(np.float64)]
    slow = _changes(log_bands(features), SLOW_RATE, times, SECTION_BEATS * beat, False)
    treble = _classes(features.pitches.treble())
    bass = _classes(features.pitches.bass())
    rate = features.pitches.rate
    changes = [slow, np.square(slow), np.square(np.square(slow))]
    changes += [_changes(rows, rate, times, HARMONY_BEATS * beat, True) for rows in (treble, bass)]
    novelty = [_by_step(change, numbers, steps) for change in changes]
    rolls = np.arange(steps)
    traits = [np.stack([np.roll(column, -at) for at in rolls]) for column in columns]
    traits += [
        np.stack([np.roll(column, -at)[list(NOVEL_STEPS[meter])] for at in rolls])
        for column in novelty
    ]
    return np.concatenate(traits, axis=1)

"""Track a variable tempo, such as that of live musicians or of a tempo ramp.

The Viterbi algorithm finds the path of the local tempo over overlapping windows. The beats are the
integral of the path. A second Viterbi pass, second by second, corrects the drift of the integral.

Find abrupt changes between steady tempi, and join the grids of the parts into one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from crowdstream.analysis import grid
from crowdstream.analysis.features import ATTACK_RATE, FRAME_RATE, SLOW_RATE, Features
from crowdstream.analysis.grid import HARMONICS, Beats
from crowdstream.analysis.tempo import Doubles, Floats
from crowdstream.audiofile.beatgrid import MAX_BPM
from crowdstream.audiofile.loudness import HOPS_PER_SECOND

Complexes = npt.NDArray[np.complex128]

MAX_DEVIATION = 0.14  # maximum deviation of the local tempo from `hertz`, as the log of their ratio
STEP = 0.0025  # resolution of local tempi, on the same scale
WINDOW, HOP = 10.0, 2.5  # s: length and distance of the windows of local tempi
STIFFNESS = 6.0  # a change by this many percent between two windows costs a score of 1
DRIFT_WINDOWS = (5.0, 3.0)  # s: windows of the first and second measurement of the drift
DRIFT_HOP = 1.0  # s
DRIFT_STEP, MAX_DRIFT = 1 / 64, 1.5  # beats: resolution and maximum of the drift
MAX_DRIFT_CHANGE = 3 / 16  # beats: maximum change of the drift within a second
DRIFT_COST = 600.0  # per squared beat of change within a second
PATTERN_SECONDS = 5.0  # two bars or more of most music
PATTERN_HARMONICS = (0.25, 0.5, 1.0, 2.0)  # of the beat: bars, half bars, beats, eighths
PATTERN_WEIGHT = 2.0  # relative to the phase of the sixteenths
PATTERNS = 6  # passages that are tried as the reference pattern


def track_variable_tempo(lines: Floats, hertz: float) -> Beats:
    """Return a grid that follows the local tempo, which stays near `hertz` (beats per second).

    `lines` is a result of `tempo.normalize_onsets`.
    """
    pulse = lines.sum(axis=1)
    width, hop = int(WINDOW * FRAME_RATE), int(HOP * FRAME_RATE)
    ratios = np.exp(np.arange(-MAX_DEVIATION, MAX_DEVIATION + STEP / 2, STEP))
    t = np.arange(width) / FRAME_RATE
    shape = np.hanning(width).astype(np.float32)
    padded = np.pad(pulse, (width // 2, width))
    starts = np.arange(0, len(pulse), hop)
    parts = np.lib.stride_tricks.sliding_window_view(padded, width)[starts] * shape
    parts -= shape * (parts.sum(axis=1, keepdims=True) / shape.sum())
    scores = np.zeros((len(starts), len(ratios)))
    for number in HARMONICS:
        turns = 2 * np.pi * number * hertz * np.outer(t, ratios)
        real, imaginary = (parts @ wave(turns).astype(np.float32) for wave in (np.cos, np.sin))
        scores += np.hypot(real, imaginary)
    scores /= max(float(scores.max()), 1e-9)
    steps = np.arange(round(STIFFNESS / 100 / STEP) + 1)  # a larger step costs more than it gains
    path = _viterbi(scores, np.asarray(100 * STEP * steps / STIFFNESS, np.float64))
    speed = hertz * ratios[path]
    # The beats are the integral of the tempo.
    seconds = starts / FRAME_RATE
    numbers = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(seconds))])
    if len(seconds) < 2:
        return Beats.even(hertz)
    return _unslip(lines, _bend(pulse, Beats(numbers, seconds)))


def _viterbi(scores: Doubles, cost: Doubles) -> npt.NDArray[np.int64]:
    # The path with the highest total score through `scores`, (times, states). cost[n] is the cost
    # of a transition by n states; transitions by more states are not allowed.
    reach = len(cost) - 1
    both = np.concatenate([cost[:0:-1], cost])
    total = scores[0].copy()
    back = np.zeros(scores.shape, np.int64)
    places = np.arange(scores.shape[1])
    for at in range(1, len(scores)):
        padded = np.pad(total, reach, constant_values=-np.inf)
        options = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1) - both
        best = options.argmax(axis=1)
        back[at] = places + best - reach
        total = options[places, best] + scores[at]
    path = np.zeros(len(scores), np.int64)
    path[-1] = int(total.argmax())
    for at in range(len(scores) - 1, 0, -1):
        path[at - 1] = back[at, path[at]]
    return path


def _carrier(beats: npt.NDArray[np.float64], harmonic: float) -> Complexes:
    # The complex carrier that demodulates a harmonic of the beat, to measure its phase.
    wave: Complexes = np.exp(-2j * np.pi * harmonic * beats).astype(np.complex128, copy=False)
    return wave


def _local(wave: Complexes, centres: npt.NDArray[np.int64], width: float) -> Complexes:
    # Sums over windows of `width` seconds, centred on these frames.
    half = int(width / 2 * FRAME_RATE)
    sums = np.concatenate([[0.0], np.cumsum(wave)])
    found: Complexes = (
        sums[np.minimum(centres + half, len(wave))] - sums[np.maximum(centres - half, 0)]
    )
    return found


def _drifts() -> tuple[Doubles, Doubles]:
    # The possible drifts of a grid in beats, and the costs of changes within a second.
    drifts = np.arange(-MAX_DRIFT, MAX_DRIFT + DRIFT_STEP / 2, DRIFT_STEP, dtype=np.float64)
    steps = np.arange(0, MAX_DRIFT_CHANGE + DRIFT_STEP / 2, DRIFT_STEP, dtype=np.float64)
    costs: Doubles = DRIFT_COST * np.square(steps)
    return drifts, costs


def _drifted(local: Complexes, drifts: Doubles) -> Doubles:
    # How well each drift explains the phase of the sixteenths: (seconds, drifts).
    local = local / max(float(np.percentile(np.abs(local), 75)), 1e-9)
    turn = np.exp(2j * np.pi * 4 * drifts)
    scores: Doubles = np.minimum(np.abs(local), 1.5)[:, None] * np.real(
        np.exp(1j * np.angle(local))[:, None] * turn[None, :]
    )
    return scores


def _moved(beats: Beats, centres: npt.NDArray[np.int64], path: Doubles) -> Beats:
    # Remove the smoothed drift from a grid.
    path = np.convolve(np.pad(path, 2, "edge"), np.hanning(7)[1:-1] / 3.0, "valid")
    at = centres / FRAME_RATE
    numbers = beats.beat(at) - path
    keep = np.concatenate([[True], np.diff(np.maximum.accumulate(numbers)) > 1e-3])
    return Beats(numbers[keep], at[keep]) if keep.sum() > 1 else beats


def _bend(pulse: Floats, beats: Beats) -> Beats:
    # Track the drift of the integral second by second, by the phase of the sixteenths. The drift
    # changes slowly, and stays constant through silence.
    seconds = np.arange(len(pulse)) / FRAME_RATE
    line = pulse - pulse.mean()
    centres = np.arange(0, len(pulse), int(DRIFT_HOP * FRAME_RATE))
    drifts, cost = _drifts()
    for width in DRIFT_WINDOWS:
        local = _local(line * _carrier(beats.beat(seconds), 4), centres, width)
        beats = _moved(beats, centres, drifts[_viterbi(_drifted(local, drifts), cost)])
    return beats


def _unslip(lines: Floats, beats: Beats) -> Beats:
    # All sixteenths look alike, so a passage without drums can shift the grid by a sixteenth. The
    # rhythmic pattern of each band within the bar, before and after the passage, reveals the
    # shift. Several passages are tried as the reference pattern, and the one with the highest
    # score is used.
    turns = beats.beat(np.arange(len(lines)) / FRAME_RATE)
    centres = np.arange(0, len(lines), int(DRIFT_HOP * FRAME_RATE))
    centred = lines - lines.mean(axis=0)
    sixteenths = _carrier(turns, 4)
    drifts, cost = _drifts()
    fine = _drifted(_local(centred.sum(axis=1) * sixteenths, centres, PATTERN_SECONDS), drifts)
    patterns = np.stack([
        _local(band * _carrier(turns, number), centres, PATTERN_SECONDS)
        for number in PATTERN_HARMONICS
        for band in centred.T
    ], axis=1)  # fmt: skip
    norms = np.linalg.norm(patterns, axis=1)
    patterns /= np.maximum(norms, 1e-9)[:, None]
    sure = np.minimum(norms / max(float(np.percentile(norms, 75)), 1e-9), 1.5)
    numbers = np.repeat(PATTERN_HARMONICS, lines.shape[1])
    turn = np.exp(2j * np.pi * np.outer(numbers, drifts))
    clear = np.flatnonzero(norms >= np.median(norms))
    best, most = np.zeros(len(centres), np.int64), -np.inf
    for at in clear[:: max(1, len(clear) // PATTERNS)]:
        alike = np.real((patterns * np.conj(patterns[at])) @ turn)
        scores = fine + PATTERN_WEIGHT * sure[:, None] * alike
        path = _viterbi(scores, cost)
        total = float(scores[np.arange(len(path)), path].sum())
        total -= float(cost[np.abs(np.diff(path))].sum())
        if total > most:
            best, most = path, total
    return _moved(beats, centres, drifts[best])


PRICE = 2.5  # cost of each further part, in windows whose scores must improve by 1
MAX_PARTS = 8
EDGE = 1.0  # s on each side of a change that are excluded from the analysis of the parts
SEARCH = 9.0  # s before and after the approximate change in which the exact change is searched
EARLY = 0.03  # s: a beat this short before a change belongs to the following part
TIE_SECONDS = 0.03  # of mean onset strength: positions that differ by less are equally good


def find_changes(lines: Floats) -> list[float]:
    """Return the approximate times in seconds at which one steady tempo follows another.

    `lines` is a result of `tempo.normalize_onsets`. The list is empty if the tempo is
    constant, or if there are more than `MAX_PARTS` parts. Dynamic programming over the windows of
    `grid.window_scores` finds the changes.
    """
    _hertz, scores = grid.window_scores(lines)
    count = len(scores)
    if count < 2:
        return []
    sums = np.concatenate([np.zeros((1, scores.shape[1])), np.cumsum(scores, axis=0)])
    best, back = np.zeros(count + 1), np.zeros(count + 1, np.int64)
    for end in range(1, count + 1):
        whole = best[:end] + (sums[end] - sums[:end]).max(axis=1) - PRICE
        back[end] = int(whole.argmax())
        best[end] = whole[back[end]]
    edges = [count]
    while edges[-1] > 0:
        edges.append(int(back[edges[-1]]))
    hop = grid.hop_frames(lines) / FRAME_RATE
    inner = edges[-2:0:-1]
    if len(inner) >= MAX_PARTS:
        return []
    return [edge * hop + (grid.WINDOW - hop) / 2 for edge in inner]


def part_of(features: Features, begin: float, end: float) -> Features:
    """Return the features of a part of the sound; `begin` and `end` are in seconds."""

    def cut(rows: Floats, rate: float) -> Floats:
        return rows[round(begin * rate) : round(end * rate)]

    return Features(
        seconds=end - begin, sample_rate=features.sample_rate, names=features.names,
        onsets=cut(features.onsets, FRAME_RATE), attacks=cut(features.attacks, ATTACK_RATE),
        bands=cut(features.bands, SLOW_RATE), stems=cut(features.stems, features.stems_rate),
        stems_rate=features.stems_rate, voice=cut(features.voice, SLOW_RATE),
        pitches=features.pitches.part(begin, end),
        weighted=cut(features.weighted, HOPS_PER_SECOND), lufs=features.lufs,
        peak=features.peak,
    )  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part of a track with its own tempo.

    begin: time in seconds from which the grid holds.
    beats: its grid, in seconds of the whole track; beat 0 is a downbeat.
    """

    begin: float
    beats: Beats


def refine_boundaries(lines: Floats, parts: Sequence[Part]) -> list[Part]:
    """Return the parts with exact boundaries.

    A boundary is the time at which the next grid begins to explain the onsets better than the
    previous one.
    """
    pulse = lines.sum(axis=1).astype(np.float64)
    made = [parts[0]]
    for before, after in pairwise(parts):
        first = max(0, int((after.begin - SEARCH) * FRAME_RATE))
        last = min(len(pulse), int((after.begin + SEARCH) * FRAME_RATE))
        times = np.arange(first, last) / FRAME_RATE
        gain = pulse[first:last] * (_on(before.beats, times) - _on(after.beats, times))
        total = np.concatenate([[0.0], np.cumsum(gain)])
        # A beat that both grids share belongs to the following part, as its first beat.
        tie = TIE_SECONDS * FRAME_RATE * float(pulse.mean())
        begin = first + int(np.argmax(total >= total.max() - tie))
        made.append(Part(begin / FRAME_RATE, after.beats))
    return made


def _on(beats: Beats, times: Doubles) -> Doubles:
    # 1 on a beat, and less elsewhere, with further peaks at eighths and sixteenths.
    turns = beats.beat(times)
    waves: Doubles = np.mean([np.cos(2 * np.pi * n * turns) for n in HARMONICS], axis=0)
    return waves


def join_parts(parts: Sequence[Part]) -> Beats:
    """Join the grids of the parts into one grid with consecutive beat numbers.

    The gap between two parts gets the number of beats that fits the mean of both beat lengths, so
    a synced deck passes the change without a jolt.
    """
    ends = [part.begin for part in parts[1:]]
    rows = [_beats_of(part, end) for part, end in zip(parts, [*ends, None], strict=True)]
    for before, after in pairwise(rows):
        # A beat so short before the next one would be faster than any grid may be.
        while len(before) > 2 and after[0][1] - before[-1][1] < 60 / MAX_BPM:
            before.pop()
        (number, second), (last, at) = after[0], before[-1]
        period = (after[1][1] - second + at - before[-2][1]) / 2
        shift = last + max(1, round((second - at) / period)) - number
        after[:] = [(each + shift, place) for each, place in after]
    # The first and the last anchor describe a steady part.
    kept = [
        pair for row, part in zip(rows, parts, strict=True)
        for pair in (row if len(part.beats.numbers) > 2 else (row[0], row[-1]))
    ]  # fmt: skip
    numbers, times = np.array(kept, np.float64).T
    return Beats(numbers, times)


def _beats_of(part: Part, end: float | None) -> list[tuple[float, float]]:
    # The whole beats of a part, and their times. Of a steady last part, two beats define the tempo.
    zero, one = part.beats.time(np.array([0.0, 1.0]))
    early = EARLY / float(one - zero)
    moves = len(part.beats.numbers) > 2
    first = float(part.beats.beat(np.array([part.begin]))[0])
    begin = int(np.ceil(first - early))
    if end is not None:
        stop = int(np.ceil(float(part.beats.beat(np.array([end]))[0]) - early))
    else:
        stop = int(part.beats.numbers[-1]) + 1 if moves else begin + 2
    numbers = np.arange(begin, max(stop, begin + 2), dtype=np.float64)
    return list(zip(numbers.tolist(), part.beats.time(numbers).tolist(), strict=True))

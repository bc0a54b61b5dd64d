"""Track a variable tempo, such as that of live musicians or of a tempo ramp.

The Viterbi algorithm finds the path of the local tempo over overlapping windows. The beats are the
integral of the path. A second Viterbi pass, second by second, corrects the drift of the integral.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crowdstream.analysis.features import FRAME_RATE
from crowdstream.analysis.grid import HARMONICS, Beats
from crowdstream.analysis.tempo import Doubles, Floats

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

    `lines` holds the onset functions of `tempo.pulses`.
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
